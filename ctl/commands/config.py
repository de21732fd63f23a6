"""Show, check, render, write and take over the registries' configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context
    from ctl.recipes.model import Do, Recipe


@click.group("config")
def command() -> None:
    """Show, check, render, write and take over the registries' configuration.

    A configuration file is adopted (somebody else's), managed (regctl's own, with a checksum in its header),
    drifted (managed, and edited by hand since) or missing.
    """


@command.command("show")
@click.option("--origin", is_flag=True, help="Also say in which file and line each value stands.")
@pass_context
def show(context: Context, origin: bool) -> None:
    """Show the site as it is after its drop-ins, secrets as references."""
    from ctl.config.load import load_site
    from ctl.config.report import site_report

    context.show(site_report(load_site(context.site_file, type(context.site)), with_origins=origin))


@command.command("schema")
@pass_context
def schema(context: Context) -> None:
    """Print the site's JSON Schema, for editors."""
    from ctl.config.report import schema_report

    context.show(schema_report(_site_class(context)))


@command.command("check")
@click.argument("registry", required=False)
@pass_context
def check(context: Context, registry: str | None) -> None:
    """Check the site, and every node's file as the registry itself would read it.

    Exit code 0 if all is well, 3 for findings that a registry can live with, 10 for settings that it does
    not follow.
    """
    from ctl.steps.config_check import check_node
    from ctl.steps.config_plan import secrets_folder
    from ctl.steps.config_report import check_report

    names = [context.registry_name(registry)] if registry else sorted(context.site.registries)
    secrets = secrets_folder(context.site_file)
    nodes = [
        check_node(context.world, name, node.host, secrets)
        for name in names
        for node in context.site.registries[name].nodes
    ]
    context.show(check_report(context.site_file, nodes))


@command.command("render")
@click.argument("registry", required=False)
@click.option("--host", metavar="HOST", help="The node; the first one unless given.")
@pass_context
def render(context: Context, registry: str | None, host: str | None) -> None:
    """Print a node's file as the site wants it, secrets hidden."""
    from ctl.steps.config_plan import plan_config, secrets_folder
    from ctl.steps.config_report import render_report

    name = context.registry_name(registry)
    node = context.world.node(name, host) if host else context.site.registries[name].nodes[0]
    context.show(
        render_report(plan_config(context.world, name, node.host, secrets_folder(context.site_file)))
    )


@command.command("diff")
@click.argument("registry", required=False)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 4 where a file would change.")
@pass_context
def diff(context: Context, registry: str | None, detailed_exitcode: bool) -> None:
    """Show what `config apply` would change in each node's file, secrets hidden."""
    from ctl.steps.config_plan import plan_config, secrets_folder
    from ctl.steps.config_report import diff_report

    name = context.registry_name(registry)
    secrets = secrets_folder(context.site_file)
    plans = [
        plan_config(context.world, name, node.host, secrets) for node in context.site.registries[name].nodes
    ]
    context.show(diff_report(name, plans, detailed_exitcode))


@command.command("apply")
@click.argument("registry", required=False)
@click.option(
    "--take-over",
    is_flag=True,
    help="Replace a file that is not regctl's, although the site says other things than it.",
)
@click.option("--overwrite-drift", is_flag=True, help="Drop the hand edits of a managed file.")
@click.option(
    "--wait",
    type=click.IntRange(0, 86400),
    default=0,
    metavar="SECONDS",
    help="Wait so long for `gitlab-ctl reconfigure` where it writes the file.",
)
@click.option("--skip", multiple=True, metavar="CHECK", help="Pass over a check by its name: auto-migrate.")
@click.option("--skip-reason", default="", metavar="WHY", help="Why a check is passed over; journaled.")
@pass_context
def apply(
    context: Context,
    registry: str | None,
    take_over: bool,
    overwrite_drift: bool,
    wait: int,
    skip: tuple[str, ...],
    skip_reason: str,
) -> None:
    """Write each node's file as the site wants it, restart what runs, and prove that it answers.

    A copy of the file before stays beside it. If the registry does not come up with the new file, the old one
    is brought back. With `auto_migrate: true` in the site, pending pre-deployment migrations of a GitLab
    registry's metadata database are applied before the first restart.

    Where gitlab-ctl writes the file, regctl does not: it says what to put into gitlab.rb, waits for the
    reconfigure, and proves that the file then means what was asked.
    """
    from ctl.steps.config_report import run_report

    name = context.registry_name(registry)
    recipe = apply_recipe(
        context,
        name,
        take_over=take_over,
        overwrite_drift=overwrite_drift,
        skip_migrations="auto-migrate" in skip,
        wait=wait,
    )
    context.show(run_report("config-apply", name, context.run(recipe, skip=skip, skip_reason=skip_reason)))


