"""Every error regctl raises on purpose, and the one table of exit codes.

A message says what happened and where; `hint` says what to do next. `ctl.cli` is the only place where
an error becomes text and an exit code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How a command ended: the word in `result` of the JSON output."""

    OK = "ok"
    CHANGED = "changed"
    NOTHING_TO_DO = "nothing-to-do"
    PENDING = "pending"
    WARNING = "warning"
    FAILED = "failed"
    REFUSED = "refused"
    LOCKED = "locked"
    USAGE = "usage"
    CONFIG = "config"
    UNREACHABLE = "unreachable"
    INTERRUPTED = "interrupted"


EXIT_CODES: dict[Outcome, int] = {
    Outcome.OK: 0,
    Outcome.CHANGED: 0,
    Outcome.NOTHING_TO_DO: 0,
    Outcome.PENDING: 0,  # 4 only where --detailed-exitcode was given
    Outcome.FAILED: 1,
    Outcome.USAGE: 2,
    Outcome.WARNING: 3,
    Outcome.LOCKED: 5,
    Outcome.REFUSED: 6,
    Outcome.UNREACHABLE: 7,
    Outcome.CONFIG: 10,
    Outcome.INTERRUPTED: 130,
}
PENDING_EXIT_CODE = 4
# of looks at several things, the worst first
WORST_FIRST: tuple[Outcome, ...] = (
    Outcome.UNREACHABLE,
    Outcome.CONFIG,
    Outcome.REFUSED,
    Outcome.FAILED,
    Outcome.WARNING,
    Outcome.PENDING,
    Outcome.OK,
)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the outcome of several looks together; OK where there was none. Each is one of `WORST_FIRST`."""
    return min(outcomes, key=WORST_FIRST.index, default=Outcome.OK)


class RegctlError(Exception):
    """The command failed."""

    outcome: Outcome = Outcome.FAILED

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details  # further lines, such as every mistake in a site file


class UsageError(RegctlError):
    """The command line asks for something that cannot be."""

    outcome = Outcome.USAGE


class ConfigError(RegctlError):
    """The site file, or a registry's configuration file, is wrong."""

    outcome = Outcome.CONFIG


class LockedError(RegctlError):
    """Somebody else holds the lock, or an earlier run is still open."""

    outcome = Outcome.LOCKED


class RefusedError(RegctlError):
    """Doing this would not be safe; nothing was changed."""

    outcome = Outcome.REFUSED


class UnreachableError(RegctlError):
    """A host, a registry or a database does not answer."""

    outcome = Outcome.UNREACHABLE


class BrokenConnectionError(UnreachableError):
    """The connection broke while something ran over there: how far that came is not known.

    Any other UnreachableError of a host says that nothing was begun.
    """


class InterruptedRunError(RegctlError):
    """The operator stopped the command; every scope was left."""

    outcome = Outcome.INTERRUPTED


class CommandFailedError(RegctlError):
    """A program ended with an error; `details` holds its last lines.

    `figures` are JSON-able: they stand in the record of the step that raises it, as those of one that
    ended well do.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        details: tuple[str, ...] = (),
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.figures = figures or {}


class UnknownEffectError(CommandFailedError):
    """Nobody can tell what a program did: it was begun, and its end was not seen. Neither done nor failed."""


class TransientError(RegctlError):
    """Trying the same again may work: the runner retries a step that raises it, bounded and shown."""
