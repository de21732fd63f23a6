"""What recipes in YAML may name: the registered steps, and the recipes that are written in Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ctl.recipes.model import Recipe, Step

# what a Python recipe is handed if it names it; all its other parameters are arguments of a recipe
HANDED = frozenset({"world", "site_file", "secrets"})
_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "None": (type(None),),
}
REQUIREMENT = "require-engine"  # the step that `requires` becomes


class Vocabulary(Protocol):
    """The names that a recipe may use; made of the installed plugins."""

    def steps(self) -> Sequence[str]:
        """Return the registered steps' names, sorted."""
        ...

    def step(self, name: str) -> type[Step]:
        """Return a step by its name; RegctlError if there is none, or it cannot be loaded."""
        ...

    def recipes(self) -> Sequence[str]:
        """Return the names of the recipes that are written in Python, sorted."""
        ...

    def recipe(self, name: str) -> Callable[..., Recipe]:
        """Return such a recipe by its name; RegctlError if there is none, or it cannot be loaded."""
        ...


@dataclass(frozen=True)
class Argument:
    """An argument of a recipe that is written in Python."""

    name: str
    required: bool
    types: tuple[type, ...]  # () where its annotation is no plain type: anything goes

    def takes(self, value: Any) -> bool:
        """Say whether a value is of its type."""
        if not self.types:
            return True
        return isinstance(value, self.types) and not (isinstance(value, bool) and bool not in self.types)


def arguments_of(function: Callable[..., Recipe]) -> dict[str, Argument]:
    """Return what a Python recipe takes, by name, without what regctl hands it."""
    found = {}
    for name, one in inspect.signature(function).parameters.items():
        if name in HANDED or one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            continue
        found[name] = Argument(name, one.default is one.empty, _types(one.annotation))
    return found


def call(function: Callable[..., Recipe], handed: Mapping[str, Any], arguments: Mapping[str, Any]) -> Recipe:
    """Call a Python recipe with its arguments and what it wants to be handed."""
    named = inspect.signature(function).parameters
    return function(**{name: handed[name] for name in named if name in HANDED}, **arguments)


def _types(annotation: Any) -> tuple[type, ...]:
    """Read an annotation as far as it is made of plain types."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    words = [word.strip() for word in text.split("|")]
    if not all(word in _TYPES for word in words):
        return ()
    return tuple(kind for word in words for kind in _TYPES[word])