@command.command("adopt")
@click.argument("registry", required=False)
@pass_context
def adopt(context: Context, registry: str | None) -> None:
    """Take an existing file over: its settings into the site, its passwords into 0600 files.

    The file itself is not touched; the next `config apply` makes it regctl's. A drifted file's hand edits are
    taken into the site the same way.
    """
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.adopt_config import AdoptConfig
    from ctl.steps.config_plan import secrets_folder
    from ctl.steps.config_report import run_report

    name = context.registry_name(registry)
    step = AdoptConfig(registry=name, site=context.site_file, secrets=secrets_folder(context.site_file))
    recipe = Recipe(
        "config-adopt",
        (Do(step),),
        resources=(f"registry/{name}",),
        title=f"take the configuration of {name} into the site",
        question=f"Take the configuration of {name} into the site?",
    )
    context.show(run_report("config-adopt", name, context.run(recipe)))


def apply_recipe(
    context: Context,
    registry: str,
    *,
    take_over: bool,
    overwrite_drift: bool,
    skip_migrations: bool = False,
    wait: int = 0,
) -> Recipe:
    """Write the recipe of `config apply`: one node after the other, each proved before the next.

    Migrations that `auto_migrate` asks for come before the first restart, and before the first write where
    the file that is there names their database already.
    """
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.ask_reconfigure import AskReconfigure
    from ctl.steps.auto_migrate import auto_migrate, names_database
    from ctl.steps.config_plan import GeneratedPlan, plan_config, secrets_folder
    from ctl.steps.make_http_secret import MakeHttpSecret
    from ctl.steps.restart_node import RestartNode
    from ctl.steps.set_feature_flags import SetFeatureFlags, writes_flags
    from ctl.steps.write_config import WriteConfig

    secrets = secrets_folder(context.site_file)
    resources, nodes = [f"registry/{registry}"], context.site.registries[registry].nodes
    plans = {node.host: plan_config(context.world, registry, node.host, secrets) for node in nodes}
    items: list[Do] = []
    if not all(isinstance(plan, GeneratedPlan) for plan in plans.values()):
        items.append(Do(MakeHttpSecret(registry=registry, site=context.site_file, secrets=secrets)))
    first = plans[nodes[0].host]
    migrate = auto_migrate(
        context.world, registry, first.settings, node=nodes[0].host, skipped=skip_migrations
    )
    if migrate is not None:
        resources.append(f"database/{context.site.registries[registry].database}")
        if not first.changes or names_database(context.world, registry, nodes[0].host):
            items.append(Do(migrate))
            migrate = None
    for node in nodes:
        if isinstance(plans[node.host], GeneratedPlan):
            items.append(Do(AskReconfigure(registry=registry, node=node.host, wait=wait)))
            if migrate is not None:
                items.append(Do(migrate))
                migrate = None
            continue
        flags = writes_flags(context.world, registry, node.host)
        if flags:
            items.append(Do(SetFeatureFlags(registry=registry, node=node.host)))
        if not plans[node.host].changes:
            if flags:
                items.append(Do(RestartNode(registry=registry, node=node.host)))
            continue
        write = WriteConfig(
            registry=registry,
            node=node.host,
            secrets=secrets,
            take_over=take_over,
            overwrite_drift=overwrite_drift,
        )
        items.append(Do(write))
        if migrate is not None:
            items.append(Do(migrate))
            migrate = None
        items.append(Do(RestartNode(registry=registry, node=node.host)))
    return Recipe(
        "config-apply",
        tuple(items),
        resources=tuple(resources),
        title=f"write the configuration of {registry}",
        question=f"Write the configuration of {registry} and restart the nodes that run?",
        undo_on_failure=True,
    )


def _site_class(context: Context) -> type:
    """The class that the site is checked with; the shipped one where there is no readable site."""
    from ctl.config.models import site_model
    from ctl.errors import ConfigError

    try:
        return type(context.site)
    except ConfigError:
        return site_model()
