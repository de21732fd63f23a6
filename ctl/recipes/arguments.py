"""Arguments in a recipe, held against the fields of their step or the parameters of their Python recipe.

Without a site: parameters are filled with examples of their types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ctl.config.document import Located, Mistake, Path
from ctl.config.mistakes import did_you_mean, from_pydantic
from ctl.errors import RegctlError
from ctl.recipes.model import Scope, Step
from ctl.recipes.names import Names
from ctl.recipes.parameters import ABSENT, fill, references, whole_reference
from ctl.recipes.text import RecipeItem
from ctl.recipes.vocabulary import arguments_of

_MAY_BE_ABSENT = "must have a value, and this parameter may have none: give it a default"
CONSENT = "accept_data_loss"  # an argument that only the operator's own option may set
# what pydantic says of a value whose type can never fit, whatever the value is
_TYPE_ERRORS = ("_type", "_parsing", "extra_forbidden", "missing")


class ArgumentReader(Names):
    """Finds what is wrong with one item's name and what stands under its `with`."""

    def step(
        self, name: str, arguments: Mapping[str, Any], path: Path, loops: frozenset[str], use: str
    ) -> Iterator[Mistake]:
        """Yield what is wrong with a step; `use` is "step", "check" or "scope"."""
        key = "check" if use == "check" else "step"
        if name not in self.vocabulary.steps():
            what = f"names no step: {name!r}{did_you_mean(name, self.vocabulary.steps())}"
            yield self.at((*path, key), what)
            return
        try:
            kind = self.vocabulary.step(name)
        except RegctlError as error:
            yield self.at((*path, key), "; ".join((error.message, *error.details)))
            return
        if use == "scope" and not issubclass(kind, Scope):
            yield self.at((*path, key), f"is no scope, but an ordinary step: {name} belongs under `do`")
        if use == "step" and issubclass(kind, Scope):
            yield self.at((*path, key), f"is a scope: write {name} under `within`, and what it is for `do`")
        if use == "check" and kind.check is Step.check:
            yield self.at((*path, key), f"has nothing to look at: {name} does, and has no checks of its own")
        yield from self._consent(arguments, path)
        wrong = list(self.wrong_references(arguments, (*path, "with"), loops))
        yield from wrong
        if not wrong and not set(references(arguments)) & self.broken:
            yield from self._fields(kind, arguments, path)

    def _consent(self, arguments: Mapping[str, Any], path: Path) -> Iterator[Mistake]:
        """A text that loses data by itself would do so under --yes."""
        if CONSENT in arguments:
            what = "only `regctl recipe run --accept-data-loss` says so: leave it out"
            yield self.at((*path, "with", CONSENT), what, key=True)

    def _fields(self, kind: type[Step], arguments: Mapping[str, Any], path: Path) -> Iterator[Mistake]:
        """Hold the arguments against the step's own fields, with each set of examples."""
        from pydantic import ValidationError

        place = _below(self.root, (*path, "with")) or _below(self.root, path)
        assert place is not None  # noqa: S101 - the item stands there
        told: dict[Mistake, None] = {}
        for values in self.tried():
            try:
                kind.model_validate(fill(dict(arguments), values))
            except ValidationError as error:
                wanted = [one for one in error.errors(include_url=False) if self._decided(one, arguments)]
                schema = kind.model_json_schema()
                for found in from_pydantic(wanted, place, schema):
                    what = self._in_words(_inside(arguments, found.path), found.what)
                    told[Mistake(found.origin, (*path, "with", *found.path), what)] = None
        yield from told

    def _in_words(self, value: Any, what: str) -> str:
        """Say how a parameter is written, and of which type one is that does not fit."""
        if isinstance(value, Mapping) and len(value) == 1:
            name, inner = next(iter(value.items()))
            if inner is None and name in self.model.parameters:
                return f"is read as a mapping: a parameter is written ${name}"
        parameter = self.model.parameters.get(whole_reference(value) or "")
        if parameter is None:
            return what
        if what == "is missing":
            return _MAY_BE_ABSENT
        if parameter.type == "choice":
            return f"{what} (a choice of {value})"
        return f"takes no {parameter.type}, as {value} is one"

    def _decided(self, error: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
        """Say whether an error holds for every value: an example of free text may simply be a bad one."""
        named = references(_inside(arguments, error["loc"]))
        free = [
            name
            for name in named
            if name not in self.model.parameters or self.model.parameters[name].type == "string"
        ]
        return not free or str(error["type"]).endswith(_TYPE_ERRORS)

    def python_recipe(self, item: RecipeItem, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        """Yield what is wrong with a recipe that is taken in whole."""
        names = self.vocabulary.recipes()
        if item.recipe not in names:
            what = f"names no recipe that is written in Python: {item.recipe!r}"
            yield self.at((*path, "recipe"), what + did_you_mean(item.recipe, names))
            return
        try:
            takes = arguments_of(self.vocabulary.recipe(item.recipe))
        except RegctlError as error:
            yield self.at((*path, "recipe"), "; ".join((error.message, *error.details)))
            return
        yield from self._consent(item.arguments, path)
        yield from self.wrong_references(item.arguments, (*path, "with"), loops)
        for name, value in item.arguments.items():
            where = (*path, "with", name)
            if name not in takes:
                left = sorted(set(takes) - set(item.arguments) - {CONSENT})
                yield self.at(where, f"is not a known key{did_you_mean(name, left)}", key=True)
                continue
            filled = [fill(value, one) for one in self.tried() if not self._unknowns(value, loops)]
            if any(one is not ABSENT and not takes[name].takes(one) for one in filled):
                kinds = " or ".join(kind.__name__ for kind in takes[name].types)
                yield self.at(where, f"is not of the type that {item.recipe} takes ({kinds})")
            if takes[name].required and ABSENT in filled:
                yield self.at(where, f"may have no value, and {item.recipe} needs one")
        for name in sorted(name for name, one in takes.items() if one.required):
            if name not in item.arguments:
                yield self.at((*path, "with", name), "is missing")

    def _unknowns(self, value: Any, loops: frozenset[str]) -> bool:
        return any(self.unknown(name, loops) for name in references(value))


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
