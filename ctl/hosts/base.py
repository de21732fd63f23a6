"""What a host can do for its callers: commands as values, files written atomically, detached jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, Protocol

from ctl.secret import Secret

LineSink = Callable[[Literal["stdout", "stderr"], str], None]


@dataclass(frozen=True)
class Command:
    """A program call as a value; never a shell line. Secrets travel by `stdin`, never in `argv` or `env`."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)  # laid over a scrubbed environment
    stdin: bytes | Secret = b""
    user: str | None = None  # run as this user; None: as ourselves
    timeout: timedelta | None = None  # on expiry the whole process group is killed


@dataclass(frozen=True)
class Result:
    """How a command ended. A negative `exit_code` is the number of the signal that ended it."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False


@dataclass(frozen=True)
class FileInfo:
    """What stat says of a path (a symbolic link is not followed). Sizes in bytes, times in seconds."""

    kind: Literal["file", "directory", "symlink", "other"]
    size: int
    mode: int  # permission bits only
    owner: str
    group: str
    mtime: float


@dataclass(frozen=True)
class Look:
    """What a path is, and its bytes; None of anything but a plain file that we may read, within the limit."""

    info: FileInfo
    data: bytes | None


@dataclass(frozen=True)
class ProcessInfo:
    """A live process (a zombie is dead). pid, start_time and boot_id together name it for ever.

    Two are equal if these three are: what a process calls itself may change.
    """

    pid: int
    start_time: int  # clock ticks since boot, /proc/PID/stat field 22
    boot_id: str
    user: str = field(compare=False)
    argv: tuple[str, ...] = field(compare=False)
    executable: str = field(default="", compare=False)  # the file it runs; "" where we may not know


@dataclass(frozen=True)
class Job:
    """A detached process group on a host, found again by the id that the controller chose."""

    id: str
    process: ProcessInfo


JobState = Literal["running", "exited", "lost", "unknown", "absent"]
# lost: claimed and started, proved dead, and no exit code was recorded
# unknown: claimed, but nothing says whether it ever started
# absent: no such job was ever claimed here


@dataclass(frozen=True)
class JobStatus:
    """What is known of a job now; `exit_code` only when `state` is "exited"."""

    state: JobState
    exit_code: int | None = None
    process: ProcessInfo | None = None


@dataclass(frozen=True)
class JobTail:
    """A job, and where it runs no more the last bytes of what it printed, and how many there are in all."""

    status: JobStatus
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_bytes: int = 0
    stderr_bytes: int = 0


class Host(Protocol):
    """A machine. Every error of the library behind it arrives as a `RegctlError`."""

    name: str

    def run(self, command: Command, on_line: LineSink | None = None) -> Result:
        """Run to the end. A non-zero exit is a Result; a program that is missing is an error."""
        ...

    def start(self, command: Command, job_id: str, log: str | None = None) -> Job:
        """Start detached, in its own session, output in files. The same id is never started twice.

        A job has no time limit: whoever started it looks after it, and kills it where it must end.
        Asked again for the same command under the same id, it returns the job that is already there.
        With `log`, both streams are appended to that file instead, and `job_output` has nothing.
        """
        ...

    def job(self, job_id: str) -> JobStatus:
        """Say what became of a job; only reads."""
        ...

    def job_output(
        self, job_id: str, stream: Literal["stdout", "stderr"], offset: int = 0, limit: int | None = None
    ) -> bytes:
        """Return what the job has printed from that byte on, `limit` bytes at most; only reads."""
        ...

    def run_job(self, command: Command, job_id: str, patience: timedelta, tail: int) -> JobTail:
        """Do what `start` does, then what `wait_job` does, in as few trips as the way there allows."""
        ...

    def wait_job(self, job_id: str, patience: timedelta, tail: int) -> JobTail:
        """Return when the job runs no more, or when the patience is over; only reads.

        Of one that has ended the last `tail` bytes of each stream come with it.
        """
        ...

    def kill_job(self, job_id: str, grace: timedelta) -> None:
        """TERM the job's whole process group, KILL it after the grace; return when it is proved dead."""
        ...

    def forget_job(self, job_id: str) -> None:
        """Delete the files of a job that is not running."""
        ...

    def read(self, path: str) -> bytes:
        """Return a file's bytes; FileNotFoundError if it is not there."""
        ...

    def stat(self, path: str) -> FileInfo | None:
        """Describe a path, or None if it is not there."""
        ...

    def look(self, path: str, limit: int) -> Look | None:
        """Describe a path and read it in one go, if it is no longer than `limit`; None if it is not there."""
        ...

    def list_directory(self, path: str) -> list[str]:
        """Return the names in a directory, sorted; FileNotFoundError if it is not there."""
        ...

    def write(
        self, path: str, data: bytes, *, mode: int, owner: str | None = None, group: str | None = None
    ) -> None:
        """Replace a file atomically and for good; owner and group stay as they were unless given."""
        ...

    def remove(self, path: str) -> None:
        """Delete a file; nothing happens if it is not there."""
        ...

    def make_directory(
        self, path: str, *, mode: int, owner: str | None = None, group: str | None = None
    ) -> None:
        """Create a directory and its parents where they are missing."""
        ...

    def processes(self) -> Iterable[ProcessInfo]:
        """List the live processes."""
        ...

    def process(self, pid: int) -> ProcessInfo | None:
        """Describe one live process, or None."""
        ...

    def signal(self, process: ProcessInfo, number: int, *, group: bool = False) -> bool:
        """Signal exactly that process (pid and start time must still match); False if it is gone."""
        ...

    def listening(self, port: int) -> bool:
        """Say whether anything on the host listens on this TCP port."""
        ...
