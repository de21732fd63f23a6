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
@click.option("--api", is_flag=True, help="Hold what a node lists and serves against the database, too.")
@click.option("--pull", metavar="N|all", help="Pull so many tags to the last layer, and hash every byte.")
@click.option("--node", metavar="HOST", default="", help="The node to ask; else the first that runs.")
@click.option(
    "--seed", default="", metavar="WORD", help="Chooses the tags for --pull: the same for the same."
)
@pass_context
def command(
    context: Context,
    registry: str | None,
    checksums: bool,
    api: bool,
    pull: str | None,
    node: str,
    seed: str,
) -> None:
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
        from ctl.steps.pull_sample import pull_count
        from ctl.steps.verify_metadata import Further, metadata_verify_report

        further = Further(api, pull_count(pull or "0"), node, seed)
        report = metadata_verify_report(
            context.world, name, checksums=checksums, emit=context.emit, further=further
        )
        context.show(report)
        return
    if api or pull or node or seed:
        from ctl.errors import UsageError

        raise UsageError(
            "--api, --pull, --node and --seed are for engines with a metadata database",
            hint=f"the engine of {name} keeps its record in its storage tree: `registry verify --checksums`",
        )
    from ctl.steps.catalog_reports import verify_report

    context.show(verify_report(context.world, name, checksums=checksums, emit=context.emit))
