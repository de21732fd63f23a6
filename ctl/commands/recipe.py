"""Show, check and run recipes: ordered steps that operators write in YAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ctl.context import Context
    from ctl.plugins import Plugins
    from ctl.recipes.describe import Found
    from ctl.recipes.load import RecipeFile
    from ctl.recipes.model import Recipe, Step


@click.group("recipe")
def command() -> None:
    """Show, check and run recipes: ordered steps that operators write in YAML.

    A recipe is previewed, confirmed, locked, journaled and resumed as any other change. What ships is listed
    together with your own, which stand in recipes.d beside the site file.
    """


@command.command("list")
@pass_context
def list_(context: Context) -> None:
    """List the recipes there are, with what each needs. Only looks."""
    from ctl.recipes.describe import list_report

    context.show(list_report(_read_all(context, _files(context))))


@command.command("show")
@click.argument("name")
@pass_context
def show(context: Context, name: str) -> None:
    """Show a recipe: what it is for, its parameters, and every step with its reason. Only looks.

    NAME is a recipe's name, or a file to look at.
    """
    from ctl.recipes.describe import show_report
    from ctl.recipes.load import read_file

    context.show(show_report(read_file(_named(context, name), _Vocabulary(context.plugins))))


@command.command("check")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@pass_context
def check(context: Context, names: tuple[str, ...]) -> None:
    """Read recipes and name every mistake with its file and line; all of them unless some are named.

    Exit code 0 if they are right, 10 if not. Only looks: no host, no registry, no database is asked.
    """
    from ctl.recipes.describe import check_report

    files = [_named(context, name) for name in names] if names else _files(context)
    count: dict[str, list[str]] = {}
    for file in files:
        count.setdefault(file.name, []).append(file.path)
    twice = [
        f"{len(paths)} recipes are called {name}: {', '.join(paths)}"
        for name, paths in count.items()
        if len(paths) > 1
    ]
    context.show(check_report(_read_all(context, files), twice))


@command.command("schema")
@pass_context
def schema(context: Context) -> None:
    """Print the JSON Schema of recipes, for editors, with the arguments of every step there is."""
    import json

    from ctl.errors import Outcome
    from ctl.recipes.schema import recipe_schema
    from ctl.report.model import Report, Text

    found = recipe_schema(_Vocabulary(context.plugins))
    context.show(
        Report("recipe-schema", Outcome.OK, {"json_schema": found}, (Text(json.dumps(found, indent=2)),))
    )


@command.command("run")
@click.argument("name")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Give a parameter its value; repeatable."
)
@click.option("--skip", multiple=True, metavar="CHECK", help="Pass over a check by its name.")
@click.option("--skip-reason", default="", metavar="WHY", help="Why a check is passed over; journaled.")
@click.option(
    "--accept-data-loss", is_flag=True, help="Let steps do what cannot be taken back and loses data."
)
@click.option(
    "--remedy", "remedies", multiple=True, metavar="NAME", help="Do this remedy where its check blocks."
)
@click.option("--unfinished", metavar="RUN", help="Only the hosts that did not end well in that run of it.")
@pass_context
def run(
    context: Context,
    name: str,
    settings: tuple[str, ...],
    skip: tuple[str, ...],
    skip_reason: str,
    accept_data_loss: bool,
    remedies: tuple[str, ...],
    unfinished: str | None,
) -> None:
    """Check, preview, confirm and run a recipe; with --dry-run only the first two.

    All checks of all its steps run before its first write.
    """
    from ctl import listing
    from ctl.recipes.describe import run_report
    from ctl.recipes.expand import Surroundings, build
    from ctl.recipes.load import find_recipe, read_file
    from ctl.recipes.unfinished import unfinished as left_of
    from ctl.steps.config_plan import secrets_folder

    given = _given(settings)
    vocabulary = _Vocabulary(context.plugins)
    text = read_file(find_recipe(_files(context), name), vocabulary)
    around = Surroundings(
        context.world,
        context.site_file,
        secrets_folder(context.site_file),
        listing.own_version(),
        accept_data_loss,
        frozenset(remedies),
    )
    built = build(text, vocabulary, around, given)
    recipe = built.recipe
    if unfinished is not None:
        recipe = left_of(recipe, context.world.state_dir, unfinished)
    report = context.run(recipe, skip=skip, skip_reason=skip_reason)
    context.show(run_report(text, built, report))


def _given(settings: Sequence[str]) -> dict[str, str]:
    from ctl.errors import UsageError

    given: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set takes NAME=VALUE, not {setting!r}")
        if name.strip() in given:
            raise UsageError(f"--set {name.strip()} is given twice")
        given[name.strip()] = value
    return given


def _files(context: Context) -> list[RecipeFile]:
    from ctl.recipes.load import own_folder, recipe_files
    from ctl.resources import folders

    return recipe_files(folders("recipes"), context.plugins.folders("recipes"), own_folder(context.site_file))


def _named(context: Context, name: str) -> RecipeFile:
    """Return a recipe by its name, or by its file's path."""
    import os

    from ctl.recipes.load import SUFFIX, RecipeFile, find_recipe

    if os.sep in name or name.endswith(SUFFIX):
        stem = os.path.basename(name).removesuffix(SUFFIX)
        return RecipeFile(stem, os.path.abspath(name), "site")
    return find_recipe(_files(context), name)


def _read_all(context: Context, files: Sequence[RecipeFile]) -> list[Found]:
    from ctl.errors import RegctlError
    from ctl.recipes.load import read_file

    vocabulary = _Vocabulary(context.plugins)
    found: list[Found] = []
    for file in files:
        try:
            found.append((file, read_file(file, vocabulary)))
        except RegctlError as error:
            found.append((file, error))
    return found


@dataclass(frozen=True)
class _Vocabulary:
    """The names that the installed plugins give to steps and recipes."""

    plugins: Plugins

    def steps(self) -> list[str]:
        return self.plugins.names("step")

    def step(self, name: str) -> type[Step]:
        from ctl.errors import RegctlError
        from ctl.recipes.model import Step

        found = self.plugins.find("step", name)
        if not (isinstance(found, type) and issubclass(found, Step)):
            raise RegctlError(f"the step {name!r} is none: it must be a subclass of Step")
        return found

    def recipes(self) -> list[str]:
        return self.plugins.names("recipe")

    def recipe(self, name: str) -> Callable[..., Recipe]:
        found: Callable[..., Recipe] = self.plugins.find("recipe", name)
        return found
