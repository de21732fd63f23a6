"""Delete blobs and manifests that nothing uses, in a proved window."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from ctl.commands.gc_drain import drain
from ctl.commands.gc_online import online
from ctl.commands.gc_status import status
from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.group("gc", invoke_without_command=True)
@click.option(
    "--registry", "given", metavar="REGISTRY", help="The registry; needed where the site has several."
)
@click.option("--read-only", "mode", flag_value="read-only", help="Refuse pushes meanwhile; pulls go on.")
@click.option("--stopped", "mode", flag_value="stopped", help="Stop the registry meanwhile.")
@click.option("--delete-untagged", is_flag=True, help="Also delete manifests that no tag needs.")
@click.pass_context
def command(click_context: click.Context, given: str | None, mode: str | None, delete_untagged: bool) -> None:
    """Delete blobs that no manifest uses.

    The plan is regctl's own; the deleting is done by the registry's own collector, inside a window in
    which no node accepts a push (--read-only) or none runs (--stopped). Before anything opens again every
    file that the plan keeps is proved to be in its place.

    With --dry-run nothing changes: the plan is shown, and no window need be named.
    """
    if click_context.invoked_subcommand is None:
        click_context.invoke(_collect, given=given, mode=mode, delete_untagged=delete_untagged)


command.add_command(status)
command.add_command(drain)
command.add_command(online)


@pass_context
def _collect(context: Context, given: str | None, mode: str | None, delete_untagged: bool) -> None:
    from ctl.errors import UsageError
    from ctl.steps.collection_recipe import collection_recipe

    if mode is None and not context.options.dry_run:
        raise UsageError(
            "say how pushes are kept out while garbage is collected",
            hint="`regctl gc --read-only` (pulls go on) or `regctl gc --stopped`; `--dry-run` looks first",
        )
    registry = context.registry_name(given)
    with ExitStack() as stack:
        ahead = None
        if context.options.dry_run:  # it overlays what changed instead of importing it
            from ctl.steps.plan_ahead import planning

            ahead = stack.enter_context(planning(context.world, registry, delete_untagged=delete_untagged))
        recipe = collection_recipe(
            context.world, registry, mode=mode, delete_untagged=delete_untagged, ahead=ahead
        )
        run = context.run(recipe)
    from ctl.steps.garbage_outcome import garbage_report

    context.show(garbage_report(run, registry))
