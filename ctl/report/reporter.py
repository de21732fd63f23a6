"""What a report format is handed and what it must be able to do."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

from ctl.errors import Outcome, RegctlError
from ctl.report.events import Event
from ctl.report.model import Json, Report

GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET)


class Stream:
    """A standard stream that may go away: a reader that stops reading must not stop a garbage collection."""

    def __init__(self, file: TextIO | None, redact: Callable[[str], str] = lambda text: text) -> None:
        self._gone = file is None  # the process was started with this stream closed
        self._file: TextIO = file or io.StringIO()
        self._redact = redact
        self.terminal = _is_terminal(self._file)
        if file is not None and hasattr(file, "reconfigure"):
            # A locale that cannot spell a character must not turn a report into a traceback.
            file.reconfigure(errors="backslashreplace")

    @property
    def file(self) -> TextIO:
        """The stream itself, for a library that draws on it."""
        return self._file

    def write(self, text: str) -> None:
        """Write and flush; do nothing once the other side is gone. Known secrets are blotted out.

        Raises RegctlError where the text is lost for another reason, such as a full disk.
        """
        if self._gone:
            return
        try:
            self._file.write(self._redact(text))
            self._file.flush()
        except ValueError:  # closed by the caller
            self._gone = True
        except OSError as error:
            _silence(self._file)
            self._gone = True
            if error.errno not in GONE:
                raise RegctlError(
                    f"the output cannot be written: {error.strerror}",
                    hint="what was done is done; `regctl run list` shows it",
                ) from error

    def line(self, text: str = "") -> None:
        """Write a line."""
        self.write(text + "\n")


def _is_terminal(file: TextIO) -> bool:
    try:
        return file.isatty()
    except ValueError:
        return False


def _silence(file: TextIO) -> None:
    """Point the descriptor elsewhere, or Python complains about it when the process ends."""
    try:
        descriptor = file.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    except (OSError, ValueError):
        return


@dataclass(frozen=True)
class Streams:
    """Where a reporter writes, and how much: stdout is data, stderr is everything else."""

    out: Stream
    err: Stream
    quiet: bool = False
    verbose: int = 0
    color: bool = True

    @staticmethod
    def of_process(*, quiet: bool, verbose: int, color: bool, redact: Callable[[str], str]) -> Streams:
        """Return the process's own streams."""
        out, err = Stream(sys.stdout, redact), Stream(sys.stderr, redact)
        return Streams(out, err, quiet=quiet, verbose=verbose, color=color)


@dataclass(frozen=True)
class Ending:
    """An error as a reporter tells it."""

    command: str  # as in `Report.command`; "regctl" where the line named no command
    outcome: Outcome
    message: str
    hint: str = ""
    details: tuple[str, ...] = ()

    def data(self) -> dict[str, Json]:
        """Return the JSON object of a command that ended with this error."""
        return {
            "schema": schema(self.command),
            "result": str(self.outcome),
            "error": {"message": self.message, "hint": self.hint, "details": list(self.details)},
        }


def schema(command: str) -> str:
    """Return the name and version of the object that a command prints."""
    return f"regctl/{command}/1"


def object_of(report: Report) -> dict[str, Json]:
    """Return a report as the JSON object that scripts read."""
    head: dict[str, Json] = {"schema": schema(report.command), "result": str(report.outcome)}
    data = {key: value for key, value in report.data.items() if key not in head}
    hints: dict[str, Json] = {"hints": list(report.hints)} if report.hints else {}
    return {**head, **data, **hints}


class Reporter(Protocol):
    """A format of `--output`. A plugin names a callable that takes `Streams` and returns one of these."""

    def event(self, event: Event) -> None:
        """Tell what happens while the command works."""
        ...

    def report(self, report: Report) -> None:
        """Show what the command found or did; called at most once."""
        ...

    def nothing(self, command: str) -> None:
        """End a command that had no report to show."""
        ...

    def failure(self, ending: Ending, *, reported: bool) -> None:
        """End a command that failed; `reported` says whether its report was already shown."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...
