"""What `regctl database background status` prints."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ctl.errors import Outcome, RegctlError
from ctl.report.model import Block, Json, Report, Table, Text

if TYPE_CHECKING:
    from ctl.catalog.metadata_background import BackgroundMigration
    from ctl.catalog.metadata_schema import SessionInfo
    from ctl.world import World

_COMMAND = "database-background-status"


def background_report(world: World, registry: str) -> Report:
    """Describe the background migrations of a registry's metadata database; works on a standby."""
    from ctl.catalog.metadata_background import background_workers, read_background
    from ctl.steps.metadata_doors import metadata_database

    name = world.registry(registry).database or registry
    try:
        database = metadata_database(world, registry)
        with database.connect(read_only=True) as session:
            found, workers = read_background(session), background_workers(session)
    except RegctlError as error:
        data: dict[str, Json] = {"reachable": False, "registry": registry, "detail": error.message}
        hints = (error.hint,) if error.hint else ()
        return Report(_COMMAND, error.outcome, {"databases": {name: data}}, (Text(error.message),), hints)
    if found is None:
        text = f"database {name} has no background migrations: its schema is older, or it is empty"
        data = {"reachable": True, "registry": registry, "migrated": False, "migrations": []}
        return Report(_COMMAND, Outcome.PENDING, {"databases": {name: data}}, (Text(text),))
    return _described(name, registry, found, workers)


def _described(
    name: str, registry: str, found: tuple[BackgroundMigration, ...], workers: tuple[SessionInfo, ...]
) -> Report:
    counts = Counter(one.status for one in found)
    stuck = [one for one in found if one.stuck_at_maximum]
    percent = sum(one.percent or 0.0 for one in found) / len(found) if found else 100.0
    data: dict[str, Json] = {
        "reachable": True,
        "registry": registry,
        "migrated": True,
        "total": len(found),
        **{status: counts.get(status, 0) for status in ("finished", "active", "running", "paused", "failed")},
        "percent": round(percent, 1),
        "overflowed": [one.name for one in stuck],
        "workers": [
            {"pid": one.pid, "application": one.application, "client": one.client} for one in workers
        ],
        "migrations": [_data(one) for one in found],
    }
    left = [one for one in found if one.status != "finished"]
    blocks: list[Block] = []
    if left:
        columns = ("background migration", "status", "done", "jobs", "failed jobs", "why")
        rows = tuple(_row(one) for one in left)
        blocks.append(Table(columns, rows, right=frozenset({"done", "jobs", "failed jobs"})))
    blocks.append(
        Text(f"database {name}: {counts.get('finished', 0)} of {len(found)} background migrations finished")
    )
    blocks += [Text(f"process {one.pid} ({one.application}) works on them") for one in workers]
    hints = []
    if stuck:
        hints.append(
            "`regctl database background run --finish-overflowed` ends what would be repeated for ever"
        )
    elif left:
        hints.append("`regctl database background run` finishes them now")
    outcome = Outcome.WARNING if counts.get("failed") or stuck else Outcome.PENDING if left else Outcome.OK
    return Report(_COMMAND, outcome, {"databases": {name: data}}, tuple(blocks), tuple(hints))


def _data(one: BackgroundMigration) -> Json:
    return {
        "name": one.name,
        "status": one.status,
        "percent": round(one.percent, 1) if one.percent is not None else None,
        "table": one.table,
        "jobs": one.jobs,
        "finished_jobs": one.finished_jobs,
        "failed_jobs": one.failed_jobs,
        "failure": one.failure,
        "overflowed": one.stuck_at_maximum,
        "started_at": one.started_at.isoformat() if one.started_at else None,
        "finished_at": one.finished_at.isoformat() if one.finished_at else None,
    }


def _row(one: BackgroundMigration) -> tuple[str, ...]:
    done = f"{one.percent:.1f} %" if one.percent is not None else "-"
    why = one.failure or ("done, and repeated for ever" if one.stuck_at_maximum else "")
    return (one.name, one.status, done, str(one.jobs), str(one.failed_jobs), why)
