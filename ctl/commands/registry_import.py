"""Bring a registry's content into its database: regctl's catalog, or the metadata database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.command("import")
@click.argument("registry", required=False)
@click.option("--accept-empty", is_flag=True, help="Take an empty storage root for an emptied registry.")
@pass_context
def command(context: Context, registry: str | None, accept_empty: bool) -> None:
    """Bring the catalog database up to date with the storage tree of REGISTRY.

    Only what changed since the last import is read; a manifest is parsed once in its life. Entries that
    cannot be taken as they stand are recorded and shown, never fatal: exit code 3. Stopped at any point,
    the same command goes on. With --dry-run the tree is compared and nothing is written.
    """
    name = context.registry_name(registry)
    _into_catalog(context, name, accept_empty)


def _into_catalog(context: Context, name: str, accept_empty: bool) -> None:
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.catalog_reports import import_report
    from ctl.steps.import_tree import ImportTree

    step = ImportTree(registry=name, accept_empty=accept_empty, survey=context.options.dry_run)
    recipe = Recipe(
        "registry-import",
        (Do(step),),
        resources=(f"registry/{name}",),
        title=f"import the storage tree of {name}",
    )
    context.show(import_report(context.world, name, context.run(recipe)))
