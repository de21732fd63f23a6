"""Compare what a registry holds in its storage with the copy in its database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.command("verify")
@click.argument("registry", required=False)
@click.option("--checksums", is_flag=True, help="Hash every stored blob again: as slow as the disk.")
@pass_context
def command(context: Context, registry: str | None, checksums: bool) -> None:
    """Compare the storage tree of REGISTRY with its database.

    Every link is read and every blob's size looked at. What is missing from the database, extra or
    different in it, and what manifests need and the storage does not hold is named, with every repository
    and tag that uses it. Exit code 0 or 3. Nothing is written and no database is started.

    For GitLab's registry it is the metadata database, and each difference that the importer or the time
    since the import explains says so; for distribution it is the catalog database.
    """
    from ctl.engines.metadata import metadata_of

    name = context.registry_name(registry)
    if metadata_of(context.world.engine(name)) is not None:
        from ctl.steps.verify_metadata import metadata_verify_report

        context.show(metadata_verify_report(context.world, name, checksums=checksums, emit=context.emit))
        return
    from ctl.steps.catalog_reports import verify_report

    context.show(verify_report(context.world, name, checksums=checksums, emit=context.emit))
