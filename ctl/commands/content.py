"""Prepare a Pulp's old content for its next releases, on the server and on every content proxy"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.commands.content_options import hosts as on_hosts
from ctl.commands.content_prepare import prepare
from ctl.commands.content_restore import copies, forget, restore
from ctl.commands.content_verify import repair, verify
from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.group("content")
def command() -> None:
    """Prepare the content of a Pulp before the upgrade that needs it, while it serves."""


command.add_command(prepare)
command.add_command(copies)
command.add_command(restore)
command.add_command(forget)
command.add_command(verify)
command.add_command(repair)


@command.command("status")
@click.argument("registry", required=False)
@on_hosts
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 4 where something is left to do.")
@pass_context
def status(context: Context, registry: str | None, hosts: tuple[str, ...], detailed_exitcode: bool) -> None:
    """Show what is left to do on each host of REGISTRY, how long it takes, and who needs it by when.

    Only reads: a few manifests are computed in memory to learn how fast each machine is. Exit code 3 where
    some manifests are broken or passed over, 7 where a host does not answer.
    """
    from ctl.commands.content_options import pulp_name
    from ctl.steps.content_report import status_report
    from ctl.steps.content_survey import survey

    name = pulp_name(context, registry)
    surveys = survey(context.world, name, hosts)
    worth = context.world.pulp(name).content.worth_minutes
    context.show(status_report(name, surveys, worth, detailed=detailed_exitcode))
