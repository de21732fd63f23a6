"""Move a registry out of its metadata database, back to its storage tree, losing nothing"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context
    from ctl.recipes.model import RunReport
    from ctl.report.model import Block, Json, Report
    from ctl.steps.enable_recipe import Place

_FIGURES = ("payloads", "manifests", "layers", "tags", "taken_out", "taken_out_tags")


@click.command("disable-db")
@click.argument("registry", required=False)
@click.option(
    "--pull",
    default="20",
    metavar="N|all",
    show_default=True,
    help="How many tags are pulled to the last layer from each node before it opens; 0 is none.",
)
@click.option(
    "--accept-data-loss",
    is_flag=True,
    help="Go on although blobs that tags need are not stored; with --empty-database: although the tree"
    " lacks what the database holds.",
)
@click.option(
    "--empty-database",
    is_flag=True,
    help="Empty the metadata database of a registry that is back on its storage tree.",
)
@click.option(
    "--undo",
    metavar="RUN",
    help="Put back into the tree what a run of disable-db took out of it and laid aside.",
)
@pass_context
def command(
    context: Context,
    registry: str | None,
    pull: str,
    accept_data_loss: bool,
    empty_database: bool,
    undo: str | None,
) -> None:
    """Have REGISTRY keep its record in its storage tree again.

    On the database nothing is linked in the tree, and online garbage collection deletes manifest files. So
    all that the tree lacks is written from the database, most of it while pushes go on; what was deleted
    since the switch is laid aside. Both are proved to say the same, every node serves from the tree, and tags
    are pulled from it, before it accepts pushes. Whatever fails before that is taken back.

    The database keeps what it holds until --empty-database, which a later `enable-db` needs.
    """
    from ctl.errors import UsageError
    from ctl.steps.config_plan import secrets_folder
    from ctl.steps.enable_recipe import Place
    from ctl.steps.metadata_doors import metadata_database
    from ctl.steps.pull_sample import pull_count

    name = context.registry_name(registry)
    metadata_database(context.world, name)
    if empty_database and undo:
        raise UsageError("--empty-database and --undo are two different things: give one of them")
    if undo:
        _undo(context, name, undo)
        return
    if empty_database:
        _empty(context, name, accept_data_loss)
        return
    place = Place(context.site_file, secrets_folder(context.site_file))
    _disable(context, name, place, pull_count(pull), accept_data_loss)


def _disable(context: Context, name: str, place: Place, pull: int, accept_data_loss: bool) -> None:
    from ctl.catalog.backend import judge
    from ctl.errors import Outcome
    from ctl.report.model import Report, Text
    from ctl.steps.backend_evidence import gather
    from ctl.steps.disable_recipe import Disabling, disable_recipe

    evidence = gather(context.world, name)
    if judge(evidence).mode == "filesystem" and True not in evidence.served:
        data: dict[str, Json] = {"registry": name, "backend": "filesystem"}
        text = Text(f"{name} keeps its record in its storage tree already.")
        context.show(Report("disable-db", Outcome.NOTHING_TO_DO, data, (text,)))
        return
    holds = evidence.repositories is None or evidence.repositories.rows > 0
    asked = Disabling(name, pull, accept_data_loss, holds)
    run = context.run(disable_recipe(context.world, asked, place))
    context.show(_report(name, run))


def _report(name: str, run: RunReport) -> Report:
    from ctl.errors import Outcome
    from ctl.report.model import Report, Table, Text

    data, blocks = _told(name, run, "PrepareTree", "WriteTree", "ProveTree", "PullSample", "ProveBackend")
    hints: tuple[str, ...] = ()
    if run.outcome in (Outcome.CHANGED, Outcome.OK, Outcome.WARNING) and run.state == "done":
        rows = (tuple(f"{_total(data, one):,}" for one in _FIGURES),)
        blocks.append(Table(_FIGURES, rows, f"{name}: written and taken out", frozenset(_FIGURES)))
        blocks.append(Text(f"{name} keeps its record in its storage tree; pushes are accepted again."))
        hints = (
            f"what was deleted since the switch lies aside: `regctl disable-db {name} --undo {run.id}`",
            f"before the next enable-db: `regctl disable-db {name} --empty-database`",
        )
    return Report("disable-db", run.outcome, data, tuple(blocks), hints)


def _told(name: str, run: RunReport, *steps: str) -> tuple[dict[str, Json], list[Block]]:
    """Return what these steps did, or what a dry run would do, as figures and as text."""
    data: dict[str, Json] = {"registry": name, "dry_run": run.state == "dry-run", "run": run.id}
    blocks: list[Block] = []
    for step in steps:
        data.update(run.data(step))
    for preview in run.previews if run.state == "dry-run" else ():
        data.update(preview.data)
        blocks += preview.titled
    return data, blocks


def _total(data: dict[str, Json], name: str) -> int:
    return sum(int(str(data.get(key, 0))) for key in (f"window_{name}", f"prepared_{name}"))


def _empty(context: Context, name: str, accept_data_loss: bool) -> None:
    from ctl.report.model import Report
    from ctl.steps.disable_recipe import empty_recipe

    run = context.run(empty_recipe(context.world, name, accept_data_loss=accept_data_loss))
    data, blocks = _told(name, run, "EmptyMetadata")
    context.show(Report("disable-db", run.outcome, data, tuple(blocks)))


def _undo(context: Context, name: str, run_id: str) -> None:
    from ctl.recipes.model import Do, Recipe
    from ctl.report.model import Report
    from ctl.steps.restore_tree import RestoreTree

    recipe = Recipe(
        "disable-db-undo",
        (Do(RestoreTree(registry=name, run=run_id)),),
        resources=(f"registry/{name}",),
        title=f"put back into the tree of {name} what {run_id} took out of it",
        question=f"Put back into the storage tree of {name} what run {run_id} took out of it?",
    )
    run = context.run(recipe)
    data, blocks = _told(name, run, "RestoreTree")
    context.show(Report("disable-db", run.outcome, data, tuple(blocks)))
