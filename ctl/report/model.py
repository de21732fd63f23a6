"""The report of a command: one value, rendered by any format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ctl.errors import Outcome

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True)
class Text:
    """A paragraph; shown as it is, control characters escaped."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows under headings; every cell is text already. Numbers go in columns named in `right`."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    right: frozenset[str] = frozenset()


Block = Text | Table


@dataclass(frozen=True)
class Report:
    """What a command found or did.

    `data` is the JSON object's content without `schema` and `result`, which the formats add. `blocks` is
    the same for people.
    """

    command: str  # "gc" becomes the schema "regctl/gc/1"; words joined by "-": "database-status"
    outcome: Outcome
    data: Mapping[str, Json]
    blocks: tuple[Block, ...] = field(default=())
    hints: tuple[str, ...] = ()  # shown on stderr after the rest
    exit_code: int | None = None  # only where the outcome's usual one does not hold
