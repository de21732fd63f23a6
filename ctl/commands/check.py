"""Look whether all is well: nodes, storage, databases, clocks, certificates, runs"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.command("check")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--list", "listed", is_flag=True, help="List the checks there are, and look at nothing.")
@click.option("--registry", "registries", multiple=True, metavar="REGISTRY", help="Only these; repeatable.")
@click.option("--skip", multiple=True, metavar="NAME", help="Let a check count for nothing; it is shown.")
@click.option("--skip-reason", default="", metavar="TEXT", help="Why; needed with --skip.")
@pass_context
def command(
    context: Context,
    names: tuple[str, ...],
    listed: bool,
    registries: tuple[str, ...],
    skip: tuple[str, ...],
    skip_reason: str,
) -> None:
    """Run the health checks, all or those that are named. Only looks; what it advises is never done.

    Exit code 0 if all is well, 3 if a check warned, 1 if one failed. A check that breaks is one failed check.
    """
    from ctl.errors import UsageError
    from ctl.health.checks import evaluate, named
    from ctl.health.model import Looker
    from ctl.health.report import check_report, list_report

    if listed:
        context.show(list_report())
        return
    checks = named(names)
    if skip and not skip_reason.strip():
        raise UsageError("--skip needs --skip-reason", hint="say why, for whoever reads the report")
    skipped = {check.name for check in named(skip)} if skip else set()
    pulps = context.site.pulps
    chosen = [name if name in pulps else context.registry_name(name) for name in registries]
    chosen = chosen or [*sorted(context.site.registries), *sorted(pulps)]
    looker = Looker(context.world, chosen, context.site_file)
    context.show(check_report(evaluate(looker, checks, skipped, skip_reason.strip())))
