"""What a well-formed recipe may still get wrong: names that do not exist, arguments that do not fit.

All of it is found without a site: parameters are filled with examples of their types.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ctl.config.document import Located, Mistake, Path
from ctl.config.mistakes import did_you_mean, locate
from ctl.recipes.across import ROWS, AcrossReader
from ctl.recipes.arguments import ArgumentReader
from ctl.recipes.parameters import references, whole_reference
from ctl.recipes.text import (
    AcrossItem,
    AnyItem,
    CheckItem,
    ForEachItem,
    ForEachScopes,
    RecipeItem,
    RecipeModel,
    Remedy,
    StepItem,
    WithinItem,
    parameter_name_mistake,
)
from ctl.recipes.values import settle
from ctl.recipes.vocabulary import Vocabulary


def meaning(model: RecipeModel, root: Located, name: str, vocabulary: Vocabulary) -> list[Mistake]:
    """Return everything that is wrong with a recipe whose form is right; `name` is its file's."""
    found = list(_Reader(model, root, vocabulary).mistakes())
    if name != model.name:
        place = locate(root, ("name",))
        found.append(Mistake(place, ("name",), f"must be the file's name, {name!r}, not {model.name!r}"))
    return found


class _Reader(ArgumentReader):
    def mistakes(self) -> Iterator[Mistake]:
        for name, parameter in self.model.parameters.items():
            if what := parameter_name_mistake(name):
                yield self.at(("parameters", name), what, key=True)
            for key, what in settle(self.model, name, parameter):
                self.broken.add(name)
                yield self.at(("parameters", name, *key), what)
        yield from self._requires()
        yield from self._items(self.model.items, ("items",), frozenset())
        if self.model.question is not None:
            yield from self.wrong_references(self.model.question, ("question",), frozenset())

    def _requires(self) -> Iterator[Mistake]:
        for number, one in enumerate(self.model.requires):
            path: Path = ("requires", number)
            if one.regctl is None and one.registry is None and one.role is None:
                what = 'needs `registry` (as in "$registry"), `role`, or `regctl` and its version'
                yield self.at(path, what)
            of_registry = ("registry", "engine", "version", "feature")
            for alone, rest in (("regctl", ("role", *of_registry)), ("role", of_registry)):
                others = [key for key in rest if getattr(one, alone) and getattr(one, key)]
                for key in others:
                    yield self.at((*path, key), f"belongs to another entry: {alone} stands alone", key=True)
            if one.regctl is not None:
                yield from self._specifier(one.regctl, (*path, "regctl"))
            if one.version is not None:
                yield from self._specifier(one.version, (*path, "version"))
            if one.registry is not None:
                named = whole_reference(one.registry)
                registries = self.model.registries()
                if named not in registries:
                    what = f"must be a parameter of the type registry{did_you_mean(named or '', registries)}"
                    yield self.at((*path, "registry"), what)

    def _specifier(self, text: str, path: Path) -> Iterator[Mistake]:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            SpecifierSet(text)
        except InvalidSpecifier:
            yield self.at(path, f'must be versions as in ">=4.30" or ">=4.30,<5", not {text!r}')

    # -- items ------------------------------------------------------------------------------------

    def _items(self, items: tuple[AnyItem, ...], path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        for number, item in enumerate(items):
            yield from self._item(item, (*path, number), loops)

    def _item(self, item: AnyItem, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        for key in ("when", "unless"):
            yield from self.wrong_references(getattr(item, key), (*path, key), loops)
        with self._under(item):
            yield from self._content(item, path, loops)

    @contextmanager
    def _under(self, item: AnyItem | ForEachScopes) -> Iterator[None]:
        """Look at an item with the values alone that it would be there with."""
        before = list(self.conditions)
        for condition, wanted in ((item.when, True), (item.unless, False)):
            if condition is not None:
                self.conditions.append((whole_reference(condition) or "", wanted))
        yield
        self.conditions = before

    def _content(self, item: AnyItem, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        if isinstance(item, StepItem):
            yield from self.step(item.step, item.arguments, path, loops, "step")
        elif isinstance(item, CheckItem):
            yield from self.step(item.check, item.arguments, path, loops, "check")
            yield from self._remedy(item, path, loops)
        elif isinstance(item, RecipeItem):
            yield from self.python_recipe(item, path, loops)
        elif isinstance(item, WithinItem):
            for number, scope in enumerate(item.within):
                yield from self._scope(scope, (*path, "within", number), loops)
            yield from self._items(item.do, (*path, "do"), loops)
        elif isinstance(item, AcrossItem):
            yield from AcrossReader(self.model, self.root, self.vocabulary).across(item, path, loops)
            inner = {"host", "node"} if item.across.nodes is not None else {"host"}
            yield from self._items(item.do, (*path, "do"), loops | inner | {ROWS})
        else:
            yield from self._loop(item, path, loops)
            yield from self._items(item.do, (*path, "do"), loops | {item.for_each})

    def _remedy(self, item: CheckItem, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        if isinstance(item.remedy, Remedy):
            place = (*path, "remedy")
            yield from self.step(item.remedy.step, item.remedy.arguments, place, loops, "step")
            earlier = self.remedies.setdefault(item.remedy.name, place)
            if earlier != place:
                yield self.at((*place, "name"), f"names a remedy that there is already: {item.remedy.name}")
        elif item.remedy is not None:
            yield from self.wrong_references(item.remedy, (*path, "remedy"), loops)

    def _scope(self, scope: StepItem | ForEachScopes, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        for key in ("when", "unless"):
            yield from self.wrong_references(getattr(scope, key), (*path, key), loops)
        with self._under(scope):
            if isinstance(scope, StepItem):
                yield from self.step(scope.step, scope.arguments, path, loops, "scope")
                return
            yield from self._loop(scope, path, loops)
            for number, one in enumerate(scope.do):
                yield from self._scope_of_each(one, (*path, "do", number), loops | {scope.for_each})

    def _scope_of_each(self, one: StepItem, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        for key in ("when", "unless"):
            yield from self.wrong_references(getattr(one, key), (*path, key), loops)
        with self._under(one):
            yield from self.step(one.step, one.arguments, path, loops, "scope")

    def _loop(
        self, item: ForEachItem | ForEachScopes, path: Path, loops: frozenset[str]
    ) -> Iterator[Mistake]:
        registries = self.model.with_nodes()
        if item.for_each in loops:
            yield self.at((*path, "for_each"), f"stands within another for_each: {item.for_each}")
        if item.for_each == "host":
            if item.of is not None:
                yield self.at((*path, "of"), "is only for nodes: the hosts are the site's", key=True)
        elif item.of is None and len(registries) != 1:
            yield self.at(path, "needs `of`, the parameter of the registry whose nodes are meant")
        elif item.of is not None:
            named = references(item.of)[0]
            if named not in registries:
                what = f"must be a parameter of the type registry or pulp{did_you_mean(named, registries)}"
                yield self.at((*path, "of"), what)
