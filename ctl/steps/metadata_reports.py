"""What the database commands print of GitLab's metadata databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ctl.errors import PENDING_EXIT_CODE, Outcome, RegctlError, worst
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.steps.metadata_migrations import (
    MetadataMigrations,
    index_problems,
    look_at_migrations,
    migration_problems,
)

if TYPE_CHECKING:
    from ctl.engines.metadata import MigrationLimits
    from ctl.world import World


def joined(command: str, reports: Sequence[Report]) -> Report:
    """Make one report of several about different databases; the worst outcome is that of all."""
    databases: dict[str, Any] = {}
    for report in reports:
        found = report.data.get("databases", {})
        if isinstance(found, Mapping):
            databases.update(found)
    outcomes = [report.outcome for report in reports]
    return Report(
        command,
        worst(outcomes),
        {"databases": databases},
        tuple(block for report in reports for block in report.blocks),
        tuple(dict.fromkeys(hint for report in reports for hint in report.hints)),
    )


def detailed(report: Report, asked: bool) -> Report:
    """Give the report the exit code 4 where something is pending and the operator asked for that."""
    if asked and report.outcome is Outcome.PENDING:
        return replace(report, exit_code=PENDING_EXIT_CODE)
    return report


def status_report(world: World, registry: str, node: str = "") -> Report:
    """List every migration of a metadata database, applied and pending, and what is wrong with it."""
    command = "database-migrate-status"
    found = _look(world, registry, node)
    if isinstance(found, RegctlError):
        return _silent(world, command, registry, found)
    hints = _hints(found)
    trouble = _trouble(found)
    data: dict[str, Json] = {
        **_common(found),
        "applied": [
            {
                "id": one.id,
                "phase": phase,
                "applied_at": one.applied_at.isoformat() if one.applied_at else None,
            }
            for phase, kind in (("pre", found.state.pre), ("post", found.state.post))
            for one in kind or ()
        ],
        "trouble": trouble,
    }
    rows = [
        (one.id, phase, "unknown here" if one.id in found.unknown else "applied", _time(one.applied_at))
        for phase, kind in (("pre", found.state.pre), ("post", found.state.post))
        for one in kind or ()
    ]
    rows += [(one, phase, "pending", "") for one, phase in _pending(found)]
    title = f"metadata database {found.database} of {registry}"
    blocks: list[Block] = [Table(("migration", "phase", "state", "applied at"), tuple(rows), title=title)]
    blocks.append(Text(_sentence(found)))
    blocks += [Text(line) for line in trouble]
    return Report(command, _judge(found), {"databases": {found.database: data}}, tuple(blocks), hints)


def plan_report(world: World, registry: str, node: str, limits: MigrationLimits) -> Report:
    """List what `up` would apply with these limits."""
    from ctl.steps.migrate_metadata import described

    command = "database-migrate-plan"
    found = _look(world, registry, node, limits)
    if isinstance(found, RegctlError):
        return _silent(world, command, registry, found)
    data, blocks = described(found)
    trouble = _trouble(found)
    entry = {**_common(found), **data, "trouble": trouble}
    return Report(
        command,
        _judge(found),
        {"databases": {found.database: entry}},
        (*blocks, *(Text(line) for line in trouble)),
        _hints(found),
    )


def own_plan_report(world: World, names: Sequence[str], limits: MigrationLimits) -> Report:
    """List what `up` would apply to regctl's own databases."""
    from ctl.database.migrations import MigrationState
    from ctl.steps.database_state import look, shipped

    data: dict[str, Json] = {}
    blocks: list[Block] = []
    outcomes = []
    for name in names:
        try:
            state = look(world, name)
        except RegctlError as error:
            data[name] = {"reachable": False, "detail": error.message}
            blocks.append(Text(error.message))
            outcomes.append(Outcome.UNREACHABLE)
            continue
        chosen = (state or MigrationState((), shipped())).chosen(limits.pre, skip_post=limits.skip_post)
        data[name] = {"reachable": True, "known": state is not None, "pending": [one.id for one in chosen]}
        unsure = "" if state is not None else " at most: it is stopped, so what it lacks is not known"
        blocks.append(Text(f"database {name}: {len(chosen)} migration(s) pending{unsure}"))
        if chosen:
            rows = tuple((one.id, f"{one.phase}-deployment") for one in chosen)
            blocks.append(Table(("migration", "phase"), rows))
        outcomes.append(Outcome.PENDING if chosen else Outcome.OK)
    return Report("database-migrate-plan", worst(outcomes), {"databases": data}, tuple(blocks))


