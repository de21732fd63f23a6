"""A testing aid: die, fail or stop at one exact boundary, so that every crash can be tried in turn.

`REGCTL_FAILPOINT=<n>:<before|after>:<kill|error|stall>` acts at the n-th boundary (counted from 1):
`kill` is SIGKILL to this process, `error` raises an OSError (EIO), `stall` is SIGSTOP. `list` prints
the boundaries to stderr as they are passed. Nothing is counted where the variable is not set.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

from ctl.errors import UsageError

VARIABLE = "REGCTL_FAILPOINT"
Boundary = Callable[[str], AbstractContextManager[None]]


def off(name: str) -> AbstractContextManager[None]:
    """Stand in where no failpoint is set."""
    return nullcontext()


class Failpoints:
    """Counts boundaries and acts at one of them."""

    def __init__(self, index: int, when: str, action: str) -> None:
        self.index, self.when, self.action = index, when, action
        self.passed = 0
        self._mutex = threading.Lock()  # rows of several hosts pass boundaries side by side

    def boundary(self, name: str) -> AbstractContextManager[None]:
        """Wrap one effect; `before` acts at its start, `after` at its end (only if it did not fail)."""
        with self._mutex:
            self.passed += 1
            return _Boundary(self, self.passed, name)

    def act(self) -> None:
        """Do what was asked for."""
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "stall":
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            raise OSError(errno.EIO, f"{VARIABLE}: failure at boundary {self.index}")


class _Boundary:
    def __init__(self, owner: Failpoints, number: int, name: str) -> None:
        self.owner, self.number, self.name = owner, number, name

    def __enter__(self) -> None:
        if self.owner.action == "list":
            print(f"{VARIABLE} {self.number} {self.name}", file=sys.stderr)  # noqa: T201
        elif self.number == self.owner.index and self.owner.when == "before":
            self.owner.act()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self.number == self.owner.index and self.owner.when == "after":
            self.owner.act()


def from_environment(environment: Mapping[str, str]) -> Boundary:
    """Read REGCTL_FAILPOINT; UsageError if it is neither `list` nor `<n>:<when>:<action>`."""
    text = environment.get(VARIABLE, "")
    if not text:
        return off
    if text == "list":
        return Failpoints(0, "", "list").boundary
    match = re.fullmatch(r"([1-9][0-9]*):(before|after):(kill|error|stall)", text)
    if not match:
        raise UsageError(
            f"{VARIABLE} is {text!r}",
            hint=f"write {VARIABLE}=<n>:<before|after>:<kill|error|stall>, or list, or unset it",
        )
    return Failpoints(int(match[1]), match[2], match[3]).boundary
