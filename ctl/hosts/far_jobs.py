"""Detached jobs on a host behind a shell: claimed once by an id, found again by it after any break.

The record of a job, its exit code and its output are files over there, so the connection may go at any
moment. An exit code over 128 is how a shell tells that a signal ended its child, and is read as that.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from ctl.errors import CommandFailedError, RefusedError, RegctlError
from ctl.hosts import far_run, shell
from ctl.hosts.base import Command, Job, JobStatus, JobTail, ProcessInfo
from ctl.hosts.jobs import SETTLE, UNKILLABLE, checked_id, unkillable

if TYPE_CHECKING:
    from ctl.hosts.posix import PosixHost

_POLL = 0.05  # seconds
_SIGNALLED = 128  # an exit code of a shell beyond it is a signal's number and this


@dataclass(frozen=True)
class _Found:
    """What the files of a job say, and who lives."""

    claim: str = ""
    record: tuple[str, ...] = ()
    lives: bool = False
    watched: bool = False
    code: int | None = None


@dataclass(frozen=True)
class FarJobs:
    """The jobs below one folder over there."""

    host: PosixHost
    folder: str

    def start(self, command: Command, job_id: str, log: str | None) -> Job:
        """Start detached. RefusedError where the id was given to another command, or nobody knows of it."""
        answer, digest = self._begin(command, job_id, log)
        if answer.said == "claimed":
            return self._again(job_id, digest, command.argv)
        return Job(job_id, self._process(tuple(answer.rest.split()), command.argv))

    def run(self, command: Command, job_id: str, patience: timedelta, tail: int) -> JobTail:
        """Start it, unless it is there, and wait for it: one trip where it was not there."""
        answer, digest = self._begin(command, job_id, None, (_hundredths(patience), str(tail)))
        if answer.said == "claimed":
            self._again(job_id, digest, command.argv)
            return self.wait(job_id, patience, tail)
        said, _, data = bytes(answer.data or b"").partition(b"\n")
        said = said.removeprefix(f"{answer.word} ".encode())
        if not said.startswith(b"job "):
            return JobTail(JobStatus("absent"))
        return _tail(_found(os.fsdecode(said)), data)

    def _begin(
        self, command: Command, job_id: str, log: str | None, wait: tuple[str, ...] = ()
    ) -> tuple[shell.Answer, str]:
        """Claim the id and start the program; return what is said, and what tells the command from others."""
        far_run.demand_program(command)
        checked_id(job_id)
        become = self._switch(command.user)
        values = far_run.clean(command, self.host, become)
        digest, data = _digest(command, values, log), far_run.stdin_of(command)
        word = f"end-{secrets.token_hex(16)}"
        program = "unset LC_ALL\n" + shell.environment(values) + "umask 022\nexec 3<&-\ncd /\n"
        program += "unset n s o l PWD OLDPWD SHLVL\nexec " + " ".join(map(shell.quote, command.argv))
        arguments = (
            self.folder,
            job_id,
            digest,
            str(len(data)),
            command.argv[0],
            values["PATH"],
            log or "",
            word,
            shell.FROM_THREE,
            become,
            f"{program}\n{word}\n",
            shell.with_common("supervise"),
            "--default-signal=INT,QUIT" if "default-signal" in self.host.identity().tools else "",
            *wait,
        )
        answer = self.host.call("job_start", arguments, data=data, helpers=("wait",))
        if answer.said == "missing":
            raise far_run.missing_program(command.argv[0], self.host.name)
        if answer.said == "fail":
            raise CommandFailedError(f"cannot start job {job_id} on {self.host.name}: {answer.rest}")
        return answer, digest

    def _switch(self, user: str | None) -> str:
        """Return what turns the supervisor, which runs as `become` says, into the program's user."""
        return "" if user is None else self.host.switch(user, self.host.identity())

    def _again(self, job_id: str, digest: str, argv: tuple[str, ...]) -> Job:
        found = self._look(job_id)
        if found is None or not found.claim or not found.record:
            raise RefusedError(
                f"job {job_id} was claimed on {self.host.name}, but nothing says whether it ever started",
                hint="kill it first: that proves it dead",
            )
        if found.claim != digest:
            raise RefusedError(f"the id {job_id} belongs to another command on {self.host.name}")
        return Job(job_id, self._process(found.record, ()))

    def _process(self, record: tuple[str, ...], argv: tuple[str, ...]) -> ProcessInfo:
        pid, start, boot = int(record[0]), int(record[1]), record[2]
        found = self.host.process(pid) if pid else None
        if found is not None and found.start_time == start:
            return found
        return ProcessInfo(pid, start, boot, "", argv)  # over already

    def _look(self, job_id: str) -> _Found | None:
        arguments = (f"{self.folder}/{checked_id(job_id)}",)
        answer = self.host.call("job_status", arguments, helpers=("wait",))
        return None if answer.said == "absent" else _found(answer.rest)

    def status(self, job_id: str) -> JobStatus:
        """Say what became of a job; only reads."""
        deadline = time.monotonic() + SETTLE
        while True:
            found = self._look(job_id)
            if found is None:
                return JobStatus("absent")
            if found.code is not None:
                return JobStatus("exited", found.code)
            if not found.record:
                return JobStatus("unknown")
            if found.lives:
                return JobStatus("running", process=self._process(found.record, ()))
            if not found.watched:
                again = self._look(job_id)  # it may have been written between the looks
                code = again.code if again is not None else None
                return JobStatus("lost") if code is None else JobStatus("exited", code)
            if time.monotonic() > deadline:
                return JobStatus("running")  # ended, but its supervisor cannot write the exit code
            time.sleep(_POLL)

    def wait(self, job_id: str, patience: timedelta, tail: int) -> JobTail:
        """Return when the job runs no more or the patience is over: one trip, the waiting is done there."""
        arguments = (f"{self.folder}/{checked_id(job_id)}", _hundredths(patience), str(tail))
        answer = self.host.call("job_wait", arguments, helpers=("wait",))
        if answer.said == "absent":
            return JobTail(JobStatus("absent"))
        return _tail(_found(answer.rest), bytes(answer.data or b""))

    def output(
        self, job_id: str, stream: Literal["stdout", "stderr"], offset: int, limit: int | None
    ) -> bytes:
        """Return what the job has printed from that byte on, `limit` bytes at most."""
        path = f"{self.folder}/{checked_id(job_id)}/{stream}"
        arguments = (path, str(offset), "" if limit is None else str(limit))
        answer = self.host.call("job_output", arguments)
        if answer.said != "ok":
            raise RegctlError(f"cannot read {path} on {self.host.name}: {answer.rest}")
        return bytes(answer.data or b"")

    def kill(self, job_id: str, grace: timedelta) -> None:
        """TERM everything in the job's session, KILL it after the grace; return when it is proved dead."""
        path = f"{self.folder}/{checked_id(job_id)}"
        arguments = (path, str(int(grace.total_seconds() * 100)), str(int(UNKILLABLE * 100)))
        answer = self.host.call("job_kill", arguments)
        if answer.said == "stuck":
            raise unkillable(job_id, self.host.name, ", ".join(answer.rest.split()))
        if answer.said == "fail":
            raise RegctlError(f"cannot end job {job_id} on {self.host.name}: {answer.rest}")

    def forget(self, job_id: str) -> None:
        """Delete a job's files. RefusedError while it runs, or while nobody knows whether it does."""
        deadline = time.monotonic() + SETTLE
        while (answer := self._forgotten(job_id)).said == "busy":
            state = self.status(job_id).state
            if state in ("running", "unknown") or time.monotonic() > deadline:
                raise RefusedError(f"job {job_id} on {self.host.name} is {state}: its files stay")
        if answer.said != "ok":
            raise RegctlError(f"cannot remove job {job_id} on {self.host.name}: {answer.rest}")

    def _forgotten(self, job_id: str) -> shell.Answer:
        return self.host.call("job_forget", (self.folder, checked_id(job_id)), helpers=("wait",))


