"""Follow one detached job on a host until it has ended, across breaks of the connection."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.errors import BrokenConnectionError, RefusedError, RegctlError, UnreachableError
from ctl.report.events import Message

if TYPE_CHECKING:
    from ctl.hosts.base import Command, Host, JobTail
    from ctl.recipes.model import Target
    from ctl.report.model import Json

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")  # in an id
GRACE = timedelta(seconds=30)  # between TERM and KILL
SHOWN = 64 * 1024  # bytes of each stream that are kept in the journal; the last ones
PATIENCE = 20.0  # seconds of one look
BEGINNING = 40.0  # seconds that a claimed job may take until it is known to run
_RETRY = (0.1, 2.0)  # seconds before a connection is tried again: at first, and at most


def new_job(here: Target, host_name: str, what: str, **facts: Json) -> tuple[str, float]:
    """Journal an id that no other job has, before anything begins under it; return it and the time.

    Its random part keeps apart two steps of one run on one host: a step does not know its place.
    """
    words = f"{here.run.id[:60]}-{host_name[:40]}-{what}-{os.urandom(4).hex()}"
    job, began = _UNSAFE.sub("_", words), Following.clock()
    here.run.note(job=job, began=began, **facts)
    return job, began


@dataclass(frozen=True)
class JobEnd:
    """How a job ended. `unknown` says why nobody knows what it did, "" where that is known."""

    job: str
    exit_code: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    unknown: str = ""
    timed_out: bool = False
    over: bool = True  # whether it is proved that nothing of it runs any more

    @property
    def whole(self) -> bool:
        """Whether all that it printed is here."""
        return (self.stdout_bytes, self.stderr_bytes) == (len(self.stdout), len(self.stderr))


@dataclass
class Following:
    """One job on one host. `timeout` and `reconnect` are in seconds; `began` is a time as `clock` tells it.

    `begun` says whether it may be there already: then a host that stays away leaves its end unknown.
    """

    here: Target
    host_name: str
    job: str
    timeout: float
    reconnect: float
    began: float = 0.0
    begun: bool = False
    lost: float | None = field(default=None, init=False)  # since when there is no connection
    claimed: float | None = field(default=None, init=False)  # since when we see a claim, and no more
    ended_by_us: bool = field(default=False, init=False)
    may_begin: bool = field(default=False, init=False)
    wait: float = field(default=_RETRY[0], init=False)

    @property
    def host(self) -> Host:
        """The host that it runs on."""
        return self.here.world.host(self.host_name)

    @staticmethod
    def clock() -> float:
        """Return the controller's clock in seconds since 1970, which outlives a restart of regctl."""
        return round(time.time(), 3)

    def run(self, command: Command) -> JobEnd:
        """Begin it, unless it is there already, and return when it has ended.

        UnreachableError only where nothing was begun. What `run_job` is asked is the same each time: the id
        is claimed once over there, so asking again after a break begins nothing again.
        """
        self.may_begin = True
        return self._follow(lambda patience: self.host.run_job(command, self.job, patience, SHOWN))

    def adopt(self) -> JobEnd | None:
        """Follow what an earlier run began; None where it is not there, or was lost."""
        end = self._follow(lambda patience: self.host.wait_job(self.job, patience, SHOWN))
        return None if end.exit_code is None and end.over and not end.timed_out else end

    def forget(self) -> None:
        """Delete its files over there; what stays behind for want of a connection does no harm."""
        try:
            self.host.forget_job(self.job)
        except RegctlError as error:
            text = f"the files of job {self.job} stay on {self.host_name}: {error.message}"
            self.here.run.emit(Message(text, "warning"))

    def _follow(self, look: Callable[[timedelta], JobTail]) -> JobEnd:
        while True:
            try:
                end = self._look(look)
            except UnreachableError as error:
                end = self._away(error)
            else:
                self.lost, self.wait = None, _RETRY[0]
            if end is not None:
                return end

    def _look(self, look: Callable[[timedelta], JobTail]) -> JobEnd | None:
        left = self.began + self.timeout - self.clock() if self.began else self.timeout
        if left <= 0 and (self.begun or self.ended_by_us):
            if self.may_begin and not self.ended_by_us and self.host.job(self.job).state == "absent":
                # Journaled and never begun, by a regctl that was killed long ago: its time begins now.
                self.begun, self.began = False, self.clock()
                self.here.run.note(began=self.began)
                return None
            self.ended_by_us = True
            self.host.kill_job(self.job, GRACE)
            return self._end(self.host.wait_job(self.job, timedelta(0), SHOWN))
        try:
            tail = look(timedelta(seconds=max(0.0, min(PATIENCE, left))))
        except RefusedError as error:
            return self._only_claimed(error)
        self.begun = True
        return None if tail.status.state == "running" else self._end(tail)

    def _end(self, tail: JobTail) -> JobEnd:
        status = tail.status
        unknown = ""
        if self.ended_by_us:
            unknown = f"did not end in {self.timeout:g} s and was ended"
        elif status.exit_code is None:
            unknown = "was ended from outside, and left no exit code"
        return JobEnd(
            self.job,
            status.exit_code,
            tail.stdout,
            tail.stderr,
            tail.stdout_bytes,
            tail.stderr_bytes,
            unknown,
            self.ended_by_us,
        )

    def _away(self, error: UnreachableError) -> JobEnd | None:
        """Wait a moment for the connection to come back; the end where it stays away for too long."""
        now = time.monotonic()
        self.begun = self.begun or isinstance(error, BrokenConnectionError)
        if self.lost is None:
            self.lost = now
            if self.begun:
                text = f"{error.message}; job {self.job} goes on there: trying to reach it again"
                self.here.run.emit(Message(text, "warning"))
        if not self.begun:
            raise error  # nothing was begun, and nothing is lost by saying so at once
        if now - self.lost > self.reconnect:
            away = f"was out of reach for {self.reconnect:g} s and may still be at work (job {self.job})"
            return JobEnd(self.job, unknown=away, over=False)
        time.sleep(self.wait)
        self.wait = min(self.wait * 2, _RETRY[1])
        return None

    def _only_claimed(self, error: RefusedError) -> JobEnd | None:
        """Wait for a job that is claimed until it is known to run; end it where that takes too long."""
        now, first = time.monotonic(), self.claimed is None
        self.claimed = now if self.claimed is None else self.claimed
        if self.host.job(self.job).state != "unknown":
            if first:
                return None  # it began between our looks: look again
            raise error
        if now - self.claimed > BEGINNING:
            self.host.kill_job(self.job, timedelta(0))
            return JobEnd(self.job, unknown="was claimed, and nothing says whether it ever began")
        time.sleep(_RETRY[0])
        return None
