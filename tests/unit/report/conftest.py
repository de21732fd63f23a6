"""Streams that a test can read, as terminals or not."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from ctl.report.reporter import Stream, Streams


class Paper(io.StringIO):
    """A text stream that says that it is a terminal, or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


MakeStreams = Callable[..., Streams]


@pytest.fixture
def make_streams(monkeypatch: pytest.MonkeyPatch) -> MakeStreams:
    """Make streams on paper: `make_streams(terminal=True, quiet=True)`."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def make(terminal: bool = False, quiet: bool = False, verbose: int = 0, color: bool = True) -> Streams:
        out, err = Stream(Paper(terminal)), Stream(Paper(terminal))
        return Streams(out, err, quiet=quiet, verbose=verbose, color=color)

    return make


def text_of(stream: Stream) -> str:
    """Return what was written."""
    assert isinstance(stream.file, Paper)
    return stream.file.getvalue()
