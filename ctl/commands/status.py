"""Show how the registries and what they stand on are doing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ctl.context import Context, pass_context
from ctl.errors import Outcome
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.report.units import size_text
from ctl.steps.pulp_look_report import pulp_blocks, pulp_data

if TYPE_CHECKING:
    from ctl.database.base import DatabaseStatus
    from ctl.probing import NoAnswer
    from ctl.recipes.lock import LockState
    from ctl.views import CatalogView, NodeView, RegistryView, SiteView


@click.command("status")
@click.argument("registry", required=False)
@pass_context
def command(context: Context, registry: str | None) -> None:
    """Show how every registry and Pulp is doing, or only REGISTRY: services, versions, locks, runs, disk.

    Only looks: nothing is started, nothing is written. Exit code 0 if all is well, 3 if anything is not.
    """
    from ctl.overview import look

    names = [*context.site.registries, *context.site.pulps]
    if registry:
        names = [registry if registry in context.site.pulps else context.registry_name(registry)]
    view = look(context.world, names)
    problems = view.all_problems()
    context.show(
        Report(
            command="status",
            outcome=Outcome.WARNING if problems else Outcome.OK,
            data=_data(context, view, problems),
            blocks=tuple(_blocks(view, problems)),
        )
    )


def _data(context: Context, view: SiteView, problems: list[str]) -> dict[str, Json]:
    return {
        "healthy": not problems,
        "problems": problems,
        "site": context.site_file,
        "state_dir": context.world.state_dir,
        "registries": {registry.name: _registry(registry) for registry in view.registries},
        "pulps": {pulp.name: pulp_data(pulp) for pulp in view.pulps},
        "databases": {name: _database(status) for name, status in view.databases.items()},
        "locks": [_lock(lock) for lock in view.locks],
        "open_runs": [
            {
                "id": run.id,
                "recipe": run.recipe,
                "state": run.state,
                "started_at": run.started_at,
                "resources": list(run.resources),
                "working": run.id in view.working,
            }
            for run in view.open_runs
        ],
    }


def _registry(view: RegistryView) -> dict[str, Json]:
    space, last, catalog = view.space, view.last_collection, view.catalog
    return {
        "engine": view.engine,
        "nodes": [_node(node) for node in view.nodes],
        "versions": list(view.versions),
        "mixed": len(view.versions) > 1,
        "storage": {
            "driver": view.storage,
            "place": view.place,
            "total_bytes": space.total_bytes if space else None,
            "free_bytes": space.free_bytes if space else None,
            "free_inodes": space.free_inodes if space else None,
        },
        "catalog": {
            "database": view.database,
            "generation": catalog.generation if catalog else None,
            "imported_at": catalog.imported_at if catalog else None,
            "stale": catalog.stale if catalog else None,
        },
        "metadata": _metadata(view),
        "last_gc": {"run": last.id, "ended_at": last.ended_at} if last else None,
        "problems": list(view.problems),
    }


def _metadata(view: RegistryView) -> dict[str, Json] | None:
    from ctl.steps.metadata_statistics import statistics_data

    return statistics_data(view.metadata) if view.metadata is not None else None


def _node(node: NodeView) -> dict[str, Json]:
    return {
        "host": node.host,
        "url": node.url,
        "state": node.state,
        "listening": node.listening,
        "version": node.version,
        "backend": node.backend,
        "read_only": node.read_only,
        "pid": node.pid,
        "since": _moment(node.since),
        "problems": list(node.problems),
    }


def _database(status: DatabaseStatus | NoAnswer) -> dict[str, Json]:
    from ctl.probing import NoAnswer

    if isinstance(status, NoAnswer):
        return {"reachable": False, "state": "unknown", "version": "", "detail": status.why}
    return {
        "reachable": status.reachable,
        "state": status.state,
        "version": status.version,
        "detail": status.detail,
    }


def _lock(lock: LockState) -> dict[str, Json]:
    info = lock.info
    return {
        "resource": lock.resource,
        "epoch": lock.epoch,
        "id": info.id if info else None,
        "holder": info.describe() if info else None,
        "state": lock.verdict,
    }


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(round(seconds), UTC).isoformat().replace("+00:00", "Z")


def _blocks(view: SiteView, problems: list[str]) -> list[Block]:
    blocks: list[Block] = [_nodes_table(view), _registries_table(view)] if view.registries else []
    blocks += pulp_blocks(view.pulps)
    if any(registry.metadata is not None for registry in view.registries):
        blocks.append(_metadata_table(view))
    if view.databases:
        rows = []
        for name, status in view.databases.items():
            found = _database(status)
            rows.append((name, str(found["state"]), str(found["version"]) or "-"))
        blocks.append(Table(("database", "state", "version"), tuple(rows)))
    if view.locks:
        locked = tuple(
            (lock.resource, lock.verdict or "-", lock.info.describe() if lock.info else "-")
            for lock in view.locks
        )
        blocks.append(Table(("lock", "holder is", "held by"), locked))
    if view.open_runs:
        runs = tuple(
            (run.id, run.recipe, run.started_at, "at work" if run.id in view.working else "cut off")
            for run in view.open_runs
        )
        blocks.append(Table(("open run", "recipe", "since", "state"), runs))
    if problems:
        count = "1 thing needs" if len(problems) == 1 else f"{len(problems)} things need"
        blocks.append(Text("\n".join([f"{count} attention:", *(f"  {text}" for text in problems)])))
    else:
        blocks.append(Text("all is well"))
    return blocks


def _nodes_table(view: SiteView) -> Table:
    rows = [
        (
            registry.name,
            node.host,
            node.state,
            _word(node.listening, "yes", "no"),
            node.version or "unknown",
            node.backend,
            _word(node.read_only, "refused (read-only)", "accepted"),
        )
        for registry in view.registries
        for node in registry.nodes
    ]
    columns = ("registry", "host", "state", "listening", "version", "backend", "pushes")
    return Table(columns, tuple(rows))


def _registries_table(view: SiteView) -> Table:
    rows = []
    for registry in view.registries:
        space, catalog, last = registry.space, registry.catalog, registry.last_collection
        free = f"{size_text(space.free_bytes)} of {size_text(space.total_bytes)}" if space else "unknown"
        rows.append(
            (
                registry.name,
                registry.place or registry.storage,
                free,
                _copy(catalog) if catalog else _no_copy(view, registry),
                last.ended_at if last else "never",
            )
        )
    columns = ("registry", "storage", "free", "last import", "last collection")
    return Table(columns, tuple(rows))


def _metadata_table(view: SiteView) -> Table:
    rows = []
    for registry in view.registries:
        found = registry.metadata
        if found is None:
            continue
        counts = found.rows.counts if found.rows else {}
        last = found.evidence.imports[0].finished_at if found.evidence.imports else None
        pending = found.migrations.pending_pre if found.migrations else None
        rows.append(
            (
                registry.name,
                {True: "yes", False: "no"}.get(found.uses_database, found.verdict.mode),  # type: ignore[arg-type]
                *(str(counts.get(table, "-")) for table in ("repositories", "tags", "manifests", "blobs")),
                f"{last:%Y-%m-%d %H:%M}" if last else "none",
                "unknown" if pending is None else "none" if not pending else f"{pending} pending",
            )
        )
    columns = ("registry", "database in use", "repositories", "tags", "manifests", "blobs", "last import",
               "migrations")  # fmt: skip
    return Table(columns, tuple(rows), right=frozenset({"repositories", "tags", "manifests", "blobs"}))


def _copy(catalog: CatalogView) -> str:
    if catalog.imported_at is None:
        return "never" if "never" in catalog.missing else catalog.missing or "never"
    return f"{catalog.imported_at} (changed since)" if catalog.stale else catalog.imported_at


def _no_copy(view: SiteView, registry: RegistryView) -> str:
    if registry.database is None:
        return "no database"
    if registry.metadata is not None:
        return "-"  # its database is its own, no copy
    status = view.databases.get(registry.database)
    return f"unknown, database {getattr(status, 'state', 'unknown')}"


def _word(value: bool | None, yes: str, no: str) -> str:
    return "unknown" if value is None else yes if value else no
