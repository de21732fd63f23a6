"""Refuse pushes on all nodes of a registry until told otherwise, and prove it"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context
    from ctl.recipes.model import RunReport
    from ctl.report.model import Block, Json, Report
    from ctl.world import World


@click.group("read-only")
def command() -> None:
    """Make a registry refuse pushes over a longer time, take that back, and see how it stands.

    For one garbage collection you need none of these: `regctl gc --read-only` opens again by itself.
    """


@command.command("on")
@click.argument("registry", required=False)
@click.option("--reason", default="", metavar="TEXT", help="Why; shown by `read-only status`.")
@click.option("--skip", multiple=True, metavar="CHECK", help="Pass over a check by its name: config-newer.")
@click.option("--skip-reason", default="", metavar="WHY", help="Why a check is passed over; journaled.")
@pass_context
def on(context: Context, registry: str | None, reason: str, skip: tuple[str, ...], skip_reason: str) -> None:
    """Refuse pushes on every node, over runs and restarts, until `read-only off`.

    Each node's configuration gets its read-only key, the original is kept, the node is restarted with
    drain, and a refused write proves it. If one node fails, the others are brought back.
    """
    from ctl.recipes.identity import operator
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.set_read_only import SetReadOnly

    name = context.registry_name(registry)
    by = operator()
    recipe = Recipe(
        "read-only-on",
        tuple(
            Do(SetReadOnly(registry=name, node=node.host, by=by, reason=reason))
            for node in context.world.registry(name).nodes
        ),
        resources=(f"registry/{name}",),
        title=f"make {name} read-only",
        question=f"Make {name} read-only until `regctl read-only off`? Its nodes are restarted.",
        undo_on_failure=True,
    )
    run = context.run(recipe, skip=skip, skip_reason=skip_reason)
    context.show(_changed(context, name, "read-only-on", run))


@command.command("off")
@click.argument("registry", required=False)
@pass_context
def off(context: Context, registry: str | None) -> None:
    """Bring back what `read-only on` found: the same bytes, and pushes accepted.

    A stopped node stays stopped. A node that was read-only by its own configuration is not opened.
    """
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.set_read_only import ClearReadOnly

    name = context.registry_name(registry)
    recipe = Recipe(
        "read-only-off",
        tuple(
            Do(ClearReadOnly(registry=name, node=node.host)) for node in context.world.registry(name).nodes
        ),
        resources=(f"registry/{name}",),
        title=f"make {name} writable again",
        question=f"Make {name} writable again? Its nodes are restarted.",
    )
    context.show(_changed(context, name, "read-only-off", context.run(recipe)))


@command.command("status")
@click.argument("registry", required=False)
@pass_context
def status(context: Context, registry: str | None) -> None:
    """Say per node what its file says and what a write meets; exit code 3 if they disagree. Only looks."""
    from ctl.errors import Outcome
    from ctl.report.model import Report

    names = [context.registry_name(registry)] if registry else sorted(context.site.registries)
    rows = [row for name in names for row in _rows(context.world, name)]
    agree = {name: _agree([row for row in rows if row["registry"] == name]) for name in names}
    outcome = Outcome.OK if all(agree.values()) else Outcome.WARNING
    hints = tuple(
        f"the nodes of {name} do not agree, or a node does not do what its file says"
        for name, good in agree.items()
        if not good
    )
    data: dict[str, Json] = {"nodes": rows, "agree": all(agree.values())}
    context.show(Report("read-only-status", outcome, data, (_table(rows),), hints))


def _rows(world: World, registry: str) -> list[dict[str, Any]]:
    return [_row(world, registry, node.host) for node in world.registry(registry).nodes]


def _row(world: World, registry: str, host: str) -> dict[str, Any]:
    """Describe a node; what cannot be found out is null, with the reason in `detail`."""
    from ctl.errors import RegctlError
    from ctl.steps.read_only_record import read_record

    row: dict[str, Any] = {"registry": registry, "host": host, "config": None, "probe": "unproven"}
    row |= {"since": None, "by": None, "reason": None, "run": None, "kept": [], "detail": ""}
    try:
        row |= _modes(world, registry, host)
        record = read_record(world.state_dir, registry, host)
    except RegctlError as error:
        return row | {"detail": error.message}
    if record is not None:
        row |= {"since": record.since, "by": record.by, "reason": record.reason, "run": record.run}
    elif row["config"] == "read-only":
        row["by"] = "a run of regctl" if row["kept"] else "its own configuration"
    return row


def _modes(world: World, registry: str, host: str) -> dict[str, Any]:
    from ctl.recipes.live import CheckRun
    from ctl.recipes.model import Target
    from ctl.steps.read_only_node import ReadOnlyNode

    node = ReadOnlyNode(Target(world, CheckRun("read-only-status", lambda event: None)), registry, host)
    parsed = node.parsed(node.read())
    says = "read-only" if node.engine.is_read_only(parsed.data) else "writable"
    found: dict[str, Any] = {
        "config": says if parsed.readable else "unreadable",
        "kept": node.kept_copies(),
        "probe": "stopped",
    }
    if node.service.state().running:
        probe = node.client.probe_write()
        found |= {"probe": probe.state, "detail": probe.detail}
    return found


def _agree(rows: list[dict[str, Any]]) -> bool:
    """Say whether all nodes are in one mode, and each does what its file says. A stopped one does nothing."""
    modes = {row["config"] for row in rows}
    running = [row for row in rows if row["probe"] != "stopped"]
    return len(modes) == 1 and all(row["probe"] == row["config"] for row in running)


def _changed(context: Context, registry: str, name: str, run: RunReport) -> Report:
    from ctl.report.model import Report

    if run.state == "dry-run":
        data: dict[str, Json] = {
            "registry": registry,
            "dry_run": True,
            "changes": [preview.title for preview in run.previews if preview.changes],
        }
        blocks = tuple(block for preview in run.previews for block in preview.titled)
        return Report(name, run.outcome, data, blocks)
    rows = _rows(context.world, registry)
    data = {"registry": registry, "dry_run": False, "run": run.id, "nodes": rows}
    return Report(name, run.outcome, data, (_table(rows),))


def _table(rows: list[dict[str, Any]]) -> Block:
    from ctl.report.model import Table

    return Table(
        ("registry", "host", "file says", "a write is", "since", "by", "reason", "detail"),
        tuple(
            (
                row["registry"],
                row["host"],
                row["config"] or "unknown",
                _MET.get(row["probe"], row["probe"]),
                row["since"] or "-",
                row["by"] or "-",
                row["reason"] or "-",
                row["detail"] or "-",
            )
            for row in rows
        ),
    )


_MET = {
    "read-only": "refused",
    "writable": "accepted",
    "stopped": "not possible (stopped)",
    "unreachable": "not answered",
}
