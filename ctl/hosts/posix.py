"""A host that has a POSIX shell and nothing of ours: every verb is one small script of posix/.

The scripts need /bin/sh and what every Linux has beside it (GNU or BusyBox: stat, readlink, find, mv, sync,
setsid, head, tail). Seen with dash 0.5.12, bash 5.2 and BusyBox 1.35 as /bin/sh.
"""

from __future__ import annotations

import errno
import os
import re
import stat as modes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, NoReturn

from ctl.errors import CommandFailedError, RefusedError, RegctlError, UsageError
from ctl.hosts import files, shell
from ctl.hosts.base import Command, FileInfo, Job, JobStatus, JobTail, LineSink, Look, ProcessInfo, Result
from ctl.hosts.far_jobs import FarJobs
from ctl.hosts.far_run import Running
from ctl.hosts.processes import listens
from ctl.hosts.programs import OUTPUT_LIMIT, SEARCH_PATH

if TYPE_CHECKING:
    from ctl.hosts.streams import HostStream

_ERRNO = {os.strerror(number): number for number in errno.errorcode}
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?\Z")


@dataclass(frozen=True)
class Identity:
    """Whom the scripts run as over there, and what there is to work with."""

    uid: int
    user: str
    home: str
    system: str
    tools: frozenset[str]


