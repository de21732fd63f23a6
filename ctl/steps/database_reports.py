"""What the database commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctl.errors import Outcome, RegctlError, worst
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.steps.database_state import look, own_databases

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ctl.database.migrations import MigrationState
    from ctl.recipes.model import RunReport
    from ctl.world import World

_NAMED = 12  # ids that are listed one by one for people


def _trouble(state: MigrationState) -> list[str]:
    found = []
    if state.foreign:
        found.append(f"holds the tables of {state.foreign}")
    if state.unknown:
        found.append(f"migrated by a newer regctl: {', '.join(state.unknown)}")
    if state.changed:
        found.append(f"applied with other content: {', '.join(state.changed)}")
    if state.invalid_indexes:
        found.append(f"unusable indexes: {', '.join(state.invalid_indexes)}")
    return found


def _judge(state: MigrationState) -> Outcome:
    if _trouble(state):
        return Outcome.WARNING
    return Outcome.PENDING if state.pending else Outcome.OK


def status_report(world: World, names: Sequence[str]) -> Report:
    """Describe each database: reachable or not, version, how many migrations are applied and pending.

    A stopped embedded database is nothing wrong: what needs it starts it.
    """
    from ctl.steps.metadata_migrations import metadata_registries
    from ctl.steps.metadata_reports import metadata_counts

    own, engines = own_databases(world.site), metadata_registries(world.site)
    data: dict[str, Json] = {}
    rows, outcomes, lines = [], [], []
    for name in names:
        database = world.database(name)
        status = database.status()
        migrations: MigrationState | None = None
        if name not in engines and name in own and (status.reachable or status.state == "missing"):
            migrations = look(world, name)
        trouble = _trouble(migrations) if migrations else []
        counted = _counts(migrations)
        if name in engines and status.reachable:
            counted, trouble, outcome = metadata_counts(world, engines[name][0])
            outcomes.append(outcome)
        lines += [f"database {name}: {text}" for text in trouble]
        if status.state == "unreachable":
            outcomes.append(Outcome.UNREACHABLE)
            lines.append(status.detail)
        elif migrations and status.reachable:
            outcomes.append(_judge(migrations))
        data[name] = {
            "kind": "embedded" if database.embedded else "external",
            "state": status.state,
            "reachable": status.reachable,
            "version": status.version,
            "detail": status.detail,
            **status.address,
            "migrations": counted,
            "trouble": trouble,
        }
        counts = tuple("-" if counted[key] is None else str(counted[key]) for key in ("applied", "pending"))
        rows.append(
            (
                name,
                "embedded" if database.embedded else "external",
                status.state,
                status.version or "-",
                *counts,
            )
        )
    columns = ("database", "kind", "state", "version", "applied", "pending")
    blocks: list[Block] = [Table(columns, tuple(rows), right=frozenset({"applied", "pending"}))]
    if lines:
        blocks.append(Text("\n".join(lines)))
    return Report("database-status", worst(outcomes), {"databases": data}, tuple(blocks))


def _counts(state: MigrationState | None) -> dict[str, Json]:
    if state is None:
        return {"applied": None, "pending": None}
    return {"applied": len(state.applied), "pending": len(state.pending)}


def _answers(world: World, names: Sequence[str]) -> dict[str, MigrationState | str]:
    """Ask each database; where one cannot answer, say why."""
    answers: dict[str, MigrationState | str] = {}
    for name in names:
        try:
            answers[name] = look(world, name) or f"the embedded database {name} is stopped"
        except RegctlError as error:
            answers[name] = error.message
    return answers


def migrations_report(world: World, names: Sequence[str]) -> Report:
    """List each database's migrations with their states."""
    data: dict[str, Json] = {}
    blocks: list[Block] = []
    outcomes = []
    for name, answer in _answers(world, names).items():
        if isinstance(answer, str):
            data[name] = {"reachable": False, "detail": answer}
            blocks.append(Text(answer))
            outcomes.append(Outcome.UNREACHABLE)
            continue
        data[name] = _migrations_data(answer)
        outcomes.append(_judge(answer))
        blocks.append(_migrations_table(name, answer))
        blocks += [Text(f"database {name}: {line}") for line in _trouble(answer)]
    hints = _start_hints(world, data)
    return Report("database-migrate-status", worst(outcomes), {"databases": data}, tuple(blocks), hints)


