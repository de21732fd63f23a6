"""Look after the background migrations of GitLab's metadata databases, and their unusable indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.commands.database_options import node as node_option
from ctl.commands.database_options import wait as wait_option
from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.commands.database_targets import Chosen
    from ctl.context import Context

_one = click.option(
    "--database", "name", metavar="NAME", help="A metadata database of the site, by its name."
)
_registry = click.option("--registry", metavar="NAME", help="The metadata database of this registry.")


@click.group("background")
def background() -> None:
    """Look after the background migrations of a GitLab registry's metadata database.

    They copy and fill columns in small batches after a schema migration. The registry's own worker can do
    that while it serves; `run` does it now.
    """


@background.command("status")
@_one
@_registry
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 4 where any is unfinished.")
@pass_context
def status(context: Context, name: str | None, registry: str | None, detailed_exitcode: bool) -> None:
    """Say how far each is, who works on them, and which failed; only reads."""
    from ctl.steps.background_reports import background_report
    from ctl.steps.metadata_reports import detailed, joined

    chosen = _choose(context, name, registry)
    reports = [background_report(context.world, one) for _, one in chosen.metadata]
    context.show(detailed(joined("database-background-status", reports), detailed_exitcode))


@background.command("run")
@_one
@_registry
@node_option
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="When to end the program; what it has done stays.",
)
@click.option(
    "--max-retries",
    type=click.IntRange(min=1, max=10),
    metavar="N",
    help="How often the program tries a failing job; 2 unless given.",
)
@click.option(
    "--finish-overflowed",
    is_flag=True,
    help="Mark one finished that is proved done, and that the program would repeat for ever.",
)
@wait_option
@pass_context
def run(
    context: Context,
    name: str | None,
    registry: str | None,
    node: str | None,
    timeout: int,
    max_retries: int | None,
    finish_overflowed: bool,
    wait: int,
) -> None:
    """Run the unfinished ones to their end, paused ones too; supervised, with progress."""
    from ctl.commands.database_targets import run_steps
    from ctl.steps.background_migrations import RunBackgroundMigrations

    chosen = _choose(context, name, registry)
    steps = [
        RunBackgroundMigrations(
            registry=one,
            node=node or "",
            max_retries=max_retries,
            timeout_seconds=timeout,
            finish_overflowed=finish_overflowed,
            wait_seconds=wait,
        )
        for _, one in chosen.metadata
    ]
    question = "Mark finished what is proved done, by a write of our own?" if finish_overflowed else ""
    run_steps(context, "database-background-run", steps, chosen, question=question)


@background.command("pause")
@_one
@_registry
@node_option
@pass_context
def pause(context: Context, name: str | None, registry: str | None, node: str | None) -> None:
    """Pause the active ones, for example before maintenance."""
    _set(context, name, registry, node, "pause")


@background.command("resume")
@_one
@_registry
@node_option
@pass_context
def resume(context: Context, name: str | None, registry: str | None, node: str | None) -> None:
    """Let the paused ones go on."""
    _set(context, name, registry, node, "resume")


@click.command("repair-indexes")
@_one
@_registry
@wait_option
@pass_context
def repair_indexes(context: Context, name: str | None, registry: str | None, wait: int) -> None:
    """Rebuild the indexes that an interrupted migration has left unusable, while the registry serves."""
    from ctl.commands.database_targets import run_steps
    from ctl.steps.repair_indexes import RepairIndexes

    chosen = _choose(context, name, registry)
    steps = [RepairIndexes(registry=one, wait_seconds=wait) for _, one in chosen.metadata]
    run_steps(context, "database-repair-indexes", steps, chosen)


def _set(context: Context, name: str | None, registry: str | None, node: str | None, verb: str) -> None:
    from ctl.commands.database_targets import run_steps
    from ctl.steps.set_background import SetBackgroundMigrations

    chosen = _choose(context, name, registry)
    steps = [
        SetBackgroundMigrations.model_validate({"registry": one, "verb": verb, "node": node or ""})
        for _, one in chosen.metadata
    ]
    run_steps(context, f"database-background-{verb}", steps, chosen)


def _choose(context: Context, name: str | None, registry: str | None) -> Chosen:
    """Return the metadata databases meant; UsageError where there is none."""
    from ctl.commands.database_targets import Chosen, choose
    from ctl.errors import UsageError
    from ctl.steps.metadata_migrations import metadata_registries

    known = metadata_registries(context.site)
    if not known and registry is None:
        raise UsageError(
            "the site has no metadata database",
            hint="it is the database of a GitLab registry: registries.NAME.database with engine gitlab",
        )
    if name is not None and name not in known:
        raise UsageError(
            f"{name} is no metadata database of a GitLab registry", hint=f"there is: {', '.join(known)}"
        )
    if registry is not None:
        context.world.registry(registry)  # a Pulp has none
    chosen = choose(context, name, registry)
    return Chosen((), chosen.metadata)
