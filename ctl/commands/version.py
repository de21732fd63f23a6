"""Say which regctl this is, and what it runs on."""

from __future__ import annotations

import platform

import click

from ctl import listing, usage
from ctl.context import Context, pass_context
from ctl.errors import Outcome
from ctl.report.model import Report, Table, Text


@click.command("version")
@pass_context
def command(context: Context) -> None:
    """Say which regctl this is; with -v also the libraries that it uses.

    regclient ships another program named regctl: the first line tells the two apart.
    """
    version = listing.own_version()
    dependencies = listing.dependency_versions()
    rows = tuple((name, found or "missing") for name, found in dependencies.items())
    blocks: tuple[Text | Table, ...] = (
        Text(usage.version_line().rstrip("\n")),
        Text(f"Python {platform.python_version()}"),
    )
    if context.options.verbose:
        blocks += (Table(("library", "version"), rows),)
    context.show(
        Report(
            command="version",
            outcome=Outcome.OK,
            data={
                "name": listing.DISTRIBUTION,
                "version": version,
                "python": platform.python_version(),
                "location": listing.HERE,
                "dependencies": dependencies,
            },
            blocks=blocks,
        )
    )
