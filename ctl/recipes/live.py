"""The run as its steps see it: in checks it only reads, later it is journaled and fenced."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ctl.errors import RegctlError
from ctl.recipes.journal import FencedError, Journal, Record, now
from ctl.recipes.signals import Stop
from ctl.recipes.state import RunState

if TYPE_CHECKING:
    from ctl.report.events import Event, EventSink
    from ctl.report.model import Json


def safe(emit: EventSink) -> EventSink:
    """Wrap a sink so that a lost terminal cannot end the work that it was told about."""

    def told(event: Event) -> None:
        with contextlib.suppress(OSError):
            emit(event)

    return told


class CheckRun:
    """The run in checks and previews, before anything began: it has no id, and writing is an error."""

    id = ""
    epoch = 0

    def __init__(self, recipe: str, emit: EventSink) -> None:
        self.recipe = recipe
        self.emit = emit

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


class LiveRun:
    """A run that has begun. Whatever it journals is folded into `state` at once."""

    def __init__(
        self, journal: Journal, state: RunState, emit: EventSink, stop: Stop, guard: Callable[[], None]
    ) -> None:
        self.journal, self.state, self.emit = journal, state, emit
        self.stop = stop
        self._guard = guard
        self.id, self.epoch, self.recipe = state.id, state.epoch, state.recipe
        self.current = ""  # the path of the step at work
        self.backing_out = False  # from here on getting out comes before writing down that we did

    def write(self, kind: str, **payload: Any) -> RegctlError | None:
        """Journal a record, flushed; raise if that fails, but while backing out return the error.

        A full disk below state_dir must not keep a registry read-only: leaving a scope twice is safe.
        """
        failure = None
        try:
            record = self.journal.append(kind, payload)
        except FencedError:
            raise
        except RegctlError as error:
            if not self.backing_out:
                raise
            failure = error
            record = Record(0, now(), kind, payload)
        self.state.fold(record)
        return failure

    def stopping(self) -> bool:
        """Say whether the operator asked to stop."""
        return bool(self.stop.reason)

    def guard(self) -> None:
        """Raise FencedError unless the locks and claims still stand."""
        self._guard()

    def note(self, **facts: Json) -> None:
        """Journal facts of the step at work."""
        self.write("note", path=self.current, facts=json.loads(json.dumps(facts)))

    def notes(self, step: str) -> Mapping[str, Json]:
        """Return what the step at work noted, if it is of that class; else what all of that class did."""
        here = self.state.progress.get(self.current)
        if here is not None and _named(here.step, step):
            return dict(here.notes)
        found: dict[str, Json] = {}
        for progress in self.state.progress.values():
            if _named(progress.step, step):
                found.update(progress.notes)
        return found


def _named(class_path: str, name: str) -> bool:
    return class_path.rpartition(":")[2].rpartition(".")[2] == name