class PosixHost:
    """A machine behind a shell. Jobs keep their files below `jobs_dir` over there.

    `become` is the user whose rights are needed, through `sudo -n`; "" is whoever the shell belongs to.
    """

    def __init__(
        self, name: str, over: shell.Shell, jobs_dir: str, become: str = "", search_path: str = SEARCH_PATH
    ) -> None:
        self.name = name
        self.shell = over
        self.search_path = search_path
        self.become = become
        self._jobs = FarJobs(self, jobs_dir)
        self._identities: dict[str, Identity] = {}
        self._numbers: dict[str, list[str]] = {}  # uid and gid of users over there

    # -- scripts ----------------------------------------------------------------------------------

    def prefix(self, user: str | None) -> str:
        """Return what must stand before a shell on the line, so that it runs as this user."""
        wanted = user or self.become
        if wanted and not _USER.match(wanted):
            raise UsageError(f"{wanted!r} is no user's name", hint="correct it in the site file")
        if not wanted:
            return ""
        return self.switch(wanted, self.identity(""), become="")

    def switch(self, user: str, ours: Identity, become: str | None = None) -> str:
        """Return what turns a shell of `ours` into one of this user; `become` is how to ask about it."""
        if ours.user == user:
            return ""
        if ours.uid != 0 or "setpriv" not in ours.tools:
            return f"sudo -n -u {user} --"
        if user not in self._numbers:  # asked once: every verb begins with this
            answer = self.call("user", (user,), become=become)
            if answer.said != "ok":
                raise UsageError(
                    f"there is no user {user!r} on {self.name}", hint="correct `user` in the site file"
                )
            self._numbers[user] = answer.rest.split()
        uid, gid = self._numbers[user]
        return f"setpriv --reuid={uid} --regid={gid} --init-groups --"

    def identity(self, user: str | None = None) -> Identity:
        """Ask who we are there as this user (None: as `become` says); asked once.

        RefusedError where we may not become that user, CommandFailedError where there is no POSIX shell.
        """
        wanted = (user or self.become) if user != "" else ""
        if wanted not in self._identities:
            hostile = "'\"\\$`!\n\t *~é\x81\x88\xff".encode("latin-1").decode("utf-8", "surrogateescape")
            answer = self.call("whoami", (hostile,), become=self.prefix(wanted) if wanted else "")
            uid, user_name, home, system, echoed, tools = os.fsdecode(bytes(answer.data or b"")).split("\0")
            if echoed != hostile:
                raise CommandFailedError(f"the shell on {self.name} changes what it is given")
            self._identities[wanted] = Identity(int(uid), user_name, home, system, frozenset(tools.split()))
        return self._identities[wanted]

    def call(
        self,
        name: str,
        arguments: Sequence[str] = (),
        *,
        data: bytes = b"",
        become: str | None = None,
        helpers: tuple[str, ...] = (),
    ) -> shell.Answer:
        """Run a script of posix/ and return its answer; RefusedError and RegctlError as it says.

        An answer that begins with `fail` is left to the caller, which knows what was tried.
        """
        prefix = self.prefix(None) if become is None else become
        call = shell.prepared(
            (*helpers, name), tuple(arguments), become=prefix, search_path=self.search_path, data=data
        )
        answer, kept, errors = shell.Answer(call.word), bytearray(), bytearray()

        def sink(stream: shell.Stream, chunk: bytes) -> None:
            if stream == "stderr":
                errors.extend(chunk[-4096:])
                return
            kept.extend(answer.feed(chunk))
            if len(kept) > OUTPUT_LIMIT:
                raise CommandFailedError(f"{self.name} sent more than {OUTPUT_LIMIT // 2**20} MiB")

        code = self.shell.call(call.line, call.stdin, sink, lambda: None)
        answer.data = kept
        if not answer.said:
            self.demand_become(prefix, bytes(errors))
            raise shell.no_answer(self.name, code, bytes(errors), answer.before)
        if answer.said == "refused":
            raise RefusedError(answer.rest)
        if code != 0:  # what came is not the whole answer
            last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise RegctlError(
                f"{name} was cut short on {self.name} (exit code {code}): {last or 'no reason'}"
            )
        return answer

    def demand_become(self, prefix: str, errors: bytes) -> None:
        """Raise RefusedError where the shell did not come up because sudo let us not."""
        if prefix.startswith("sudo"):
            user = prefix.split()[3]
            raise RefusedError(
                f"cannot become {user} on {self.name}: {errors.decode('utf-8', 'replace').strip()[-300:]}",
                hint=f"let the login user run anything as {user} by sudo without a password",
            )

    # -- programs ---------------------------------------------------------------------------------

    def run(self, command: Command, on_line: LineSink | None = None) -> Result:
        """Run to the end. A non-zero exit is a Result; a program that is missing is an error."""
        return Running(self, command, on_line).run()

    def open_stream(self, script: str) -> HostStream:
        """Run a script, its stdin and stdout in the caller's hands; see `ctl.hosts.streams`."""
        from ctl.hosts.streams import open_stream

        return open_stream(self, script)

    def start(self, command: Command, job_id: str, log: str | None = None) -> Job:
        """Start detached, in its own session, output in files. The same id is never started twice."""
        return self._jobs.start(command, job_id, log)

    def job(self, job_id: str) -> JobStatus:
        """Say what became of a job; only reads."""
        return self._jobs.status(job_id)

    def job_output(
        self, job_id: str, stream: Literal["stdout", "stderr"], offset: int = 0, limit: int | None = None
    ) -> bytes:
        """Return what the job has printed from that byte on, `limit` bytes at most; only reads."""
        return self._jobs.output(job_id, stream, offset, limit)

    def run_job(self, command: Command, job_id: str, patience: timedelta, tail: int) -> JobTail:
        """Start it, then wait for it."""
        return self._jobs.run(command, job_id, patience, tail)

    def wait_job(self, job_id: str, patience: timedelta, tail: int) -> JobTail:
        """Return when the job runs no more, or when the patience is over; only reads."""
        return self._jobs.wait(job_id, patience, tail)

    def kill_job(self, job_id: str, grace: timedelta) -> None:
        """TERM the job's whole session, KILL it after the grace; return when it is proved dead."""
        self._jobs.kill(job_id, grace)

    def forget_job(self, job_id: str) -> None:
        """Delete the files of a job that is not running."""
        self._jobs.forget(job_id)

    # -- files ------------------------------------------------------------------------------------

    def read(self, path: str) -> bytes:
        """Return a file's bytes; FileNotFoundError if it is not there."""
        answer = self.call("read", (path,))
        if answer.said != "ok":
            self._failed(answer, "read", path)
        return bytes(answer.data or b"")

    def stat(self, path: str) -> FileInfo | None:
        """Describe a path, or None if it is not there."""
        found = self._stat(path)
        return None if found is None else found.info

    def look(self, path: str, limit: int) -> Look | None:
        """Describe a path and read it in one trip."""
        return self._stat(path, str(limit))

    def _stat(self, path: str, limit: str = "") -> Look | None:
        answer = self.call("stat", (path, limit))
        if answer.said == "missing":
            return None
        if answer.said != "ok":
            self._failed(answer, "look at", path)
        mode, size, seconds, uid, gid, user, group, _, clock, *_ = answer.rest.split(" ")
        bits = int(mode, 16)
        info = FileInfo(
            kind=files.kind(bits),
            size=int(size),
            mode=modes.S_IMODE(bits),
            owner=user if user != "UNKNOWN" else uid,
            group=group if group != "UNKNOWN" else gid,
            mtime=float(f"{seconds}.{clock.partition('.')[2] or '0'}"),
        )
        data = bytes(answer.data or b"")
        whole = bool(limit) and info.kind == "file" and len(data) == info.size <= int(limit)
        return Look(info, data if whole else None)

    def list_directory(self, path: str) -> list[str]:
        """Return the names in a directory, sorted; FileNotFoundError if it is not there."""
        answer = self.call("list", (path,))
        if answer.said != "ok":
            self._failed(answer, "list", path)
        return sorted(os.fsdecode(name) for name in bytes(answer.data or b"").split(b"\0")[:-1])

    def write(
        self, path: str, data: bytes, *, mode: int, owner: str | None = None, group: str | None = None
    ) -> None:
        """Replace a file atomically; owner and group stay as they were unless given."""
        arguments = (path, f"{mode:04o}", owner or "", group or "", str(len(data)))
        answer = self.call("write", arguments, data=data)
        if answer.said == "nobody":
            raise UsageError(f"no such user or group on {self.name}: {owner or '-'}:{group or '-'}")
        if answer.said != "ok":
            self._failed(answer, "write", path, missing=False)

    def remove(self, path: str) -> None:
        """Delete a file; nothing happens if it is not there."""
        answer = self.call("remove", (path,))
        if answer.said != "ok":
            self._failed(answer, "remove", path)

    def make_directory(
        self, path: str, *, mode: int, owner: str | None = None, group: str | None = None
    ) -> None:
        """Create a directory and its parents where they are missing."""
        answer = self.call("make_directory", (path, f"{mode:04o}", owner or "", group or ""))
        if answer.said != "ok":
            self._failed(answer, "create", path)

    def _failed(self, answer: shell.Answer, doing: str, path: str, *, missing: bool = True) -> NoReturn:
        number = _ERRNO.get(answer.rest, 0)
        if number == errno.ENOENT and missing:
            raise FileNotFoundError(number, answer.rest, path)
        error = files.failure(OSError(number, answer.rest), doing, path)
        raise RegctlError(f"{error.message} (on {self.name})", hint=error.hint)

    # -- processes --------------------------------------------------------------------------------

    def processes(self) -> Iterable[ProcessInfo]:
        """List the live processes."""
        return self._processes(())

    def process(self, pid: int) -> ProcessInfo | None:
        """Describe one live process, or None."""
        return next(iter(self._processes((str(pid),))), None)

    def _processes(self, pids: Sequence[str]) -> list[ProcessInfo]:
        answer = self.call("processes", pids)
        parts = bytes(answer.data or b"").split(answer.word.encode())[1:]
        lines, programs = ({}, {}) if pids else (_by_pid(parts.pop(0)), _by_pid(parts.pop(0)))
        found = []
        for numbers, user, executable, line in zip(*(parts[i::4] for i in range(4)), strict=False):
            pid, start = numbers.split()
            if not pids:
                executable = b"".join(programs.get(pid, []))
            words = line.split(b"\0")[:-1] if pids else lines.get(pid, [])
            found.append(
                ProcessInfo(
                    pid=int(pid),
                    start_time=int(start),
                    boot_id=answer.rest,
                    user=os.fsdecode(user),
                    argv=tuple(map(os.fsdecode, words)),
                    executable=os.fsdecode(executable.removesuffix(b"\n")).removesuffix(" (deleted)"),
                )
            )
        return found

    def signal(self, process: ProcessInfo, number: int, *, group: bool = False) -> bool:
        """Signal exactly that process (pid and start time must still match); False if it is gone."""
        whole = "whole-group" if group else ""
        arguments = (str(process.pid), str(process.start_time), process.boot_id, str(int(number)), whole)
        answer = self.call("signal", arguments)
        if answer.said == "fail":
            raise RefusedError(f"cannot signal process {process.pid} on {self.name}: {answer.rest}")
        return answer.said == "sent"

    def listening(self, port: int) -> bool:
        """Say whether anything on the host listens on this TCP port."""
        answer = self.call("listening")
        return listens(bytes(answer.data or b"").decode("ascii", "replace"), port)


def _by_pid(records: bytes) -> dict[bytes, list[bytes]]:
    """Sort records of the form PID/file:TEXT, each ended by a NUL, by their process.

    A process cannot write such a record for another one: what it holds ends at each NUL.
    """
    found: dict[bytes, list[bytes]] = {}
    for record in records.split(b"\0")[:-1]:
        name, _, text = record.partition(b":")
        found.setdefault(name.partition(b"/")[0], []).append(text)
    return found
