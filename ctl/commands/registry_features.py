"""Show what the installed versions of a registry can do, and with which metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.command("features")
@click.argument("registry", required=False)
@pass_context
def command(context: Context, registry: str | None) -> None:
    """Show what the installed versions of REGISTRY can do, and with which metadata.

    Each node's program is asked for its version. The table says since which version a feature is there, with
    which metadata it works (filesystem, database), and whether every node has it with the metadata that its
    configuration asks for.
    """
    from ctl.steps.registry_features import features_report

    context.show(features_report(context.world, context.registry_name(registry)))