def _hundredths(time: timedelta) -> str:
    return str(int(time.total_seconds() * 100))


def _tail(found: _Found, data: bytes) -> JobTail:
    """Read what job_wait sends after its first line."""
    if not found.record:
        return JobTail(JobStatus("unknown"))
    if found.code is None and (found.lives or found.watched):
        return JobTail(JobStatus("running"))
    status = JobStatus("lost") if found.code is None else JobStatus("exited", found.code)
    parts: list[tuple[bytes, int]] = []
    for _ in range(2):
        line, _, data = data.partition(b"\n")
        size, count = (int(number) for number in line.split())
        parts.append((data[:count], size))
        data = data[count:]
    (stdout, printed), (stderr, complained) = parts
    return JobTail(status, stdout, stderr, printed, complained)


def _found(text: str) -> _Found:
    """Read what job_status and job_wait say."""
    said = {}
    for key in ("code", "watched", "lives", "record", "claim"):
        text, _, said[key] = text.rpartition(f"{key}=")
    code = said["code"].strip()
    return _Found(
        claim=said["claim"].strip(),
        record=tuple(said["record"].split()),
        lives=said["lives"].strip() == "1",
        watched=said["watched"].strip() == "1",
        code=_exit_code(int(code)) if code else None,
    )


def _exit_code(code: int) -> int:
    return _SIGNALLED - code if code > _SIGNALLED else code


def _digest(command: Command, values: dict[str, str], log: str | None) -> str:
    parts = (*command.argv, "", *sorted(f"{k}={v}" for k, v in values.items()), "", log or "")
    return hashlib.sha256(os.fsencode("\0".join((*parts, command.user or "")))).hexdigest()