def metadata_version_report(world: World, registry: str) -> Report:
    """Name the newest applied migration of each kind; by SQL alone, so also of a standby."""
    from ctl.catalog.metadata_schema import read_schema
    from ctl.steps.metadata_doors import metadata_database

    command = "database-migrate-version"
    try:
        database = metadata_database(world, registry)
        with database.connect(read_only=True) as session:
            state = read_schema(session)
    except RegctlError as error:
        return _silent(world, command, registry, error)
    pre, post = max(state.pre_ids, default=""), max(state.post_ids, default="")
    data: dict[str, Json] = {
        "reachable": True,
        "registry": registry,
        "version": pre or None,
        "pre": pre or None,
        "post": post or None,
    }
    text = f"{database.name}: pre-deployment {pre or 'nothing'}, post-deployment {post or 'nothing'} applied"
    return Report(command, Outcome.OK, {"databases": {database.name: data}}, (Text(text),))


def metadata_counts(world: World, registry: str) -> tuple[dict[str, Json], list[str], Outcome]:
    """Return how much is applied and pending, what is wrong, and the outcome, for `database status`."""
    found = _look(world, registry)
    if isinstance(found, RegctlError):
        return {"applied": None, "pending": None}, [found.message], found.outcome
    pending = len(found.pending.ids) if found.pending is not None and found.complete else None
    return {"applied": len(found.state.ids), "pending": pending}, _trouble(found), _judge(found)


def _look(
    world: World, registry: str, node: str = "", limits: MigrationLimits | None = None
) -> MetadataMigrations | RegctlError:
    try:
        return look_at_migrations(world, registry, node, limits)
    except RegctlError as error:
        return error


def _silent(world: World, command: str, registry: str, error: RegctlError) -> Report:
    name = world.registry(registry).database or registry
    data: dict[str, Json] = {"reachable": False, "registry": registry, "detail": error.message}
    hints = (error.hint,) if error.hint else ()
    return Report(command, error.outcome, {"databases": {name: data}}, (Text(error.message),), hints)


def _common(found: MetadataMigrations) -> dict[str, Json]:
    state = found.state
    return {
        "reachable": True,
        "registry": found.registry,
        "host": found.host,
        "server_version": state.server_version,
        "read_only": state.read_only,
        "known": found.complete,
        "up_to_date": found.up_to_date,
        "pending": list(found.pending.ids) if found.pending else [],
        "phases": {"pre": list(found.pending.pre), "post": list(found.pending.post)}
        if found.pending
        else None,
        "unknown": list(found.unknown),
        "gaps": list(found.gaps),
        "invalid_indexes": [one.full_name for one in state.broken_indexes],
        "reason": found.reason,
    }


def _pending(found: MetadataMigrations) -> list[tuple[str, str]]:
    if found.pending is None:
        return []
    return [(one, "pre") for one in found.pending.pre] + [(one, "post") for one in found.pending.post]


def _sentence(found: MetadataMigrations) -> str:
    applied = f"{len(found.state.pre_ids)} pre-deployment and {len(found.state.post_ids)} post-deployment"
    if found.pending is None:
        return f"{applied} migration(s) applied; what is pending is not known: {found.reason}"
    left = f"{len(found.pending.pre)} and {len(found.pending.post)} pending"
    return f"{applied} migration(s) applied, {left}" + (f"; {found.reason}" if found.reason else "")


def _trouble(found: MetadataMigrations) -> list[str]:
    return [problem.message for problem in _problems(found)]


def _hints(found: MetadataMigrations) -> tuple[str, ...]:
    return tuple(dict.fromkeys(problem.hint for problem in _problems(found) if problem.hint))


def _problems(found: MetadataMigrations) -> list[Any]:
    return [*migration_problems(found), *index_problems(found.state, found.database)]


def _judge(found: MetadataMigrations) -> Outcome:
    problems = _problems(found)
    if any(problem.outcome is Outcome.UNREACHABLE for problem in problems):
        return Outcome.UNREACHABLE
    if problems:
        return Outcome.WARNING
    return Outcome.PENDING if found.up_to_date is False else Outcome.OK


def _time(moment: Any) -> str:
    return moment.isoformat(timespec="seconds") if moment else ""
