"""What `regctl content status` shows: what is left on each host, for how long, and who needs it by when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ctl.engines.pulp_releases import PRE_MIGRATIONS, serves_unprepared
from ctl.errors import Outcome
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.report.units import duration_text

if TYPE_CHECKING:
    from ctl.steps.content_survey import HostSurvey

REMEDIES = {
    "lost": "neither text nor file is left: regctl content repair, else sync again or push again",
    "manifest-file-missing": "its file is gone from the storage: sync again or push again",
    "config-not-stored": "its config blob was never fetched, or was reclaimed: sync with policy immediate",
    "config-file-missing": "the file of its config blob is gone from the storage: sync again or push again",
}
_EFFECT = (
    "Pulp's services stay up and are not restarted: pulls, pushes and syncs go on. Preparing takes one "
    "processor and reads each manifest's file once; --rate and --pause-when-load make it gentler."
)


def status_report(
    registry: str, surveys: Sequence[HostSurvey], worth: float, *, detailed: bool = False
) -> Report:
    """Show how all hosts stand. `worth` is in minutes of downtime; below it preparing is not needed."""
    data: dict[str, Json] = {
        "registry": registry,
        "hosts": [host_data(one) for one in surveys],
        "remaining": sum(one.remaining or 0 for one in surveys),
        "pre_migrations": [
            {"name": one.name, "since": str(one.since) if one.since else None, "what": one.what}
            for one in PRE_MIGRATIONS
        ],
        "effect": _EFFECT,
    }
    away = [one for one in surveys if one.unreachable]
    left = [one for one in surveys if one.doable]
    outcome = Outcome.OK if left else Outcome.NOTHING_TO_DO
    if left and detailed:
        outcome = Outcome.PENDING
    if any(one.broken or one.skipped or one.history for one in surveys):
        outcome = Outcome.WARNING
    if away:
        outcome = Outcome.UNREACHABLE
    code = 4 if outcome is Outcome.PENDING else None
    hints = [f"regctl content prepare {registry}"] if left else []
    return Report("content-status", outcome, data, tuple(_blocks(surveys, worth)), tuple(hints), code)


def host_data(one: HostSurvey) -> dict[str, Json]:
    """Return how one host stands, for machines."""
    return {
        "host": one.host,
        "role": one.role,
        "result": "unreachable" if one.unreachable else "ok",
        "reason": one.unreachable,
        "versions": {
            "container": str(one.container) if one.container else None,
            "core": str(one.core) if one.core else None,
        },
        "mode": one.mode,
        "total": one.total,
        "remaining": one.remaining,
        "broken": one.broken,
        "skipped": one.skipped,
        "relinkable": one.relinkable,
        "hindered": dict(one.hindered),
        "pre_migrations": {named.name: one.left(named) for named in PRE_MIGRATIONS},
        "schema_pending": list(one.pending),
        "history": one.history,
        "preparing": one.preparing,
        "cleanups": one.cleanups,
        "estimated_seconds": one.estimated_seconds,
        "serves_unprepared": serves_unprepared(one.container) if one.container else None,
    }


def _blocks(surveys: Sequence[HostSurvey], worth: float) -> list[Block]:
    rows = tuple(_row(one) for one in surveys)
    columns = ("host", "role", "container", "manifests", "to do", "broken", "passed over", "time", "by when")
    right = frozenset({"manifests", "to do", "broken", "passed over", "time"})
    blocks: list[Block] = [Table(columns, rows, right=right)]
    blocks.append(Table(("pre-migration", "since", *(one.host for one in surveys)), tuple(_named(surveys))))
    blocks += [Text(text) for one in surveys for text in _notes(one, worth)]
    if any(one.doable for one in surveys):
        blocks.append(Text(_EFFECT))
    return blocks


def _row(one: HostSurvey) -> tuple[str, ...]:
    if one.unreachable:
        return (one.host, one.role, "-", "-", "-", "-", "-", "-", "unreachable")
    seconds = one.estimated_seconds
    return (
        one.host,
        one.role,
        str(one.container or "-"),
        f"{one.total:,}",
        "-" if one.remaining is None else f"{one.remaining:,}",
        str(one.broken),
        str(one.skipped),
        "-" if seconds is None else duration_text(seconds) if seconds else "0s",
        by_when(one),
    )


def by_when(one: HostSurvey) -> str:
    """Say until when a host must have been prepared."""
    if one.remaining == 0 and not one.pending:
        return "done"
    if one.container is not None and not serves_unprepared(one.container):
        return "now: pulls of these fail"
    if one.remaining is None:
        return "after the upgrade to 2.20, before 2.25"
    return "before 2.25.0 to 2.26.14, or 2.27"


def _named(surveys: Sequence[HostSurvey]) -> list[tuple[str, ...]]:
    rows = []
    for one in PRE_MIGRATIONS:
        cells = []
        for host in surveys:
            left = host.left(one)
            known = one.since is not None and host.container is not None and host.container >= one.since
            cells.append("not-applicable" if left is None else "done" if known and not left else f"{left:,}")
        rows.append((one.name, str(one.since or "no release"), *cells))
    return rows


def _notes(one: HostSurvey, worth: float) -> list[str]:
    where = one.host
    if one.unreachable:
        return [f"{where}: {one.unreachable}"]
    found = [f"{where}: {count} {why}: {REMEDIES[why]}" for why, count in sorted(one.hindered.items())]
    if one.relinkable:
        found.append(f"{where}: {one.relinkable} can be linked again: regctl content repair")
    if one.history:
        found.append(f"{where}: its migrations contradict each other: {one.history}")
    if one.pending:
        more = f" and {len(one.pending) - 3} more" if len(one.pending) > 3 else ""
        found.append(f"{where}: schema migrations are pending: {', '.join(one.pending[:3])}{more}")
    if one.preparing:
        found.append(f"{where}: it is being prepared now")
    if one.cleanups:
        found.append(f"{where}: a cleanup of orphans waits or runs: preparing begins after it")
    if one.mode == "none" and one.remaining:
        found.append(f"{where}: its release has no command for old content: upgrade to 2.20 or later first")
    if one.mode == "whole":
        found.append(f"{where}: its release can only be prepared by its whole command, in one transaction")
    seconds = one.estimated_seconds
    if seconds and seconds < worth * 60:
        found.append(
            f"{where}: not needed beforehand unless its next release does not serve old content: it would "
            f"save {duration_text(seconds)} of downtime, less than {worth:g} minutes"
        )
    return found
