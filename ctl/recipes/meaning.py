"""What a well-formed recipe may still get wrong: names that do not exist, arguments that do not fit.

All of it is found without a site: parameters are filled with examples of their types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ctl.config.document import Located, Mistake, Path
from ctl.config.mistakes import did_you_mean, from_pydantic, locate
from ctl.errors import RegctlError
from ctl.recipes.model import Scope, Step
from ctl.recipes.parameters import ABSENT, LOOPS, VARIABLES, fill, references, whole_reference
from ctl.recipes.text import (
    AnyItem,
    CheckItem,
    ForEachItem,
    ForEachScopes,
    RecipeItem,
    RecipeModel,
    StepItem,
    WithinItem,
    parameter_name_mistake,
)
from ctl.recipes.values import examples, settle
from ctl.recipes.vocabulary import Vocabulary, arguments_of

CONSENT = "accept_data_loss"  # an argument that only the operator's own option may set
# what pydantic says of a value whose type can never fit, whatever the value is
_TYPE_ERRORS = ("_type", "_parsing", "extra_forbidden", "missing")


def meaning(model: RecipeModel, root: Located, name: str, vocabulary: Vocabulary) -> list[Mistake]:
    """Return everything that is wrong with a recipe whose form is right; `name` is its file's."""
    found = list(_Reader(model, root, vocabulary).mistakes())
    if name != model.name:
        place = locate(root, ("name",))
        found.append(Mistake(place, ("name",), f"must be the file's name, {name!r}, not {model.name!r}"))
    return found


