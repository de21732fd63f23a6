"""Start, migrate and look at regctl's own database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.commands.database_background import background, repair_indexes
from ctl.commands.database_migrate import migrate
from ctl.context import pass_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctl.context import Context
    from ctl.recipes.model import Step

_one = click.option("--database", "name", metavar="NAME", help="A database of the site, by its name.")


@click.group("database")
def command() -> None:
    """Start, migrate and look at regctl's own database."""


command.add_command(migrate)
command.add_command(background)
command.add_command(repair_indexes)


@command.command("status")
@_one
@pass_context
def status(context: Context, name: str | None) -> None:
    """Say whether each database answers, its version and its migrations; starts and writes nothing."""
    from ctl.steps.database_reports import status_report

    names = (name,) if name else tuple(context.site.databases)
    context.show(status_report(context.world, names))


@command.command("start")
@_one
@pass_context
def start(context: Context, name: str | None) -> None:
    """Start the embedded database, and create it where there is none."""
    from ctl.steps.database_service import StartDatabase

    _run(context, "database-start", [StartDatabase(database=one) for one in _embedded(context, name)])


@command.command("stop")
@_one
@click.option("--skip", multiple=True, metavar="CHECK", help="Pass over a check by its name: sessions.")
@click.option("--skip-reason", default="", metavar="WHY", help="Why a check is passed over; journaled.")
@pass_context
def stop(context: Context, name: str | None, skip: tuple[str, ...], skip_reason: str) -> None:
    """Stop the embedded database; refused while somebody is at work in it."""
    from ctl.steps.database_service import StopDatabase

    steps = [StopDatabase(database=one) for one in _embedded(context, name)]
    _run(context, "database-stop", steps, skip=skip, skip_reason=skip_reason)


@command.command("shell", context_settings={"ignore_unknown_options": False})
@_one
@click.option("--read-only", is_flag=True, help="Refuse every change in the session.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_context
def shell(context: Context, name: str | None, read_only: bool, arguments: tuple[str, ...]) -> None:
    """Open psql on a database; ARGUMENTS after `--` go to psql."""
    from ctl.database.shell import run_client
    from ctl.errors import UsageError

    if context.options.dry_run:
        raise UsageError("a shell cannot be tried out", hint="--read-only refuses every change in it")
    run_client(context.world.database(_single(context, name)), arguments, read_only=read_only)


def _run(
    context: Context,
    recipe_name: str,
    steps: Sequence[Step],
    question: str = "",
    skip: tuple[str, ...] = (),
    skip_reason: str = "",
) -> None:
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.database_reports import run_report

    names = dict.fromkeys(str(step.model_dump()["database"]) for step in steps)
    recipe = Recipe(
        recipe_name,
        tuple(Do(step) for step in steps),
        resources=tuple(f"database/{name}" for name in names),
        title=recipe_name.replace("-", " "),
        question=question,
    )
    context.show(run_report(context.run(recipe, skip=skip, skip_reason=skip_reason)))


def _embedded(context: Context, given: str | None) -> tuple[str, ...]:
    from ctl.errors import UsageError

    if given:
        if not context.world.database(given).embedded:
            raise UsageError(f"database {given} is not regctl's own: it is started and stopped where it runs")
        return (given,)
    names = tuple(name for name, one in context.site.databases.items() if one.embedded)
    if not names:
        raise UsageError("the site has no embedded database", hint="add one with `embedded: true`")
    return names


def _single(context: Context, given: str | None) -> str:
    from ctl.errors import UsageError

    names = (given,) if given else tuple(context.site.databases)
    if len(names) == 1:
        return names[0]
    if not names:
        raise UsageError("the site has no database", hint="add one below `databases:`")
    raise UsageError(
        "which database? the site has several", hint=f"name one with --database: {', '.join(names)}"
    )
