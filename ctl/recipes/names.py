"""What a `$name` may mean in a recipe, and where it has no meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ctl.config.document import Located, Mistake, Path
from ctl.config.mistakes import did_you_mean, locate
from ctl.recipes.parameters import LOOPS, VARIABLES, references, whole_reference
from ctl.recipes.text import RecipeModel
from ctl.recipes.values import Filled, examples
from ctl.recipes.vocabulary import Vocabulary


class Names:
    """The names of one recipe, and a way to say what is wrong at a place of its text."""

    def __init__(self, model: RecipeModel, root: Located, vocabulary: Vocabulary) -> None:
        self.model, self.root, self.vocabulary = model, root, vocabulary
        self.examples = list(examples(model))
        self.remedies: dict[str, Path] = {}  # where each is named
        self.broken: set[str] = set()  # parameters whose own mistakes are told
        self.conditions: list[tuple[str, bool]] = []  # that the item and those around it stand under

    def tried(self) -> list[Filled]:
        """Return the examples under which the item that is looked at would be there at all."""
        return [
            values
            for values in self.examples
            if all((values.get(name) not in (None, False)) is wanted for name, wanted in self.conditions)
        ]

    def at(self, path: Path, what: str, *, key: bool = False) -> Mistake:
        """Make a mistake at a path, or at its nearest parent that is there."""
        return Mistake(locate(self.root, path, key=key), path, what)

    def wrong_references(self, value: Any, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        """Find every `$name` that has no meaning where it stands."""
        if isinstance(value, Mapping):
            for key, one in value.items():
                yield from self.wrong_references(one, (*path, key), loops)
            return
        if isinstance(value, list):
            for number, one in enumerate(value):
                yield from self.wrong_references(one, (*path, number), loops)
            return
        for name in references(value):
            what = self.unknown(name, loops)
            if what:
                yield self.at(path, what)
            elif whole_reference(value) is None and self._optional(name):
                what = f"holds ${name} within other words, and it may have no value: give it a default"
                yield self.at(path, what)

    def unknown(self, name: str, loops: frozenset[str]) -> str:
        """Say why a name has no meaning within these loops, "" if it has one."""
        if not name:
            return 'holds a "$" that names nothing: write "$$" for the sign itself'
        if name in LOOPS and name not in loops:
            what = "`across`" if name == "host" else "`across` with `nodes`"
            return f"uses ${name}, which has a value only within `for_each: {name}` or {what}"
        known = [*self.model.parameters, *(set(VARIABLES) - LOOPS), *loops]
        return "" if name in known else f"uses ${name}, which is no parameter{did_you_mean(name, known)}"

    def _optional(self, name: str) -> bool:
        return any(name in values and values[name] is None for values in self.tried())
