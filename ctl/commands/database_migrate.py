"""Migrate regctl's own databases by regctl, and GitLab's metadata databases by the registry's program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.commands.database_options import node as node_option
from ctl.commands.database_options import wait as wait_option
from ctl.commands.database_targets import choose, in_use, refuse_nonsense, run_steps
from ctl.commands.pulp_migrations import named_only, refuse_down, reports
from ctl.commands.pulp_migrations import up as pulp_up
from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context
    from ctl.recipes.model import Step

_one = click.option("--database", "name", metavar="NAME", help="A database of the site, by its name.")
_registry = click.option(
    "--registry",
    metavar="NAME",
    help="The metadata database of this registry, or the databases of this Pulp: migrated by its program.",
)
_limit = click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most so many migrations of each database; of a metadata database, pre-deployment ones only.",
)
_post_limit = click.option(
    "--post-limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most so many post-deployment migrations of a metadata database.",
)
_skip_post = click.option(
    "--skip-post-deployment", is_flag=True, help="Leave the post-deployment migrations for later."
)
_timeout = click.option(
    "--timeout",
    type=click.IntRange(min=1),
    default=7200,
    show_default=True,
    metavar="SECONDS",
    help="When to end the registry's program; what it applied stays.",
)
_exitcode = click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 4 where migrations are pending."
)
_skip = click.option(
    "--skip", multiple=True, metavar="CHECK", help="Pass over a check by its name: invalid-indexes."
)
_skip_reason = click.option(
    "--skip-reason", default="", metavar="WHY", help="Why a check is passed over; journaled."
)


@click.group("migrate")
def migrate() -> None:
    """Bring a database's schema up to date, or take migrations back.

    regctl's own databases get regctl's migrations. The metadata database of a GitLab registry gets those of
    the registry's program, and the databases of a Pulp's hosts those of Pulp's manager: regctl runs these,
    watches and proves them.
    """


@migrate.command("up")
@_one
@_registry
@node_option
@_limit
@_post_limit
@_skip_post
@wait_option
@_timeout
@_skip
@_skip_reason
@pass_context
def up(
    context: Context,
    name: str | None,
    registry: str | None,
    node: str | None,
    limit: int | None,
    post_limit: int | None,
    skip_post_deployment: bool,
    wait: int,
    timeout: int,
    skip: tuple[str, ...],
    skip_reason: str,
) -> None:
    """Apply the pending migrations; an embedded database is created and started for it."""
    from ctl.steps.database_service import StartDatabase
    from ctl.steps.migrate import MigrateUp
    from ctl.steps.migrate_metadata import MigrateMetadata

    chosen = choose(context, name, registry)
    refuse_nonsense(chosen, post_limit, node, skip_post_deployment, limit)
    if registry and chosen.pulps:
        pulp_up(context, registry, node, timeout)
        return
    if not name and not registry:
        chosen = in_use(context, named_only(context, chosen))
    steps: list[Step] = []
    for one in chosen.own:
        if context.world.database(one).embedded:
            steps.append(StartDatabase(database=one))
        steps.append(MigrateUp(database=one, limit=limit, skip_post_deployment=skip_post_deployment))
    for _, served in chosen.metadata:
        step = MigrateMetadata(
            registry=served,
            node=node or "",
            limit=limit,
            post_limit=post_limit,
            skip_post_deployment=skip_post_deployment,
            wait_seconds=wait,
            timeout_seconds=timeout,
        )
        steps.append(step)
    run_steps(context, "database-migrate-up", steps, chosen, skip=skip, skip_reason=skip_reason)


@migrate.command("down")
@_one
@_registry
@node_option
@_limit
@_post_limit
@wait_option
@_timeout
@click.option("--accept-data-loss", is_flag=True, help="What is named as lost may be lost.")
@pass_context
def down(
    context: Context,
    name: str | None,
    registry: str | None,
    node: str | None,
    limit: int | None,
    post_limit: int | None,
    wait: int,
    timeout: int,
    accept_data_loss: bool,
) -> None:
    """Take migrations back, the last one first; all of them without a limit.

    A metadata database is only touched where --database or --registry names it, and never while it is served.
    """
    from ctl.steps.migrate import MigrateDown
    from ctl.steps.migrate_metadata_down import MigrateMetadataDown

    chosen = choose(context, name, registry, named_only=True)
    if chosen.pulps:
        refuse_down(chosen.pulps[0])
    refuse_nonsense(chosen, post_limit, node)
    # A dry run loses nothing, so it names what would be lost without being allowed to lose it.
    accepted = accept_data_loss or context.options.dry_run
    steps: list[Step] = [
        MigrateDown(database=one, limit=limit, accept_data_loss=accepted) for one in chosen.own
    ]
    for _, served in chosen.metadata:
        step = MigrateMetadataDown(
            registry=served,
            node=node or "",
            limit=limit,
            post_limit=post_limit,
            accept_data_loss=accepted,
            wait_seconds=wait,
            timeout_seconds=timeout,
        )
        steps.append(step)
    question = "Take these migrations back? What is named as lost is gone."
    run_steps(context, "database-migrate-down", steps, chosen, question=question)


@migrate.command("status")
@_one
@_registry
@node_option
@_exitcode
@pass_context
def status(
    context: Context, name: str | None, registry: str | None, node: str | None, detailed_exitcode: bool
) -> None:
    """List the migrations that are applied and pending; only reads."""
    from ctl.steps.database_reports import migrations_report
    from ctl.steps.metadata_reports import detailed, joined, status_report

    chosen = choose(context, name, registry)
    shown = [migrations_report(context.world, chosen.own)] if chosen.own else []
    shown += [status_report(context.world, one, node or "") for _, one in chosen.metadata]
    shown += reports(context, chosen, node, "status")
    context.show(detailed(joined("database-migrate-status", shown), detailed_exitcode))


@migrate.command("plan")
@_one
@_registry
@node_option
@_limit
@_post_limit
@_skip_post
@_exitcode
@pass_context
def plan(
    context: Context,
    name: str | None,
    registry: str | None,
    node: str | None,
    limit: int | None,
    post_limit: int | None,
    skip_post_deployment: bool,
    detailed_exitcode: bool,
) -> None:
    """List what `up` would apply, in order; only reads."""
    from ctl.engines.metadata import MigrationLimits
    from ctl.steps.metadata_reports import detailed, joined, own_plan_report, plan_report

    chosen = choose(context, name, registry)
    refuse_nonsense(chosen, post_limit, node, skip_post_deployment, limit)
    limits = MigrationLimits(limit, post_limit, skip_post_deployment)
    shown = [own_plan_report(context.world, chosen.own, limits)] if chosen.own else []
    shown += [plan_report(context.world, one, node or "", limits) for _, one in chosen.metadata]
    shown += reports(context, chosen, node, "plan")
    context.show(detailed(joined("database-migrate-plan", shown), detailed_exitcode))


@migrate.command("version")
@_one
@_registry
@pass_context
def version(context: Context, name: str | None, registry: str | None) -> None:
    """Print the migration that was applied last; only reads."""
    from ctl.steps.database_reports import version_report
    from ctl.steps.metadata_reports import joined, metadata_version_report

    chosen = choose(context, name, registry)
    shown = [version_report(context.world, chosen.own)] if chosen.own else []
    shown += [metadata_version_report(context.world, one) for _, one in chosen.metadata]
    shown += reports(context, chosen, None, "version")
    context.show(joined("database-migrate-version", shown))
