"""A checked recipe text, the site and the operator's values -> the Recipe that the runner runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ctl.config.document import Located, show_path
from ctl.errors import ConfigError
from ctl.recipes.across import LIMITS, targets_of
from ctl.recipes.arguments import CONSENT
from ctl.recipes.codec import acrosses, class_path, places
from ctl.recipes.load import RecipeText, recipe_error
from ctl.recipes.model import Across, Do, Item, Look, Recipe, Row, Scope, Step, Within
from ctl.recipes.needs import demand_own_version, demand_remedies, demand_roles, locked, required
from ctl.recipes.only_check import OnlyCheck
from ctl.recipes.parameters import Value, fill, whole_reference
from ctl.recipes.remedied import Remedied
from ctl.recipes.text import (
    AcrossItem,
    AnyItem,
    CheckItem,
    ForEachItem,
    ForEachScopes,
    RecipeItem,
    Remedy,
    StepItem,
    WithinItem,
)
from ctl.recipes.values import given_values, hosts_of
from ctl.recipes.vocabulary import REQUIREMENT, Vocabulary, arguments_of, call

if TYPE_CHECKING:
    from ctl.world import World

Values = Mapping[str, Value | None]


@dataclass(frozen=True)
class Surroundings:
    """What a recipe is built in: the site, and what was said on the command line beside `--set`."""

    world: World
    site_file: str
    secrets: str  # the folder where regctl keeps the site's secrets
    version: str = ""  # regctl's own
    accept_data_loss: bool = False
    remedies: frozenset[str] = frozenset()  # that were asked for by name


@dataclass(frozen=True)
class Built:
    """A recipe, and the values that its parameters had."""

    recipe: Recipe
    values: Values
    looks_only: bool = False  # whether nothing in it changes anything


def build(text: RecipeText, vocabulary: Vocabulary, around: Surroundings, given: Mapping[str, str]) -> Built:
    """Make the Recipe: parameters filled in, loops unrolled, names turned into steps. Reads the site only.

    UsageError for a value that is missing or wrong, RefusedError where regctl is of another version than the
    recipe needs, ConfigError where a value makes an argument that its step does not take.
    """
    values = given_values(text.model, given, around.world.site)
    demand_roles(text.model, around.world.site)
    demand_own_version(text.model, around.version)
    maker = _Maker(text, vocabulary, around)
    filled = {**values, "site_file": around.site_file, "secrets": around.secrets}
    items = (*maker.requirements(filled), *maker.items(text.model.items, filled, ("items",)))
    demand_remedies(text.name, around.remedies, maker.remedies)
    if not items:
        raise ConfigError(f"{text.name} has nothing to do with these values: every item is left out")
    steps = [place.step for place in places(items)]
    looks = all(isinstance(step, OnlyCheck) or class_path(step) in maker.looking for step in steps)
    recipe = _recipe(text, maker, items, filled)
    return Built(replace(recipe, question="") if looks else recipe, values, looks)


def _recipe(text: RecipeText, maker: _Maker, items: tuple[Item, ...], values: Values) -> Recipe:
    steps = [place.step for place in places(items)]
    hosts = [f"host/{row.host}" for _, across in acrosses(items) for row in across.rows]
    named = dict.fromkeys([*locked(steps, maker.around.world), *maker.resources, *hosts])
    resources = tuple(named) or (f"recipe/{text.name}",)
    registries = [str(values[name]) for name in text.model.with_nodes() if values[name]]
    title = text.model.summary + (f" ({', '.join(registries)})" if registries else "")
    return Recipe(
        text.name,
        items,
        resources=resources,
        title=title,
        question=str(fill(text.model.question or f"Run the recipe {text.name}?", values)),
        decided_by=maker.decided_by if maker.decides(items) else "",
        undo_on_failure=text.model.undo_on_failure or maker.undo_on_failure,
    )


class _Maker:
    """Turns items into steps; collects what the Python recipes among them ask of the whole."""

    def __init__(self, text: RecipeText, vocabulary: Vocabulary, around: Surroundings) -> None:
        self.text, self.vocabulary, self.around = text, vocabulary, around
        self.resources: list[str] = []
        self.decided_by = ""
        self.included: list[int] = []  # of each Python recipe, how many of its steps may change something
        self.undo_on_failure = False
        self.remedies: list[str] = []  # that could be asked for
        self.looking: set[str] = set()  # classes of steps that change nothing: the requirements' own

    def decides(self, items: Sequence[Item]) -> bool:
        """Say whether one Python recipe does all that is done: then it says whether there is anything."""
        return len(self.included) == 1 and self.included[0] == _writers(items)

    def requirements(self, values: Values) -> Iterator[Do]:
        for number, one in enumerate(self.text.model.requires):
            if one.registry is None:
                continue
            step = self._step(REQUIREMENT, required(one), values, ("requires", number), Step)
            self.looking.add(class_path(step))
            yield Do(step)

    def items(
        self, items: tuple[AnyItem, ...], values: Values, path: tuple[str | int, ...]
    ) -> Iterator[Item]:
        for number, item in enumerate(items):
            if self._wanted(item, values):
                yield from self._item(item, values, (*path, number))

    def _wanted(self, item: AnyItem | ForEachScopes, values: Values) -> bool:
        def has(condition: str) -> bool:
            value = values[whole_reference(condition) or ""]
            return value is not None and value is not False

        if item.when is not None and not has(item.when):
            return False
        return item.unless is None or not has(item.unless)

    def _item(self, item: AnyItem, values: Values, path: tuple[str | int, ...]) -> Iterator[Item]:
        reason = str(fill(getattr(item, "because", None) or "", values))
        if isinstance(item, StepItem):
            yield Do(self._step(item.step, item.arguments, values, path, Step), reason)
        elif isinstance(item, CheckItem):
            inner = self._step(item.check, item.arguments, values, path, Step)
            yield Do(self._checked(inner, item.remedy, values, path), reason)
        elif isinstance(item, RecipeItem):
            yield from self._included(item, values, path, reason)
        elif isinstance(item, WithinItem):
            scopes = tuple(self._scopes(item, values, path))
            body = tuple(self.items(item.do, values, (*path, "do")))
            if scopes and body:
                yield Within(scopes, body, reason)
            else:
                yield from body  # nothing to close, or nothing to do within
        elif isinstance(item, AcrossItem):
            yield from self._across(item, values, path, reason)
        else:
            for inner_values in self._turns(item, values):
                yield from self.items(item.do, inner_values, (*path, "do"))

    def _checked(
        self, inner: Step, remedy: Remedy | str | None, values: Values, path: tuple[str | int, ...]
    ) -> Step:
        if not isinstance(remedy, Remedy):
            return OnlyCheck.of(inner, str(fill(remedy or "", values)))
        self.remedies.append(remedy.name)
        step = self._step(remedy.step, remedy.arguments, values, (*path, "remedy"), Step)
        if remedy.name in self.around.remedies:
            return Remedied.of(remedy.name, inner, step)
        return OnlyCheck.of(inner, f"--remedy {remedy.name} would do this about it: {step.title()}")

    def _across(
        self, item: AcrossItem, values: Values, path: tuple[str | int, ...], reason: str
    ) -> Iterator[Across]:
        rows = []
        for host in targets_of(item.across, self.around.world.site, values):
            inner = {**values, "host": host, **({"node": host} if item.across.nodes is not None else {})}
            body = tuple(self.items(item.do, inner, (*path, "do")))
            if body:
                rows.append((host, body))
        limits = {key: int(str(fill(getattr(item, key), values))) for key in LIMITS}
        try:
            found = tuple(Row(host, body) for host, body in rows)  # type: ignore[arg-type]
            if found:
                yield Across(found, **limits, because=reason)
        except ValueError as error:
            raise ConfigError(f"{self.text.name}: {show_path(path)}: {error}") from None

    def _scopes(self, item: WithinItem, values: Values, path: tuple[str | int, ...]) -> Iterator[Scope]:
        for number, scope in enumerate(item.within):
            place = (*path, "within", number)
            if not self._wanted(scope, values):
                continue
            if isinstance(scope, StepItem):
                yield self._step(scope.step, scope.arguments, values, place, Scope)
                continue
            for inner in self._turns(scope, values):
                for index, one in enumerate(scope.do):
                    if self._wanted(one, inner):
                        yield self._step(one.step, one.arguments, inner, (*place, "do", index), Scope)

    def _turns(self, item: ForEachItem | ForEachScopes, values: Values) -> Iterator[Values]:
        """Yield the values of each turn of a loop, in the order of the site."""
        site = self.around.world.site
        names = list(site.hosts)
        if item.for_each == "node":
            parameter = whole_reference(item.of or "") or self.text.model.with_nodes()[0]
            names = hosts_of(site, str(values[parameter]))
        for name in names:
            labels = site.hosts[name].labels
            if all(labels.get(label) == value for label, value in item.where.items()):
                yield {**values, item.for_each: name}

    def _included(
        self, item: RecipeItem, values: Values, path: tuple[str | int, ...], reason: str
    ) -> Iterator[Item]:
        function = self.vocabulary.recipe(item.recipe)
        arguments = fill(dict(item.arguments), values)
        if CONSENT in arguments_of(function):
            arguments[CONSENT] = self.around.accept_data_loss
        handed = {
            "world": self.around.world,
            "site_file": self.around.site_file,
            "secrets": self.around.secrets,
        }
        found = call(function, handed, arguments)
        self.resources += found.resources
        self.decided_by = found.decided_by
        self.included.append(_writers(found.items))
        self.undo_on_failure = self.undo_on_failure or found.undo_on_failure
        for number, one in enumerate(found.items):
            yield type(one)(**{**vars(one), "because": reason}) if reason and number == 0 else one

    def _step(
        self,
        name: str,
        arguments: Mapping[str, Any],
        values: Values,
        path: tuple[str | int, ...],
        kind: type[Any],
    ) -> Any:
        from pydantic import ValidationError

        found = self.vocabulary.step(name)
        filled = fill(dict(arguments), values)
        if CONSENT in found.model_fields:
            filled[CONSENT] = self.around.accept_data_loss
        try:
            step = found.model_validate(filled)
        except ValidationError as error:
            raise self._bad_arguments(error, filled, (*path, "with")) from None
        if not isinstance(step, kind):
            raise ConfigError(f"{name} is no scope")
        return step

    def _bad_arguments(
        self, error: Any, filled: Mapping[str, Any], path: tuple[str | int, ...]
    ) -> ConfigError:
        """Say at which line a value makes an argument that the step does not take."""
        from ctl.config.document import Mistake
        from ctl.config.mistakes import from_pydantic, locate

        plain = _as_located(filled, locate(self.text.root, path))
        mistakes = [
            Mistake(locate(self.text.root, (*path, *one.path)), (*path, *one.path), one.what)
            for one in from_pydantic(error.errors(include_url=False), plain, {})
        ]
        found = recipe_error(self.text.file.path, mistakes)
        return ConfigError(
            f"{self.text.name} cannot be built with these values ({show_path(path)})",
            details=found.details,
            hint="give other values with --set, or correct the recipe",
        )


def _writers(items: Sequence[Item]) -> int:
    return sum(not isinstance(place.step, Look) for place in places(items))


def _as_located(value: Any, origin: Any) -> Located:
    if isinstance(value, Mapping):
        return Located({key: _as_located(one, origin) for key, one in value.items()}, origin)
    if isinstance(value, list):
        return Located([_as_located(one, origin) for one in value], origin)
    return Located(value, origin)
