"""The words of recipes under test: a few toy steps, and a recipe that is written in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from ctl.errors import ConfigError
from ctl.recipes.model import Do, Problem, Recipe, Scope, Step, Target
from ctl.steps.require_engine import RequireEngine
from tests.unit.recipes.toys import Burn, Put, Switch


class Roll(Step):
    """Restart something somewhere, with arguments of every kind."""

    registry: str
    node: str
    seconds: float | None = None
    how: Literal["gently", "hard"] = "gently"
    accept_data_loss: bool = False

    def check(self, here: Target) -> Iterator[Problem]:
        yield Problem(f"{self.node} is not well", "look at its log", name="well")


class Shut(Scope):
    """Close a node of a registry."""

    registry: str
    node: str


def both(world: Any, registry: str, count: int = 1, *, accept_data_loss: bool = False) -> Recipe:
    """Return a recipe of two steps that locks more than its steps say."""
    names = [f"{registry}-{number}" for number in range(count + accept_data_loss)]
    items = tuple(Do(Put(name=name)) for name in names)
    return Recipe("both", items, resources=("database/other",), decided_by="Put", undo_on_failure=True)


@dataclass
class Words:
    """A vocabulary of toys."""

    known: dict[str, type[Step]] = field(
        default_factory=lambda: {
            "burn": Burn,
            "put": Put,
            "require-engine": RequireEngine,
            "roll": Roll,
            "shut": Shut,
            "switch": Switch,
        }
    )
    python: dict[str, Callable[..., Recipe]] = field(default_factory=lambda: {"both": both})

    def steps(self) -> list[str]:
        return sorted([*self.known, "crumbling"])

    def step(self, name: str) -> type[Step]:
        if name == "crumbling":
            raise ConfigError("the step 'crumbling' cannot be loaded", details=("ImportError: gone",))
        return self.known[name]

    def recipes(self) -> list[str]:
        return sorted(self.python)

    def recipe(self, name: str) -> Callable[..., Recipe]:
        return self.python[name]
