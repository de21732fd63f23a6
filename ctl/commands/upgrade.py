"""Plan an upgrade of a registry's program, and lead its nodes to it one by one"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from packaging.version import Version

    from ctl.context import Context
    from ctl.steps.upgrade_look import Asked


def _target_options(function: Callable[..., None]) -> Callable[..., None]:
    function = click.option(
        "--to",
        "version",
        metavar="VERSION",
        help="The version that is meant: refused where a target is another one.",
    )(function)
    return click.option(
        "--to-binary",
        "binary",
        metavar="PATH",
        help="The program to lead every node to; else each node's `upgrade: {binary: ...}` in the site.",
    )(function)


@click.group("upgrade")
def command() -> None:
    """Lead the nodes of a registry to another version of its program, one by one."""


@command.command("plan")
@click.argument("registry", required=False)
@_target_options
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 4 where an upgrade is to be made.")
@click.option(
    "--skip",
    multiple=True,
    metavar="CHECK",
    help="Of a Pulp: pass over a check by its name: broken-content, mixed-versions. Else it is for apply.",
)
@click.option("--skip-reason", default="", metavar="WHY", help="Why a check is passed over; it stands there.")
@pass_context
def plan(
    context: Context,
    registry: str | None,
    binary: str | None,
    version: str | None,
    detailed_exitcode: bool,
    skip: tuple[str, ...],
    skip_reason: str,
) -> None:
    """Show what an upgrade of REGISTRY would do, host by host, and what keeps it from beginning.

    Only looks. The storage is read for images that the target no longer serves, which may take a while. Of a
    Pulp, --to names a release of pulp-container, and every host is asked what it has left to prepare.
    """
    from ctl.commands import pulp_upgrade
    from ctl.errors import UsageError

    if pulp := pulp_upgrade.meant(context, registry):
        pulp_upgrade.show_plan(context, pulp, binary, version, skip, skip_reason, detailed=detailed_exitcode)
        return
    if skip:
        raise UsageError("--skip of a plan is for a Pulp; here it is an option of `upgrade apply`")
    from ctl.plans.upgrade import plan as make_plan
    from ctl.recipes.live import CheckRun
    from ctl.recipes.model import Target
    from ctl.steps.upgrade_look import look
    from ctl.steps.upgrade_report import plan_report

    asked = _asked(context, registry, binary, version)
    looking = Target(context.world, CheckRun("upgrade", context.emit))
    planned = make_plan(look(context.world, asked, looking))
    context.show(plan_report(planned, detailed=detailed_exitcode))


@command.command("apply")
@click.argument("registry", required=False)
@_target_options
@click.option(
    "--skip",
    multiple=True,
    metavar="CHECK",
    help="Pass over a check by its name: unknown-skew, dropped-manifests, unfinished-migrations.",
)
@click.option("--skip-reason", default="", metavar="WHY", help="Why a check is passed over; journaled.")
@pass_context
def apply(
    context: Context,
    registry: str | None,
    binary: str | None,
    version: str | None,
    skip: tuple[str, ...],
    skip_reason: str,
) -> None:
    """Lead every node of REGISTRY to its target: drained, switched, proved, and put back, one by one.

    A node that does not prove itself goes back to what it had, and no further one is begun. The same command
    again takes up only the nodes that are left. For a Pulp it is refused, and says what is done by hand.
    """
    from ctl.commands import pulp_upgrade

    if pulp := pulp_upgrade.meant(context, registry):
        pulp_upgrade.refuse_apply(context, pulp, binary, version, skip, skip_reason)
        return
    from ctl.plans.upgrade import plan as make_plan
    from ctl.recipes.live import CheckRun
    from ctl.recipes.model import Target
    from ctl.steps.upgrade_look import look
    from ctl.steps.upgrade_recipe import upgrade_recipe
    from ctl.steps.upgrade_report import apply_report

    asked = _asked(context, registry, binary, version)
    looking = Target(context.world, CheckRun("upgrade", context.emit))
    facts = look(context.world, asked, looking, count=False)  # counted by the recipe's own first look
    planned = make_plan(facts)
    recipe = upgrade_recipe(context.world, asked, facts, planned, context.site_file)
    run = context.run(recipe, skip=skip, skip_reason=skip_reason)
    context.show(apply_report(planned, run))


def _asked(context: Context, registry: str | None, binary: str | None, version: str | None) -> Asked:
    from ctl.errors import UsageError
    from ctl.steps.config_plan import secrets_folder
    from ctl.steps.upgrade_look import Asked

    name = context.registry_name(registry)
    if binary is not None and not binary.startswith("/"):
        raise UsageError(f"--to-binary {binary}: an absolute path, as it is on every node's host")
    return Asked(name, binary or "", _version(version), secrets_folder(context.site_file))


def _version(text: str | None) -> Version | None:
    from packaging.version import InvalidVersion, Version

    from ctl.errors import UsageError

    if text is None:
        return None
    try:
        return Version(text)
    except InvalidVersion as error:
        raise UsageError(f"--to {text}: not a version, such as 3.1.1") from error
