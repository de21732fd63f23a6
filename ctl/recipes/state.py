"""What a journal's records add up to: which steps are done, which scopes are open, what was in flight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ctl.recipes.codec import Place, load, places
from ctl.recipes.identity import Holder
from ctl.recipes.journal import Record
from ctl.recipes.model import Recipe, StepRecord

Standing = Literal[
    "pending", "applying", "done", "failed", "leaving", "left", "stuck", "undoing", "undone", "undo-failed"
]
_AFTER_INTENT: dict[str, Standing] = {"apply": "applying", "leave": "leaving", "undo": "undoing"}
_AFTER_GOOD: dict[str, Standing] = {"apply": "done", "leave": "left", "undo": "undone"}
_AFTER_BAD: dict[str, Standing] = {"apply": "failed", "leave": "stuck", "undo": "undo-failed"}
BAD_RESULTS = frozenset({"failed", "unreachable", "unknown"})


@dataclass
class Progress:
    """How far one step or scope came."""

    standing: Standing = "pending"
    before: Mapping[str, Any] = field(default_factory=dict)  # as seen before its first attempt
    attempt: int = 0
    notes: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    host: str = ""
    step: str = ""

    @property
    def open(self) -> bool:
        """Whether a scope must still be left: its apply began, and its leave has not succeeded."""
        return self.standing not in ("pending", "left")


@dataclass
class RowState:
    """How far the row of one host came."""

    path: str
    host: str
    began: bool = False
    ended: bool = False
    unwinding: Mapping[str, Any] | None = None  # why it ended early, once that was decided
    result: str = ""  # once it has ended
    reason: str = ""
    seconds: float = 0.0

    @property
    def in_flight(self) -> bool:
        """Whether it began and has not ended."""
        return self.began and not self.ended

    @property
    def bad(self) -> bool:
        """Whether it counts against the limits of its Across."""
        return self.ended and self.result in BAD_RESULTS


@dataclass
class RunState:
    """A run, folded from its journal. Written by one thread at a time, under the lock of its LiveRun."""

    id: str = ""
    recipe: str = ""
    title: str = ""
    resources: tuple[str, ...] = ()
    start: Mapping[str, Any] = field(default_factory=dict)
    started_at: str = ""
    ended_at: str = ""
    state: str = "open"  # open | done | failed | interrupted | superseded | abandoned | unreadable
    reason: str = ""
    unwinding: Mapping[str, Any] | None = None  # why the body ended early, once that was decided
    progress: dict[str, Progress] = field(default_factory=dict)
    steps: list[StepRecord] = field(default_factory=list)
    rows: dict[str, RowState] = field(default_factory=dict)  # by path; those of which something is known
    outcome: str = ""  # of the whole run, once it has ended
    holder: Holder | None = None
    epoch: int = 0

    @property
    def closed(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.state not in ("open", "unreadable")

    def at(self, path: str) -> Progress:
        """Return the progress of a step, "pending" if it has none."""
        return self.progress.setdefault(path, Progress())

    def row(self, path: str, host: str = "") -> RowState:
        """Return the state of a row, one that never began if nothing is known of it."""
        return self.rows.setdefault(path, RowState(path, host))

    def titled(self, path: str) -> str:
        """Return a step's title, with its host where it is part of what is done on several."""
        row = self.rows.get(row_of(path))
        return f"[{row.host}] {self.at(path).title}" if row is not None else self.at(path).title

    def load(self) -> Recipe:
        """Build its recipe again."""
        return load(self.start["recipe"])

    def open_scopes(self) -> list[str]:
        """Return the paths of the scopes that are not left, in the order of entering."""
        return [path for path, found in list(self.progress.items()) if is_scope(path) and found.open]

    def in_flight(self) -> list[str]:
        """Return the paths of the steps whose apply began and whose end is not known."""
        return [path for path, found in list(self.progress.items()) if found.standing == "applying"]

    def fold(self, record: Record) -> None:
        """Take one more record in."""
        payload = record.payload
        getattr(self, f"_on_{record.kind.replace('-', '_')}", self._on_other)(record.time, payload)

    def _on_other(self, time: str, payload: Mapping[str, Any]) -> None:
        """Ignore what a later version may write."""

    def _on_start(self, time: str, payload: Mapping[str, Any]) -> None:
        self.start = payload
        self.id, self.started_at = payload["run"], time
        recipe = payload["recipe"]
        self.recipe, self.title = recipe["name"], recipe.get("title", "")
        self.resources = tuple(recipe["resources"])
        self._on_resume(time, payload)

    def _on_resume(self, time: str, payload: Mapping[str, Any]) -> None:
        self.holder = Holder.from_json(payload["holder"])
        self.epoch = payload["epoch"]

    def _on_intent(self, time: str, payload: Mapping[str, Any]) -> None:
        found = self.at(payload["path"])
        found.standing = _AFTER_INTENT[payload["phase"]]
        found.attempt = payload["attempt"]
        found.title, found.host, found.step = payload["title"], payload["host"], payload["step"]
        if payload["phase"] == "apply":
            found.before = payload["before"]

    def _on_note(self, time: str, payload: Mapping[str, Any]) -> None:
        self.at(payload["path"]).notes.update(payload["facts"])

    def _on_outcome(self, time: str, payload: Mapping[str, Any]) -> None:
        phase, result = payload["phase"], payload["result"]
        after = _AFTER_BAD if result in BAD_RESULTS else _AFTER_GOOD
        found = self.at(payload["path"])
        # Refused by its own check, before any intent: there is nothing to undo or to leave.
        if found.standing != "pending" or after is _AFTER_GOOD:
            found.standing = after[phase]
        self.steps.append(
            StepRecord(
                path=payload["path"],
                step=payload["step"].rpartition(":")[2],
                title=payload["title"],
                host=payload["host"],
                result=result,
                reason=payload["reason"],
                started_at=payload["started_at"],
                ended_at=time,
                data=payload["data"],
                phase=phase,
            )
        )

    def _on_unwind(self, time: str, payload: Mapping[str, Any]) -> None:
        self.unwinding = payload

    def _on_row_begin(self, time: str, payload: Mapping[str, Any]) -> None:
        self.row(payload["path"], payload["host"]).began = True

    def _on_row_unwind(self, time: str, payload: Mapping[str, Any]) -> None:
        found = self.row(payload["path"], payload["host"])
        found.unwinding = found.unwinding or payload

    def _on_row_end(self, time: str, payload: Mapping[str, Any]) -> None:
        found = self.row(payload["path"], payload["host"])
        found.ended, found.result = True, payload["result"]
        found.reason, found.seconds = payload["reason"], payload["seconds"]

    def _on_end(self, time: str, payload: Mapping[str, Any]) -> None:
        self.state, self.reason, self.ended_at = payload["state"], payload["reason"], time
        self.outcome = payload.get("outcome", "")


def is_scope(path: str) -> bool:
    """Say whether a path is a scope's."""
    return path.rpartition(".")[2].startswith("s")


def row_of(path: str) -> str:
    """Return the path of the row that a step is part of, "" where it is part of none."""
    parts = path.split(".")
    at = next((number for number, part in enumerate(parts) if part[:1] == "r"), None)
    return "" if at is None else ".".join(parts[: at + 1])


def fold(records: Iterable[Record]) -> RunState:
    """Add a journal's records up."""
    state = RunState()
    for record in records:
        state.fold(record)
    return state


def by_path(recipe: Recipe) -> dict[str, Place]:
    """Return a recipe's places by their paths, in the order in which they run."""
    return {place.path: place for place in places(recipe.items)}
