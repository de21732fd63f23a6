"""How the hosts of a run ended, one word for each: what reports and `--unfinished` are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ctl.errors import Outcome, RegctlError
from ctl.recipes.codec import all_rows
from ctl.recipes.identity import judge
from ctl.recipes.model import HostRecord, Recipe, StepResultWord
from ctl.recipes.state import BAD_RESULTS, RowState, RunState
from ctl.report.model import Block, Json, Table, Text

if TYPE_CHECKING:
    from ctl.recipes.checks import Fall

FINISHED = frozenset({"ok", "changed", "warned", "not-applicable"})
# of two rows of one host the word that says more
_RANK = (
    "skipped",
    "not-applicable",
    "ok",
    "changed",
    "warned",
    "not-attempted",
    "unreachable",
    "unknown",
    "failed",
)


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
    return [_as_data(one) for one in records]


def hosts_of(state: RunState) -> list[Json]:
    """Return the hosts of a run as its journal has them, also of one that is open.

    A host that is worked on is "running", or "cut-off" where whoever worked on it is proved gone.
    """
    why = state.reason or str((state.unwinding or {}).get("reason", ""))
    try:
        records = host_records(state.load(), state, why_not=why)
    except RegctlError:  # a plugin is gone; what the journal says of rows stands all the same
        records = tuple(_known(row) for row in state.rows.values())
    running = set() if state.closed else {row.host for row in state.rows.values() if row.in_flight}
    gone = state.holder is not None and judge(state.holder) in ("dead", "rebooted")
    now: dict[str, Json] = {"result": "cut-off" if gone else "running", "reason": ""}
    return [
        {**one, **(now if record.host in running else {})}
        for record, one in zip(records, map(_as_data, records), strict=True)
    ]


def _known(row: RowState) -> HostRecord:
    return HostRecord(row.host, row.result or "failed", row.reason, row.seconds)  # type: ignore[arg-type]


def _as_data(one: HostRecord) -> dict[str, Json]:
    return {"host": one.host, "result": one.result, "reason": one.reason, "seconds": one.seconds}


def host_blocks(records: Sequence[HostRecord]) -> tuple[Block, ...]:
    """Return the table of hosts and a line that counts them; () where there are none."""
    if not records:
        return ()
    rows = tuple(
        (one.host, one.result, f"{one.seconds:.1f}" if one.seconds else "", one.reason.partition("\n")[0])
        for one in records
    )
    table = Table(("host", "result", "seconds", "why"), rows, right=frozenset({"seconds"}))
    return (table, Text(f"{len(records)} hosts: {counted(records)}"))


def counted(records: Iterable[HostRecord]) -> str:
    """Return how many hosts ended how, as in "17 changed, 1 failed, 2 unreachable"."""
    counts: dict[str, int] = {}
    for record in records:
        counts[record.result] = counts.get(record.result, 0) + 1
    return ", ".join(f"{counts[word]} {word}" for word in _RANK[2:] + _RANK[:2] if word in counts)