class _Reader:
    def __init__(self, model: RecipeModel, root: Located, vocabulary: Vocabulary) -> None:
        self.model, self.root, self.vocabulary = model, root, vocabulary
        self._examples = list(examples(model))
        self._broken: set[str] = set()  # parameters whose own mistakes are told

    def mistakes(self) -> Iterator[Mistake]:
        for name, parameter in self.model.parameters.items():
            if what := parameter_name_mistake(name):
                yield self._at(("parameters", name), what, key=True)
            for key, what in settle(self.model, name, parameter):
                self._broken.add(name)
                yield self._at(("parameters", name, *key), what)
        yield from self._requires()
        yield from self._items(self.model.items, ("items",), frozenset())
        if self.model.question is not None:
            yield from self._references(self.model.question, ("question",), frozenset())

    def _at(self, path: Path, what: str, *, key: bool = False) -> Mistake:
        return Mistake(locate(self.root, path, key=key), path, what)

    def _requires(self) -> Iterator[Mistake]:
        for number, one in enumerate(self.model.requires):
            path: Path = ("requires", number)
            if one.regctl is None and one.registry is None:
                yield self._at(path, 'needs `registry` (as in "$registry"), or `regctl` and its version')
            if one.regctl is not None:
                yield from self._specifier(one.regctl, (*path, "regctl"))
                rest = [key for key in ("registry", "engine", "version", "feature") if getattr(one, key)]
                for key in rest:
                    yield self._at((*path, key), "belongs to another entry: regctl stands alone", key=True)
            if one.version is not None:
                yield from self._specifier(one.version, (*path, "version"))
            if one.registry is not None:
                named = whole_reference(one.registry)
                registries = self.model.registries()
                if named not in registries:
                    what = f"must be a parameter of the type registry{did_you_mean(named or '', registries)}"
                    yield self._at((*path, "registry"), what)

    def _specifier(self, text: str, path: Path) -> Iterator[Mistake]:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            SpecifierSet(text)
        except InvalidSpecifier:
            yield self._at(path, f'must be versions as in ">=4.30" or ">=4.30,<5", not {text!r}')

    # -- references -------------------------------------------------------------------------------

    def _references(self, value: Any, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        """Find every `$name` that has no meaning where it stands."""
        if isinstance(value, Mapping):
            for key, one in value.items():
                yield from self._references(one, (*path, key), loops)
            return
        if isinstance(value, list):
            for number, one in enumerate(value):
                yield from self._references(one, (*path, number), loops)
            return
        for name in references(value):
            what = self._unknown(name, loops)
            if what:
                yield self._at(path, what)
            elif value.strip("${}") != name and self._optional(name):
                yield self._at(path, f"holds ${name} within other words, which may have no value: a default")

    def _unknown(self, name: str, loops: frozenset[str]) -> str:
        if not name:
            return 'holds a "$" that names nothing: write "$$" for the sign itself'
        if name in LOOPS and name not in loops:
            return f"uses ${name}, which has a value only within `for_each: {name}`"
        known = [*self.model.parameters, *(set(VARIABLES) - LOOPS), *loops]
        return "" if name in known else f"uses ${name}, which is no parameter{did_you_mean(name, known)}"

    def _optional(self, name: str) -> bool:
        parameter = self.model.parameters.get(name)
        return parameter is not None and parameter.may_be_absent

    # -- items ------------------------------------------------------------------------------------

    def _items(self, items: tuple[AnyItem, ...], path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        for number, item in enumerate(items):
            yield from self._item(item, (*path, number), loops)

    def _item(self, item: AnyItem, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        for key in ("when", "unless"):
            yield from self._references(getattr(item, key), (*path, key), loops)
        if isinstance(item, StepItem):
            yield from self._step(item.step, item.arguments, path, loops, "step")
        elif isinstance(item, CheckItem):
            yield from self._step(item.check, item.arguments, path, loops, "check")
        elif isinstance(item, RecipeItem):
            yield from self._recipe(item, path, loops)
        elif isinstance(item, WithinItem):
            for number, scope in enumerate(item.within):
                yield from self._scope(scope, (*path, "within", number), loops)
            yield from self._items(item.do, (*path, "do"), loops)
        else:
            yield from self._loop(item, path, loops)
            yield from self._items(item.do, (*path, "do"), loops | {item.for_each})

    def _scope(self, scope: StepItem | ForEachScopes, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        if isinstance(scope, StepItem):
            yield from self._step(scope.step, scope.arguments, path, loops, "scope")
            return
        yield from self._loop(scope, path, loops)
        for number, one in enumerate(scope.do):
            inner = loops | {scope.for_each}
            yield from self._step(one.step, one.arguments, (*path, "do", number), inner, "scope")

    def _loop(
        self, item: ForEachItem | ForEachScopes, path: Path, loops: frozenset[str]
    ) -> Iterator[Mistake]:
        registries = self.model.registries()
        if item.for_each in loops:
            yield self._at((*path, "for_each"), f"stands within another for_each: {item.for_each}")
        if item.for_each == "host":
            if item.of is not None:
                yield self._at((*path, "of"), "is only for nodes: the hosts are the site's", key=True)
        elif item.of is None and len(registries) != 1:
            yield self._at(path, "needs `of`, the parameter of the registry whose nodes are meant")
        elif item.of is not None:
            named = references(item.of)[0]
            if named not in registries:
                what = f"must be a parameter of the type registry{did_you_mean(named, registries)}"
                yield self._at((*path, "of"), what)

    # -- steps ------------------------------------------------------------------------------------

    def _step(
        self, name: str, arguments: Mapping[str, Any], path: Path, loops: frozenset[str], use: str
    ) -> Iterator[Mistake]:
        key = "check" if use == "check" else "step"
        if name not in self.vocabulary.steps():
            what = f"names no step: {name!r}{did_you_mean(name, self.vocabulary.steps())}"
            yield self._at((*path, key), what)
            return
        try:
            kind = self.vocabulary.step(name)
        except RegctlError as error:
            yield self._at((*path, key), "; ".join((error.message, *error.details)))
            return
        if use == "scope" and not issubclass(kind, Scope):
            yield self._at((*path, key), f"is no scope, but an ordinary step: {name} belongs under `do`")
        if use == "step" and issubclass(kind, Scope):
            yield self._at((*path, key), f"is a scope: write {name} under `within`, and what it is for `do`")
        if use == "check" and kind.check is Step.check:
            yield self._at((*path, key), f"has nothing to look at: {name} does, and has no checks of its own")
        if CONSENT in arguments:
            what = f"only `regctl recipe run --{CONSENT.replace('_', '-')}` says so: leave it out"
            yield self._at((*path, "with", CONSENT), what, key=True)
        wrong = list(self._references(arguments, (*path, "with"), loops))
        yield from wrong
        if not wrong and not set(references(arguments)) & self._broken:
            yield from self._fields(kind, arguments, path)

    def _fields(self, kind: type[Step], arguments: Mapping[str, Any], path: Path) -> Iterator[Mistake]:
        """Hold the arguments against the step's own fields, with each set of examples."""
        from pydantic import ValidationError

        place = _below(self.root, (*path, "with")) or _below(self.root, path)
        assert place is not None  # noqa: S101 - the item stands there
        told: dict[Mistake, None] = {}
        for values in self._examples:
            try:
                kind.model_validate(fill(dict(arguments), values))
            except ValidationError as error:
                wanted = [one for one in error.errors(include_url=False) if self._decided(one, arguments)]
                schema = kind.model_json_schema()
                for found in from_pydantic(wanted, place, schema):
                    told[Mistake(found.origin, (*path, "with", *found.path), found.what)] = None
        yield from told

    def _decided(self, error: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
        """Say whether an error holds for every value: an example of free text may simply be a bad one."""
        named = references(_inside(arguments, error["loc"]))
        free = [
            name
            for name in named
            if name not in self.model.parameters or self.model.parameters[name].type == "string"
        ]
        return not free or str(error["type"]).endswith(_TYPE_ERRORS)

    # -- recipes in Python ------------------------------------------------------------------------

    def _recipe(self, item: RecipeItem, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        names = self.vocabulary.recipes()
        if item.recipe not in names:
            what = f"names no recipe that is written in Python: {item.recipe!r}"
            yield self._at((*path, "recipe"), what + did_you_mean(item.recipe, names))
            return
        try:
            takes = arguments_of(self.vocabulary.recipe(item.recipe))
        except RegctlError as error:
            yield self._at((*path, "recipe"), "; ".join((error.message, *error.details)))
            return
        yield from self._references(item.arguments, (*path, "with"), loops)
        for name, value in item.arguments.items():
            where = (*path, "with", name)
            if name not in takes:
                left = sorted(set(takes) - set(item.arguments))
                yield self._at(where, f"is not a known key{did_you_mean(name, left)}", key=True)
                continue
            filled = [fill(value, one) for one in self._examples if not self._unknowns(value, loops)]
            if any(one is not ABSENT and not takes[name].takes(one) for one in filled):
                kinds = " or ".join(kind.__name__ for kind in takes[name].types)
                yield self._at(where, f"is not of the type that {item.recipe} takes ({kinds})")
            if takes[name].required and ABSENT in filled:
                yield self._at(where, f"may have no value, and {item.recipe} needs one")
        for name in sorted(name for name, one in takes.items() if one.required):
            if name not in item.arguments:
                yield self._at((*path, "with", name), "is missing")

    def _unknowns(self, value: Any, loops: frozenset[str]) -> bool:
        return any(self._unknown(name, loops) for name in references(value))


def _below(root: Located, path: Path) -> Located | None:
    found: Located | None = root
    for part in path:
        value = found.value if found is not None else None
        if isinstance(value, dict) and isinstance(part, str):
            found = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            found = value[part]
        else:
            return None
    return found


def _inside(value: Any, loc: tuple[str | int, ...]) -> Any:
    """Return what an error is about, as far down as it goes."""
    for part in loc:
        below: Callable[[Any], Any] | None = getattr(value, "__getitem__", None)
        try:
            value = below(part) if below is not None and not isinstance(value, str) else value
        except (KeyError, IndexError, TypeError):
            return value
    return value
