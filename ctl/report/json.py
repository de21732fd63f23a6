"""`--output json`: one object on stdout, whatever the exit code; people are told on stderr as always."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ctl.errors import Outcome
from ctl.report.console import Talk
from ctl.report.data import plain
from ctl.report.events import Event
from ctl.report.model import Report
from ctl.report.reporter import Ending, Streams, object_of, schema


class ObjectReporter:
    """One object at the end; a format says how it is written."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._talk = Talk(streams)

    def dump(self, value: Mapping[str, Any]) -> str:
        """Return the object as text."""
        raise NotImplementedError

    def event(self, event: Event) -> None:
        """Say an event on stderr."""
        self._talk.event(event)

    def report(self, report: Report) -> None:
        """Print the object."""
        self._talk.close()
        self._write(object_of(report))
        self._talk.hints(report.hints)

    def nothing(self, command: str) -> None:
        """Print the object of a command that had nothing to say."""
        self._talk.close()
        self._write({"schema": schema(command), "result": str(Outcome.OK)})

    def failure(self, ending: Ending, *, reported: bool) -> None:
        """Say the error on stderr, and print the object unless the command has printed one."""
        self._talk.failure(ending)
        if not reported:
            self._write(ending.data())

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._talk.close()

    def _write(self, value: Mapping[str, Any]) -> None:
        self._streams.out.write(self.dump(plain(value)))


class JsonReporter(ObjectReporter):
    """`--output json`."""

    def dump(self, value: Mapping[str, Any]) -> str:
        """Return the object indented, in ASCII so that no locale can spoil it."""
        return json.dumps(value, indent=2) + "\n"
