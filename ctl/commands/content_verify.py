"""`regctl content verify` and `regctl content repair`: what is not done, and what can be linked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.commands.content_options import hosts as on_hosts
from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.command("verify")
@click.argument("registry", required=False)
@on_hosts
@click.option(
    "--tries",
    type=click.IntRange(min=0),
    default=2000,
    show_default=True,
    metavar="NUMBER",
    help="How many manifests of a host are computed in memory to find what only that shows.",
)
@pass_context
def verify(context: Context, registry: str | None, hosts: tuple[str, ...], tries: int) -> None:
    """Prove that nothing remains on REGISTRY's hosts, or name what cannot be done, and the remedy for each.

    Only reads, in one read-only transaction on each host. Exit code 0 where it is proved that nothing
    remains, 3 where anything does, 7 where a host does not answer.
    """
    from ctl.commands.content_options import pulp_name
    from ctl.steps import verify_content
    from ctl.steps.verify_report import verify_report

    name = pulp_name(context, registry)
    context.show(verify_report(name, verify_content.verify(context.world, name, hosts, tries=tries)))


@click.command("repair")
@click.argument("registry", required=False)
@on_hosts
@click.option("--undo", metavar="RUN", help="Take back exactly the links that this run made.")
@pass_context
def repair(context: Context, registry: str | None, hosts: tuple[str, ...], undo: str | None) -> None:
    """Link manifests of REGISTRY to their files again: those that lost both text and link, not the file.

    Pulp's own command leaves such ones when it is cut off. After a repair they can be prepared. Exit code 3
    where others stay that have no file any more: `regctl content verify` says what to do about each.
    """
    from ctl.commands.content_options import pulp_name
    from ctl.errors import UsageError
    from ctl.steps.repair_report import repair_recipe, repair_report, undo_recipe

    name = pulp_name(context, registry)
    if undo and hosts:
        raise UsageError("--undo takes back a whole run: leave --host away")
    recipe = undo_recipe(context.world, name, undo) if undo else repair_recipe(context.world, name, hosts)
    context.show(repair_report(name, context.run(recipe)))
