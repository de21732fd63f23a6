"""One line of a plan to upgrade, of whatever engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["done", "to-do", "by-hand", "blocked", "unreachable", "not-applicable"]
# of a registry: program, configuration, database; of a Pulp: packages, schema, content
Component = Literal["program", "configuration", "database", "packages", "schema", "content"]


@dataclass(frozen=True)
class Row:
    """What is to become of one part on one host. `seconds` that it takes; None where nobody can tell."""

    host: str
    component: Component
    current: str
    target: str
    state: State
    note: str = ""
    by_hand: tuple[str, ...] = ()
    seconds: float | None = None

    @property
    def data(self) -> dict[str, str | float | list[str] | None]:
        """The same for machines."""
        return {
            "host": self.host,
            "component": self.component,
            "current": self.current,
            "target": self.target,
            "state": self.state,
            "note": self.note,
            "by_hand": list(self.by_hand),
            "estimated_seconds": self.seconds,
        }
