"""A machine in memory: files, processes, jobs. Programs are functions that a test gives."""

from __future__ import annotations

import posixpath
import signal as signals
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from ctl.errors import CommandFailedError, RefusedError, RegctlError, UsageError
from ctl.hosts.base import Command, FileInfo, Job, JobStatus, JobTail, LineSink, Look, ProcessInfo, Result
from ctl.hosts.job_waiting import wait_job
from ctl.hosts.jobs import checked_id
from ctl.hosts.looking import look

FOREVER = float("inf")


@dataclass(frozen=True)
class Script:
    """What a program does: how long it runs, what it prints and how it ends."""

    exit_code: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    seconds: float = 0.0  # FOREVER: until it gets a signal
    obeys_term: bool = True
    listens: int | None = None  # a TCP port, while it lives


Program = Callable[[Command], Script]


@dataclass
class _File:
    info: FileInfo
    data: bytes = b""


@dataclass
class _Process:
    info: ProcessInfo
    script: Script
    began: float
    ended: int | None = None  # exit code


@dataclass
class _Job:
    command: Command
    process: _Process | None = None  # None: claimed, and nothing says whether it started
    lost: bool = False
    log: str | None = None


@dataclass
class MemoryHost:
    """A machine in memory. `programs` maps argv[0] to what it does; `clock` tells its time in seconds."""

    name: str = "memory"
    programs: dict[str, Program] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    user: str = "root"
    ports: set[int] = field(default_factory=set)  # where something else listens
    full: bool = False  # no room left: every write fails

    def __post_init__(self) -> None:
        self._files: dict[str, _File] = {"/": self._made("directory", 0o755)}
        self._processes: dict[int, _Process] = {}
        self._jobs: dict[str, _Job] = {}
        self._last_pid = 100

    def run(self, command: Command, on_line: LineSink | None = None) -> Result:
        """Run to the end: what the program's script says, cut off by the timeout."""
        script = self._script(command)
        limit = command.timeout.total_seconds() if command.timeout is not None else FOREVER
        late = script.seconds > limit
        if late:
            number = signals.SIGTERM if script.obeys_term else signals.SIGKILL
            script = replace(script, exit_code=-int(number))
        elif script.seconds == FOREVER:
            raise AssertionError(f"{command.argv[0]} would run for ever")
        if on_line is not None:
            streams: tuple[tuple[Literal["stdout", "stderr"], bytes], ...] = (
                ("stdout", script.stdout),
                ("stderr", script.stderr),
            )
            for stream, data in streams:
                for line in data.removesuffix(b"\n").split(b"\n") if data else ():
                    on_line(stream, line.decode("utf-8", "replace"))
        seconds = min(script.seconds, limit)
        return Result(script.exit_code, script.stdout, script.stderr, seconds, late)

    def _script(self, command: Command) -> Script:
        if not command.argv or not command.argv[0]:
            raise UsageError("a command without a program cannot be run")
        if any("\0" in text for text in (*command.argv, *command.env, *command.env.values())):
            raise UsageError(f"an argument or variable for {command.argv[0]} holds a NUL byte")
        program = self.programs.get(command.argv[0])
        if program is None:
            raise CommandFailedError(f"cannot run {command.argv[0]} on {self.name}: no such program")
        return program(command)

    def spawn(self, argv: tuple[str, ...], script: Script, user: str | None = None) -> ProcessInfo:
        """Put a live process on the machine, as if somebody had started it by hand."""
        return self._spawn(argv, script, user).info

    def _spawn(self, argv: tuple[str, ...], script: Script, user: str | None) -> _Process:
        self._last_pid += 1
        ticks = int(self.clock() * 100)
        info = ProcessInfo(self._last_pid, ticks, "memory", user or self.user, argv, argv[0])
        self._processes[info.pid] = _Process(info, script, self.clock())
        return self._processes[info.pid]

    def _alive(self, process: _Process) -> bool:
        if process.ended is None and self.clock() - process.began >= process.script.seconds:
            process.ended = process.script.exit_code
        return process.ended is None

    def start(self, command: Command, job_id: str, log: str | None = None) -> Job:
        """Start detached; asked again for the same command and id, return the job that is there."""
        checked_id(job_id)
        known = self._jobs.get(job_id)
        if known is not None:
            if known.process is None:
                raise RefusedError(f"job {job_id} was claimed, but nothing says whether it ever started")
            if (known.command, known.log) != (command, log):
                raise RefusedError(f"the id {job_id} belongs to another command on {self.name}")
            return Job(job_id, known.process.info)
        script = self._script(command)
        process = self._spawn(command.argv, script, command.user)
        self._jobs[job_id] = _Job(command, process, log=log)
        if log is not None:
            before = self._files[log].data if log in self._files else b""
            self.write(log, before + script.stdout + script.stderr, mode=0o640)
        return Job(job_id, process.info)

    def claim_only(self, job_id: str) -> None:
        """Leave a job as a controller does that died between claiming and starting."""
        self._jobs[checked_id(job_id)] = _Job(Command(("?",)))

    def lose(self, job_id: str) -> None:
        """Kill a job and its supervisor, so that no exit code is left."""
        job = self._jobs[job_id]
        job.lost = True
        if job.process is not None:
            job.process.ended = -int(signals.SIGKILL)

    def job(self, job_id: str) -> JobStatus:
        """Say what became of a job."""
        job = self._jobs.get(checked_id(job_id))
        if job is None:
            return JobStatus("absent")
        if job.lost:
            return JobStatus("lost")
        if job.process is None:
            return JobStatus("unknown")
        if self._alive(job.process):
            return JobStatus("running", process=job.process.info)
        return JobStatus("exited", job.process.ended)

    def job_output(
        self, job_id: str, stream: Literal["stdout", "stderr"], offset: int = 0, limit: int | None = None
    ) -> bytes:
        """Return what the job has printed from that byte on, `limit` bytes at most."""
        job = self._jobs.get(checked_id(job_id))
        if job is None or job.process is None or job.log is not None:
            return b""
        script = job.process.script
        printed = (script.stdout if stream == "stdout" else script.stderr)[offset:]
        return printed if limit is None else printed[:limit]

    def run_job(self, command: Command, job_id: str, patience: timedelta, tail: int) -> JobTail:
        """Start it, then wait for it."""
        self.start(command, job_id)
        return wait_job(self, job_id, patience, tail)

    def wait_job(self, job_id: str, patience: timedelta, tail: int) -> JobTail:
        """Return when the job runs no more, or when the patience is over."""
        return wait_job(self, job_id, patience, tail)

    def kill_job(self, job_id: str, grace: timedelta) -> None:
        """End a job; one that was only claimed never starts."""
        job = self._jobs.get(checked_id(job_id))
        if job is None:
            return
        if job.process is None:
            job.lost = True
        elif self._alive(job.process):
            gentle = job.process.script.obeys_term and grace > timedelta(0)
            job.process.ended = -int(signals.SIGTERM if gentle else signals.SIGKILL)

    def forget_job(self, job_id: str) -> None:
        """Delete what is known of a job that is not running."""
        state = self.job(job_id).state
        if state in ("running", "unknown"):
            raise RefusedError(f"job {job_id} on {self.name} is {state}: its files stay")
        self._jobs.pop(job_id, None)

    def _made(self, kind: Literal["file", "directory"], mode: int, size: int = 0) -> _File:
        return _File(FileInfo(kind, size, mode, self.user, self.user, self.clock()))

    def read(self, path: str) -> bytes:
        """Return a file's bytes; FileNotFoundError if it is not there."""
        found = self._files.get(path)
        if found is None:
            raise FileNotFoundError(path)
        if found.info.kind != "file":
            raise RegctlError(f"cannot read {path}: not a regular file")
        return found.data

    def stat(self, path: str) -> FileInfo | None:
        """Describe a path, or None if it is not there."""
        found = self._files.get(path)
        return found.info if found else None

    def look(self, path: str, limit: int) -> Look | None:
        """Describe a path and read it, if it is no longer than `limit`."""
        return look(self, path, limit)

    def list_directory(self, path: str) -> list[str]:
        """Return the names in a directory, sorted; FileNotFoundError if it is not there."""
        found = self._files.get(path)
        if found is None:
            raise FileNotFoundError(path)
        if found.info.kind != "directory":
            raise RegctlError(f"cannot list {path}: Not a directory")
        inside = (name for name in self._files if name != "/" and posixpath.dirname(name) == path)
        return sorted(posixpath.basename(name) for name in inside)

    def write(
        self, path: str, data: bytes, *, mode: int, owner: str | None = None, group: str | None = None
    ) -> None:
        """Replace a file; owner and group stay as they were unless given."""
        parent, before = self._files.get(posixpath.dirname(path)), self._files.get(path)
        if before is not None and before.info.kind != "file":
            raise RefusedError(f"{path} is a {before.info.kind}, not a file: not replaced")
        if parent is None or parent.info.kind != "directory":
            raise RegctlError(f"cannot write {path}: No such file or directory")
        if self.full:
            raise RegctlError(f"cannot write {path}: No space left on device", hint="make room")
        kept = before or self._made("file", mode)
        info = FileInfo(
            "file", len(data), mode, owner or kept.info.owner, group or kept.info.group, self.clock()
        )
        self._files[path] = _File(info, bytes(data))

    def remove(self, path: str) -> None:
        """Delete a file; nothing happens if it is not there."""
        found = self._files.get(path)
        if found is not None and found.info.kind == "directory":
            raise RegctlError(f"cannot remove {path}: Is a directory")
        self._files.pop(path, None)

    def make_directory(
        self, path: str, *, mode: int, owner: str | None = None, group: str | None = None
    ) -> None:
        """Create a directory and its parents where they are missing."""
        found = self._files.get(path)
        if found is not None:
            if found.info.kind != "directory":
                raise RefusedError(f"{path} is there and is not a directory")
            return
        self.make_directory(posixpath.dirname(path), mode=0o755)
        made = self._made("directory", mode)
        made.info = replace(made.info, owner=owner or self.user, group=group or self.user)
        self._files[path] = made

    def processes(self) -> Iterable[ProcessInfo]:
        """List the live processes."""
        return [item.info for item in self._processes.values() if self._alive(item)]

    def process(self, pid: int) -> ProcessInfo | None:
        """Describe one live process, or None."""
        found = self._processes.get(pid)
        return found.info if found is not None and self._alive(found) else None

    def signal(self, process: ProcessInfo, number: int, *, group: bool = False) -> bool:
        """Send a signal to exactly that process; False if it is gone."""
        found = self._processes.get(process.pid)
        if found is None or not self._alive(found) or found.info != process:
            return False
        if number == signals.SIGKILL or (number == signals.SIGTERM and found.script.obeys_term):
            found.ended = -number
        return True

    def listening(self, port: int) -> bool:
        """Say whether anything on the host listens on this TCP port."""
        live = (item for item in self._processes.values() if self._alive(item))
        return port in self.ports or any(item.script.listens == port for item in live)
