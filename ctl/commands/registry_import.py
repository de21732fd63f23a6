"""Bring a registry's content into its database: regctl's catalog, or the metadata database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ctl.commands.import_options import skip_recent_seconds
from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context

_STEPS = ("one", "two", "three")
_ALIASES = {
    "one": ("--step-one", "--pre-import"),
    "two": ("--step-two", "--all-repositories"),
    "three": ("--step-three", "--common-blobs"),
}


@click.command("import")
@click.argument("registry", required=False)
@click.option("--accept-empty", is_flag=True, help="Take an empty storage root for an emptied registry.")
@click.option("--step", type=click.Choice(_STEPS), help="gitlab: only this step; without it, all of them.")
@click.option(*_ALIASES["one"], "step", flag_value="one", help="As --step one: manifests; pushes go on.")
@click.option(*_ALIASES["two"], "step", flag_value="two", help="As --step two: tags; pushes are refused.")
@click.option(*_ALIASES["three"], "step", flag_value="three", help="As --step three: the remaining blobs.")
@click.option("--read-only", "mode", flag_value="read-only", help="Refuse pushes for it (default).")
@click.option("--stopped", "mode", flag_value="stopped", help="Stop the registry for it.")
@click.option("--stay-closed", is_flag=True, help="Keep it closed afterwards: you switch it yourself.")
@click.option("--quarantine-bad-entries", "quarantine", is_flag=True, help="Move aside what would stop it.")
@click.option("--retry", is_flag=True, help="Take out the tags of an earlier import that was never used.")
@click.option("--trial", is_flag=True, help="Read all of step one and commit nothing; no lock file changes.")
@click.option("--row-count", is_flag=True, help="Count the rows of the main tables at the end.")
@click.option(
    "--pre-import-skip-recent",
    metavar="DURATION",
    help="Step one passes over repositories it finished within this time: 72h by default, 0 for none.",
)
@click.option(
    "--import-statistics/--no-import-statistics",
    default=True,
    help="Keep a row of statistics in the database (default: yes).",
)
@click.option(
    "--dynamic-media-types/--no-dynamic-media-types",
    default=True,
    help="Record media types that the database does not know (default: yes).",
)
@click.option(
    "--tag-concurrency", type=click.IntRange(1, 5), help="Tags looked up at once; storage gcs only."
)
@click.option("--log-directory", default="", metavar="DIR", help="Keep the complete log there, compressed.")
@click.option("--debug-server", default="", metavar="ADDRESS", help="Profiling server of the program.")
@click.option("--attempts", type=click.IntRange(1, 20), default=3, show_default=True, help="Tries at most.")
@click.option("--skip", multiple=True, metavar="CHECK", help="Pass over a check by its name: sessions.")
@click.option("--skip-reason", default="", metavar="WHY", help="Why a check is passed over; journaled.")
@pass_context
def command(context: Context, registry: str | None, accept_empty: bool, **given: Any) -> None:
    """Import the storage tree of REGISTRY into its database.

    Engine distribution: bring the catalog database up to date. Only what changed since the last import is
    read; a manifest is parsed once in its life. Entries that cannot be taken as they stand are recorded and
    shown, never fatal: exit code 3. Stopped at any point, the same command goes on. With --dry-run the tree
    is compared and nothing is written.

    Engine gitlab: have the registry's own program fill its metadata database, in one step or in three. What
    would stop it is found first; the order is checked against facts. While tags are imported no node takes a
    write, which is proved. Afterwards the registry goes on as before: `regctl enable-db` imports what is new
    and switches in one window. What the program passes over is listed with its reason: exit code 3.
    """
    name = context.registry_name(registry)
    from ctl.engines.metadata import metadata_of

    if metadata_of(context.world.engine(name)) is None:
        _refuse_others(context, name, given)
        _into_catalog(context, name, accept_empty)
    else:
        if accept_empty:
            from ctl.errors import UsageError

            raise UsageError(f"--accept-empty is for a catalog database; {name} imports into its own")
        _into_metadata(context, name, given)


def _refuse_others(context: Context, name: str, given: dict[str, Any]) -> None:
    from ctl.errors import UsageError

    defaults = {"import_statistics": True, "dynamic_media_types": True, "attempts": 3}
    wrong = [key for key, value in given.items() if value not in (None, "", (), False, defaults.get(key))]
    wrong += [key for key in ("import_statistics", "dynamic_media_types") if given[key] is False]
    if wrong:
        option = "--" + wrong[0].replace("_", "-")
        raise UsageError(
            f"{option} is for registries with a metadata database; the engine of {name} has none",
            hint="`regctl registry import` alone brings its catalog database up to date",
        )


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


def _into_metadata(context: Context, name: str, given: dict[str, Any]) -> None:
    from ctl.engines.metadata import ImportStep
    from ctl.recipes.identity import operator
    from ctl.steps.import_recipe import import_recipe
    from ctl.steps.import_report import metadata_import_report

    skip, skip_reason = given.pop("skip"), given.pop("skip_reason")
    recent = given.pop("pre_import_skip_recent")
    word, mode, trial = given.pop("step"), given.pop("mode"), given["trial"]
    step = ImportStep(word or ("one" if trial else "all"))
    recipe = import_recipe(
        context.world,
        name,
        step,
        mode=mode or "read-only",
        by=operator(),
        statistics=given.pop("import_statistics"),
        skip_recent_seconds=skip_recent_seconds(recent),
        **given,
    )
    run = context.run(recipe, skip=skip, skip_reason=skip_reason)
    context.show(metadata_import_report(context.world, name, step, run))
