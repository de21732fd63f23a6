"""How the hosts of a run ended, one word for each: what reports and `--unfinished` are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ctl.errors import Outcome
from ctl.recipes.codec import all_rows
from ctl.recipes.model import HostRecord, Recipe, StepResultWord
from ctl.recipes.state import BAD_RESULTS, RunState

if TYPE_CHECKING:
    from ctl.recipes.checks import Fall
    from ctl.report.model import Json

FINISHED = frozenset({"ok", "changed", "warned", "not-applicable"})
# of two rows of one host the word that says more
_RANK = ("skipped", "not-applicable", "ok", "changed", "warned", "not-attempted", "unreachable", "failed")


def host_records(
    recipe: Recipe,
    state: RunState | None,
    fallen: Mapping[str, Fall] | None = None,
    why_not: str = "",
    untouched: StepResultWord = "not-attempted",
) -> tuple[HostRecord, ...]:
    """Return how each host ended, in the order of the recipe; () where it has no rows.

    `fallen` are rows that could not begin; `why_not` and `untouched` are for those of which nothing is known.
    """
    found: dict[str, HostRecord] = {}
    for path, row in all_rows(recipe).items():
        known = state.rows.get(path) if state is not None else None
        fall = (fallen or {}).get(path)
        if known is not None and (known.ended or known.began):
            result = known.result if known.ended else "failed"
            reason = known.reason if known.ended else "it has not ended"
            record = HostRecord(row.host, result, reason, known.seconds)  # type: ignore[arg-type]
        elif fall is not None:
            record = HostRecord(row.host, fall.result, fall.reason)
        else:
            record = HostRecord(row.host, untouched, why_not)
        found[row.host] = _joined(found[row.host], record) if row.host in found else record
    return tuple(found.values())


def _joined(one: HostRecord, other: HostRecord) -> HostRecord:
    worst = max(one, other, key=lambda record: _RANK.index(record.result))
    return replace(worst, seconds=one.seconds + other.seconds)


def outcome_of_fallen(fallen: Mapping[str, Fall], otherwise: Outcome) -> Outcome:
    """Return the outcome of a run that had nothing to do but for rows that could not begin."""
    results = {fall.result for fall in fallen.values()}
    if not results & BAD_RESULTS:
        return otherwise
    return Outcome.UNREACHABLE if results == {"unreachable"} else Outcome.FAILED


def host_data(records: Iterable[HostRecord]) -> list[Json]:
    """Return the records as the JSON of commands has them."""
    return [
        {"host": one.host, "result": one.result, "reason": one.reason, "seconds": one.seconds}
        for one in records
    ]


def counted(records: Iterable[HostRecord]) -> str:
    """Return how many hosts ended how, as in "17 changed, 1 failed, 2 unreachable"."""
    counts: dict[str, int] = {}
    for record in records:
        counts[record.result] = counts.get(record.result, 0) + 1
    return ", ".join(f"{counts[word]} {word}" for word in _RANK[2:] + _RANK[:2] if word in counts)
