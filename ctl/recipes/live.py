"""The run as its steps see it: in checks it only reads, later it is journaled and fenced."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ctl.errors import RegctlError
from ctl.recipes.journal import FencedError, Journal, Record, now
from ctl.recipes.signals import Stop, StopNowError
from ctl.recipes.state import RunState, row_of

if TYPE_CHECKING:
    from ctl.report.events import Event, EventSink
    from ctl.report.model import Json


def safe(emit: EventSink) -> EventSink:
    """Wrap a sink for several threads; a lost terminal must not end the work that it was told about."""

    mutex = threading.RLock()  # rows of several hosts tell side by side; a reporter need not know

    def told(event: Event) -> None:
        with mutex, contextlib.suppress(OSError):
            emit(event)

    return told


class CheckRun:
    """The run in checks and previews, before anything began: it has no id, and writing is an error."""

    id = ""
    epoch = 0

    def __init__(self, recipe: str, emit: EventSink) -> None:
        self.recipe = recipe
        self.emit = emit
        self.seen: dict[tuple[str, ...], Any] = {}

    def stopping(self) -> bool:
        """Never: Ctrl-C ends checks at once, as nothing has begun."""
        return False

    def guard(self) -> None:
        """Refuse: nothing may be written yet."""
        raise RuntimeError("a check or a preview tried to write")

    def note(self, **facts: Json) -> None:
        """Refuse: there is no journal yet."""
        raise RuntimeError("a check or a preview tried to note something")

    def notes(self, step: str) -> Mapping[str, Json]:
        """Nothing is noted yet."""
        return {}


@dataclass
class Shared:
    """What all rows of one run have in common."""

    mutex: Any = field(default_factory=threading.RLock)
    halted: bool = False  # by a second Ctrl-C: whoever still works may write nothing more
    fenced: FencedError | None = None  # what one row found out holds for all


class LiveRun:
    """A run that has begun. Whatever it journals is folded into `state` at once.

    `guard` is called with the host of the row at work, "" outside of rows. `in_row` makes the run as one
    row sees it: with a step at work and a way out of its own, everything else in common.
    """

    def __init__(
        self,
        journal: Journal,
        state: RunState,
        emit: EventSink,
        stop: Stop,
        guard: Callable[[str], None],
        *,
        shared: Shared | None = None,
        row: str = "",
        row_host: str = "",
    ) -> None:
        self.journal, self.state = journal, state
        self.stop = stop
        self._emit, self._guard = emit, guard
        self._shared = shared or Shared()
        self.row, self.row_host = row, row_host
        self.id, self.epoch, self.recipe = state.id, state.epoch, state.recipe
        self.seen: dict[tuple[str, ...], Any] = {}
        self.current = ""  # the path of the step at work
        self.backing_out = False  # from here on getting out comes before writing down that we did

    def in_row(self, path: str, host: str) -> LiveRun:
        """Return this run as the row of one host sees it."""
        return LiveRun(
            self.journal,
            self.state,
            self._emit,
            self.stop,
            self._guard,
            shared=self._shared,
            row=path,
            row_host=host,
        )

    def emit(self, event: Event) -> None:
        """Tell the operator something."""
        if not self._shared.halted:
            self._emit(event)

    def halt(self) -> None:
        """Let no thread write anything more: the operator wants it to stop at once."""
        self._shared.halted = True

    def write(self, kind: str, **payload: Any) -> RegctlError | None:
        """Journal a record, flushed; raise if that fails, but while backing out return the error.

        A full disk below state_dir must not keep a registry read-only: leaving a scope twice is safe.
        """
        self._demand_alive()
        with self.journal.boundary(kind, payload):
            return self._written(kind, payload)

    def begin(self, allowed: Callable[[], bool], kind: str, **payload: Any) -> bool:
        """Journal a record if that is allowed; no other thread journals between question and record."""
        self._demand_alive()
        with self.journal.boundary(kind, payload):
            with self._shared.mutex:
                if not allowed():
                    return False
                _, end = self._put(kind, payload)
            self.journal.flush(end)
        return True

    def _written(self, kind: str, payload: Mapping[str, Any]) -> RegctlError | None:
        failure = None
        with self._shared.mutex:
            try:
                _, end = self._put(kind, payload)
            except FencedError:
                raise
            except RegctlError as error:
                if not self.backing_out:
                    raise
                self.state.fold(Record(0, now(), kind, payload))
                return error
        try:
            self.journal.flush(end)  # outside: others may write meanwhile, and share it
        except RegctlError as error:
            if not self.backing_out:
                raise
            failure = error
        return failure

    def _put(self, kind: str, payload: Mapping[str, Any]) -> tuple[Record, int]:
        self._demand_alive()
        try:
            record, end = self.journal.put(kind, payload)
        except FencedError as error:
            self._shared.fenced = error
            raise
        self.state.fold(record)
        return record, end

    def _demand_alive(self) -> None:
        if self._shared.halted:
            raise StopNowError
        if self._shared.fenced is not None:
            raise self._shared.fenced

    def stopping(self) -> bool:
        """Say whether the operator asked to stop."""
        return bool(self.stop.reason) or self._shared.halted

    def guard(self) -> None:
        """Raise FencedError unless the locks and claims still stand."""
        self._demand_alive()
        try:
            self._guard(self.row_host)
        except FencedError as error:
            self._shared.fenced = error
            raise

    def note(self, **facts: Json) -> None:
        """Journal facts of the step at work."""
        self.write("note", path=self.current, facts=json.loads(json.dumps(facts)))

    def notes(self, step: str) -> Mapping[str, Json]:
        """Return what the step at work noted, if it is of that class; else what all of that class did.

        In a row only what was noted in this row, or outside of all rows: other hosts' notes are not ours.
        """
        here = self.state.progress.get(self.current)
        if here is not None and _named(here.step, step):
            return dict(here.notes)
        found: dict[str, Json] = {}
        for path, progress in list(self.state.progress.items()):
            if _named(progress.step, step) and self._seen(path):
                found.update(progress.notes)
        return found

    def _seen(self, path: str) -> bool:
        return not self.row or row_of(path) in ("", self.row)


def _named(class_path: str, name: str) -> bool:
    return class_path.rpartition(":")[2].rpartition(".")[2] == name
