"""What `regctl check` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ctl.errors import Outcome
from ctl.health.checks import CHECKS
from ctl.health.model import Checked
from ctl.report.model import Block, Json, Report, Table, Text

WORDS = ("ok", "warned", "failed", "not-applicable", "skipped")


def list_report() -> Report:
    """List the checks."""
    data: dict[str, Json] = {"checks": [{"name": one.name, "help": one.help} for one in CHECKS]}
    table = Table(("check", "all is well where"), tuple((one.name, one.help) for one in CHECKS))
    return Report("check", Outcome.OK, data, (table,))


def check_report(found: Sequence[Checked]) -> Report:
    """Show how the checks came out: exit 1 where one failed, 3 where one warned."""
    return Report("check", outcome(found), check_data(found), tuple(_blocks(found)))


def outcome(found: Sequence[Checked]) -> Outcome:
    """Return the outcome of all; what was skipped counts for nothing."""
    results = {one.result for one in found}
    return Outcome.FAILED if "failed" in results else Outcome.WARNING if "warned" in results else Outcome.OK


def check_data(found: Sequence[Checked]) -> dict[str, Json]:
    """Return it for JSON."""
    return {
        **{word.replace("-", "_"): sum(one.result == word for one in found) for word in WORDS},
        "checks": [
            {
                "name": one.name,
                "result": one.result,
                "would_be": one.would_be,
                "errored": one.errored,
                "reason": one.reason,
                "seconds": one.seconds,
                "seen": [
                    {"where": s.where, "result": s.word, "message": s.message, "remedy": s.remedy}
                    for s in one.seen
                ],
            }
            for one in found
        ],
    }


def _blocks(found: Sequence[Checked]) -> Iterator[Block]:
    rows = []
    for one in found:
        notable = [s for s in one.seen if s.word in ("warned", "failed")] or list(one.seen[:1])
        result = one.result
        if one.result == "skipped":
            result = f"skipped ({one.reason}); it is {one.would_be}"  # type: ignore[assignment]
        for number, seen in enumerate(notable):
            first = (one.name, result) if number == 0 else ("", "")
            rows.append((*first, seen.where, seen.message, seen.remedy or "-"))
    yield Table(("check", "result", "where", "what was found", "what to do"), tuple(rows))
    counts = ", ".join(f"{sum(one.result == word for one in found)} {word}" for word in WORDS)
    yield Text(counts)