def _migrations_data(state: MigrationState) -> Json:
    return {
        "reachable": True,
        "applied": [
            {
                "id": one.id,
                "applied_at": one.applied_at.isoformat(),
                "seconds": round(one.seconds, 3),
                "version": one.version,
            }
            for one in state.applied
        ],
        "pending": [one.id for one in state.pending],
        "unknown": list(state.unknown),
        "changed": list(state.changed),
        "invalid_indexes": list(state.invalid_indexes),
        "foreign": state.foreign,
    }


def _migrations_table(name: str, state: MigrationState) -> Table:
    rows = []
    for one in state.applied:
        word = "unknown" if one.id in state.unknown else "changed" if one.id in state.changed else "applied"
        when = one.applied_at.isoformat(timespec="seconds")
        rows.append((one.id, word, when, f"{one.seconds:.2f}", one.version))
    rows += [(one.id, "pending", "", "", "") for one in state.pending]
    columns = ("migration", "state", "applied at", "seconds", "by regctl")
    return Table(columns, tuple(rows), title=f"database {name}", right=frozenset({"seconds"}))


def version_report(world: World, names: Sequence[str]) -> Report:
    """Name the migration that each database had last."""
    data: dict[str, Json] = {}
    lines, outcomes = [], []
    for name, answer in _answers(world, names).items():
        if isinstance(answer, str):
            data[name] = {"reachable": False, "version": None, "detail": answer}
            outcomes.append(Outcome.UNREACHABLE)
            lines.append(answer)
        else:
            data[name] = {"reachable": True, "version": answer.version or None}
            outcomes.append(Outcome.OK)
            lines.append(f"{name}: {answer.version or 'nothing applied'}")
    blocks = (Text("\n".join(lines)),)
    hints = _start_hints(world, data)
    return Report("database-migrate-version", worst(outcomes), {"databases": data}, blocks, hints)


def _start_hints(world: World, data: Mapping[str, Any]) -> tuple[str, ...]:
    silent = [
        name for name, found in data.items() if not found["reachable"] and world.database(name).embedded
    ]
    return tuple(f"`regctl database start --database {name}` starts it" for name in silent)


def run_report(run: RunReport) -> Report:
    """Describe a run of a database recipe; what each step did stands below its database's name."""
    data: dict[str, Any] = {"run": run.id, "dry_run": run.state == "dry-run"}
    for key in ("applied", "taken_back"):
        ids = [str(one) for step in run.steps for one in _list(step.data, key)]
        if ids or key == _verb(run.recipe):
            data[key] = ids
    databases: dict[str, dict[str, Any]] = {}
    for shown in run.previews:
        databases.setdefault(str(shown.data.get("database", "")), {}).update(shown.data)
    for step in run.steps:
        databases.setdefault(str(step.data.get("database", "")), {}).update(step.data)
    data["databases"] = {name: found for name, found in databases.items() if name}
    blocks: list[Block] = []
    if run.state == "dry-run":
        blocks += [block for shown in run.previews for block in shown.blocks]
    elif run.outcome is Outcome.NOTHING_TO_DO:
        blocks += [shown.blocks[0] for shown in run.previews if shown.blocks]
    else:
        done = [(step.title, step.result, step.reason) for step in run.steps]
        if done:
            blocks.append(Table(("step", "result", "why"), tuple(done)))
        blocks += [
            Text(f"{key.replace('_', ' ')}: {_shortly(data[key])}")
            for key in ("applied", "taken_back")
            if data.get(key)
        ]
    return Report(run.recipe, run.outcome, data, tuple(blocks))


def _shortly(ids: Sequence[str]) -> str:
    """Name a few; of many only how many, and the last one."""
    return ", ".join(ids) if len(ids) <= _NAMED else f"{len(ids)} migrations, the last one {ids[-1]}"


def _verb(recipe: str) -> str:
    return {"database-migrate-up": "applied", "database-migrate-down": "taken_back"}.get(recipe, "")


def _list(data: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = data.get(key, ())
    return found if isinstance(found, list | tuple) else ()
