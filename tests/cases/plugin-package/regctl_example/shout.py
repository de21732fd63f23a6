"""A report format: a line, loud."""

from __future__ import annotations

from ctl.report.events import Event
from ctl.report.model import Report
from ctl.report.reporter import Ending, Streams


class ShoutReporter:
    """`--output shout`."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def event(self, event: Event) -> None:
        pass

    def report(self, report: Report) -> None:
        self._streams.out.line(f"{report.command} {report.outcome}".upper())

    def nothing(self, command: str) -> None:
        self._streams.out.line(command.upper())

    def failure(self, ending: Ending, *, reported: bool) -> None:
        self._streams.err.line(ending.message.upper())

    def close(self) -> None:
        pass
