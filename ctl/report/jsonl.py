"""`--output jsonl`: a line for each event as it happens; the last line is the object that json prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ctl.errors import Outcome
from ctl.report.console import Talk
from ctl.report.data import event_object, plain
from ctl.report.events import Event
from ctl.report.model import Report
from ctl.report.reporter import Ending, Streams, object_of, schema


class JsonLinesReporter:
    """`--output jsonl`."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._talk = Talk(streams)

    def event(self, event: Event) -> None:
        """Print an event's line."""
        self._line(event_object(event))

    def report(self, report: Report) -> None:
        """Print the last line."""
        self._line(object_of(report))

    def nothing(self, command: str) -> None:
        """Print the last line of a command that had nothing to say."""
        self._line({"schema": schema(command), "result": str(Outcome.OK)})

    def failure(self, ending: Ending, *, reported: bool) -> None:
        """Say the error on stderr, and print it as the last line unless there is one already."""
        self._talk.failure(ending)
        if not reported:
            self._line(ending.data())

    def close(self) -> None:
        """Nothing to leave."""

    def _line(self, value: Mapping[str, Any]) -> None:
        self._streams.out.line(json.dumps(plain(value)))
