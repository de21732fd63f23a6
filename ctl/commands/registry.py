"""Import a registry's content into the catalog database, and verify the copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.group("registry")
def command() -> None:
    """Read what a registry holds: import it into the catalog database, verify the copy."""


@command.command("import")
@click.argument("registry", required=False)
@click.option("--accept-empty", is_flag=True, help="Take an empty storage root for an emptied registry.")
@pass_context
def import_(context: Context, registry: str | None, accept_empty: bool) -> None:
    """Bring the catalog database up to date with the storage tree of REGISTRY.

    Only what changed since the last import is read; a manifest is parsed once in its life. Entries that
    cannot be taken as they stand are recorded and shown, never fatal: exit code 3. Stopped at any point,
    the same command goes on. With --dry-run the tree is compared and nothing is written.
    """
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.catalog_reports import import_report
    from ctl.steps.import_tree import ImportTree

    name = context.registry_name(registry)
    step = ImportTree(registry=name, accept_empty=accept_empty, survey=context.options.dry_run)
    recipe = Recipe(
        "registry-import",
        (Do(step),),
        resources=(f"registry/{name}",),
        title=f"import the storage tree of {name}",
    )
    context.show(import_report(context.world, name, context.run(recipe)))


@command.command("verify")
@click.argument("registry", required=False)
@click.option("--checksums", is_flag=True, help="Hash every stored blob again: as slow as the disk.")
@pass_context
def verify(context: Context, registry: str | None, checksums: bool) -> None:
    """Compare the storage tree of REGISTRY with the catalog database.

    Every link is read and every blob's size looked at. What is missing from the catalog, extra or
    different in it, and what manifests need and the storage does not hold is named, with every repository
    and tag that uses it. Exit code 0 or 3. Nothing is written and no database is started.
    """
    from ctl.steps.catalog_reports import verify_report

    name = context.registry_name(registry)
    context.show(verify_report(context.world, name, checksums=checksums, emit=context.emit))
