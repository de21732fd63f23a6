"""`regctl content prepare`: do what is left, on the server and on every proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.commands.content_options import hosts as on_hosts
from ctl.commands.host_options import at_once, canary, max_fail
from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.command("prepare")
@click.argument("registry", required=False)
@on_hosts
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="N",
    help="At most so many manifests a second on each host. [default: as fast as it goes]",
)
@click.option(
    "--pause-when-load",
    "load",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="LOAD",
    help="Rest while the host's load average of one minute is above this.",
)
@click.option(
    "--chunk",
    type=click.IntRange(min=1, max=1000),
    metavar="N",
    help="Manifests in one transaction. [default: as the site says, 200]",
)
@canary
@at_once("--at-once")
@max_fail
@click.option(
    "--to",
    metavar="VERSION",
    help="The release of pulp-container that comes next: one that serves no old content needs this.",
)
@click.option(
    "--although-short",
    is_flag=True,
    help="Also where it saves less downtime than content.worth_minutes of the site.",
)
@click.option(
    "--skip", multiple=True, metavar="CHECK", help="Pass over a check by its name: package-manager."
)
@click.option("--skip-reason", default="", metavar="WHY", help="Why a check is passed over; journaled.")
@click.option(
    "--abort", is_flag=True, help="End what is at work, begun from wherever: after the manifests at work."
)
@pass_context
def prepare(
    context: Context,
    registry: str | None,
    hosts: tuple[str, ...],
    rate: float,
    load: float,
    chunk: int | None,
    canary: int,
    at_once: int,
    max_fail: int,
    to: str | None,
    although_short: bool,
    skip: tuple[str, ...],
    skip_reason: str,
    abort: bool,
) -> None:
    """Prepare the old content of REGISTRY, while it serves: only what is left, in small transactions.

    A job on each host, which outlives the connection and regctl itself; what it has done is never half-done,
    whatever ends it, and the same command goes on from there. Ctrl-C lets the manifests at work be finished.
    Exit code 3 where something could not be done, 5 where somebody else prepares there, 7 where a host or
    its PostgreSQL stays away.
    """
    from ctl.commands.content_options import pulp_name, release
    from ctl.errors import UsageError
    from ctl.steps.content_prepare_report import prepare_report
    from ctl.steps.content_recipe import Asked, content_recipe, not_needed, without_idle
    from ctl.steps.content_survey import survey

    name = pulp_name(context, registry)
    if abort:
        if rate or load or chunk or canary or max_fail or to or although_short:
            raise UsageError("--abort begins nothing: it goes with --host alone")
        _abort(context, name, hosts)
        return
    asked = Asked(rate, load, chunk, canary, at_once, max_fail, release(to), although_short)
    surveys = survey(context.world, name, hosts)
    recipe = content_recipe(context.world, name, surveys, asked)
    run = context.run(recipe, skip=without_idle(recipe, skip), skip_reason=skip_reason)
    why = not_needed(context.world, name, surveys, asked) if not run.id else ""
    context.show(prepare_report(name, surveys, run, rate=rate, not_needed=why))


def _abort(context: Context, name: str, hosts: tuple[str, ...]) -> None:
    from ctl.steps.abort_content import abort_recipe, abort_report, at_work, running
    from ctl.steps.pulp_doors import pulp_nodes

    pulp_nodes(context.world, name, hosts)  # a host that is none of its hosts is a mistake
    found = running(context.world, at_work(context.world, name, hosts))
    run = context.run(abort_recipe(name, found)) if found else None
    context.show(abort_report(name, found, run))
