"""Look at a shelf, and leave a note on it."""

from __future__ import annotations

import click

from ctl.context import Context, pass_context
from ctl.errors import Outcome
from ctl.report.model import Report, Text


@click.group("shelf")
def command() -> None:
    """Look at a shelf, and leave a note on it."""


@command.command("show")
@click.argument("registry", required=False)
@pass_context
def show(context: Context, registry: str | None) -> None:
    """Show the engine and the files of a registry."""
    name = context.registry_name(registry)
    engine = context.world.engine(name)
    files = [entry.path for entry in context.world.storage(name).scan("")]
    context.show(
        Report(
            "shelf-show",
            Outcome.OK,
            {"engine": engine.name, "files": files},
            (Text(f"{engine.name}: {', '.join(files)}"),),
        )
    )


@command.command("note")
@click.argument("path")
@click.argument("text")
@pass_context
def note(context: Context, path: str, text: str) -> None:
    """Write a note to a file, by the recipe of this package."""
    recipe = context.plugins.find("recipe", "note")(path=path, text=text)
    report = context.run(recipe)
    context.show(
        Report(
            "shelf-note",
            report.outcome,
            {"run": report.id, **report.data("LeaveNote")},
            (Text(f"the note is {report.outcome}"),),
        )
    )
