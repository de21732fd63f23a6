"""Programs run to their end: scrubbed environment, own session, bounded output, deadlines kept."""

from __future__ import annotations

import os
import pwd
import select
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Literal

from ctl.errors import CommandFailedError, RefusedError, UsageError
from ctl.hosts.base import Command, LineSink, Result
from ctl.secret import Secret

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_LIMIT = 64 * 1024 * 1024  # bytes of both streams together; a collector's is about 8 MB
TERM_GRACE = 5.0  # seconds between TERM and KILL once a command's time is up
LINGER = 2.0  # seconds that we go on reading after the program ended while a child of it holds the pipe
_CHUNK = 65536

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True)
class Identity:
    """Whom a child runs as; `uid` None means as ourselves."""

    uid: int | None
    gid: int | None
    groups: tuple[int, ...]
    home: str


@dataclass(frozen=True)
class Prepared:
    """A command, checked and ready to be executed on this host."""

    executable: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    identity: Identity
    stdin: bytes


def identity(user: str | None) -> Identity:
    """Find out whom to run as.

    Raises RefusedError where we may not become that user, UsageError where there is no such user.
    """
    ours = os.geteuid()
    try:
        me = pwd.getpwuid(ours)
    except KeyError:
        me = None
    if user is None:
        return Identity(None, None, (), me.pw_dir if me else "/")
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise UsageError(
            f"there is no user {user!r} on this host", hint="correct `user` in the site file"
        ) from error
    if entry.pw_uid == ours:
        return Identity(None, None, (), entry.pw_dir)
    if ours != 0:
        raise RefusedError(
            f"cannot run as {user!r}: only root may become another user",
            hint=f"run regctl as root or as {user}",
        )
    groups = tuple(os.getgrouplist(user, entry.pw_gid))
    return Identity(entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def prepare(command: Command, host: str, search_path: str = SEARCH_PATH) -> Prepared:
    """Check a command and lay its environment over the scrubbed one; starts nothing.

    Raises CommandFailedError where the program is missing, UsageError where the command cannot be.
    """
    if not command.argv or not command.argv[0]:
        raise UsageError("a command without a program cannot be run")
    who = identity(command.user)
    env = {"PATH": search_path, "LANG": "C.UTF-8", "HOME": who.home, **command.env}
    if any("\0" in text for text in (*command.argv, *env, *env.values())):
        raise UsageError(f"an argument or variable for {command.argv[0]} holds a NUL byte")
    if any(not key or "=" in key for key in env):
        raise UsageError(f"a variable for {command.argv[0]} has no proper name")
    found = shutil.which(command.argv[0], mode=os.F_OK | os.X_OK, path=env["PATH"])
    if found is None:
        raise _cannot(command.argv[0], host, "no such program, or not executable")
    given = command.stdin
    stdin = given.reveal().encode() if isinstance(given, Secret) else given
    return Prepared(os.path.abspath(found), command.argv, env, who, stdin)


def _cannot(program: str, host: str, reason: str) -> CommandFailedError:
    return CommandFailedError(
        f"cannot run {program} on {host}: {reason}",
        hint="install it there, or correct its path in the site file",
    )


def stdin_file(data: bytes) -> int:
    """Return a descriptor that reads these bytes from memory: no pipe to block on, nothing on disk."""
    if not data:
        return os.open("/dev/null", os.O_RDONLY)
    handle = os.memfd_create("stdin")
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def spawn(prepared: Prepared, host: str) -> subprocess.Popen[bytes]:
    """Start it in a session of its own, so that no terminal and no Ctrl-C of ours reaches it."""
    who = prepared.identity
    stdin = stdin_file(prepared.stdin)
    try:
        return subprocess.Popen(
            prepared.argv,
            executable=prepared.executable,
            env=dict(prepared.env),
            cwd="/",
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            umask=0o022,
            user=who.uid,
            group=who.gid,
            extra_groups=who.groups if who.uid is not None else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise _cannot(prepared.argv[0], host, reason) from error
    finally:
        os.close(stdin)


@dataclass
class Reader:
    """Collects both streams, hands out whole lines as they come."""

    on_line: LineSink | None
    kept: dict[Stream, bytearray] = field(
        default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()}
    )
    shown: dict[Stream, int] = field(default_factory=lambda: {"stdout": 0, "stderr": 0})

    def feed(self, stream: Stream, data: bytes) -> None:
        """Keep what came, and hand out the lines that it ends."""
        buffer = self.kept[stream]
        searched = len(buffer)
        buffer += data
        if self.on_line is None:
            return
        while (end := buffer.find(b"\n", max(searched, self.shown[stream]))) >= 0:
            self._emit(stream, end)
            self.shown[stream] = end + 1

    def finish(self) -> None:
        """Hand out last lines that had no end."""
        for stream, buffer in self.kept.items():
            if self.on_line is not None and self.shown[stream] < len(buffer):
                self._emit(stream, len(buffer))

    def _emit(self, stream: Stream, end: int) -> None:
        assert self.on_line is not None  # noqa: S101 - the callers looked
        line = bytes(self.kept[stream][self.shown[stream] : end]).decode("utf-8", "replace")
        self.on_line(stream, line.removesuffix("\r"))

    @property
    def size(self) -> int:
        """Bytes of both streams together."""
        return sum(map(len, self.kept.values()))


@dataclass
class _Deadline:
    """TERM for the whole group when the time is up, KILL after the grace."""

    group: int
    at: float | None
    expired: bool = False

    def wait(self) -> float | None:
        return None if self.at is None else max(0.0, self.at - time.monotonic())

    def act(self) -> None:
        if self.at is None or time.monotonic() < self.at:
            return
        kill_group(self.group, signal.SIGKILL if self.expired else signal.SIGTERM)
        self.at = None if self.expired else time.monotonic() + TERM_GRACE
        self.expired = True


def kill_group(group: int, number: int) -> None:
    """Signal a process group that we started; nothing happens if it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def run(prepared: Prepared, host: str, timeout: float | None, on_line: LineSink | None) -> Result:
    """Run to the end and keep the whole output, up to OUTPUT_LIMIT bytes.

    Raises CommandFailedError where the program cannot be started or prints more than that.
    """
    began = time.monotonic()
    child = spawn(prepared, host)
    reader = Reader(on_line)
    deadline = _Deadline(child.pid, None if timeout is None else began + timeout)
    try:
        _pump(child, reader, deadline, prepared.argv[0])
        if deadline.expired:
            kill_group(child.pid, signal.SIGKILL)  # what ignored the TERM and outlived its parent
        child.wait()
        reader.finish()
    except BaseException:
        # Ctrl-C, a line sink that raised, too much output: nobody would look after it any more
        _end(child)
        raise
    finally:
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    return Result(
        exit_code=child.returncode,
        stdout=bytes(reader.kept["stdout"]),
        stderr=bytes(reader.kept["stderr"]),
        seconds=time.monotonic() - began,
        timed_out=deadline.expired,
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """TERM, a grace, KILL. The leader is reaped last: until then its group's number is its own."""
    if child.returncode is not None:
        return
    try:
        kill_group(child.pid, signal.SIGTERM)
        handle = os.pidfd_open(child.pid)
        try:
            select.select([handle], [], [], TERM_GRACE)
        finally:
            os.close(handle)
    finally:
        kill_group(child.pid, signal.SIGKILL)
        child.wait()


def _pump(child: subprocess.Popen[bytes], reader: Reader, deadline: _Deadline, program: str) -> None:
    """Read until both pipes are closed, or for LINGER seconds after the program itself ended."""
    handle = os.pidfd_open(child.pid)
    with selectors.DefaultSelector() as selector:
        try:
            pipes: tuple[tuple[Stream, IO[bytes] | None], ...] = (
                ("stdout", child.stdout),
                ("stderr", child.stderr),
            )
            for name, pipe in pipes:
                if pipe is not None:
                    selector.register(pipe.fileno(), selectors.EVENT_READ, name)
            selector.register(handle, selectors.EVENT_READ, None)
            _read_all(selector, handle, reader, deadline, program)
        finally:
            os.close(handle)


def _read_all(
    selector: selectors.BaseSelector,
    handle: int,
    reader: Reader,
    deadline: _Deadline,
    program: str,
) -> None:
    ended: float | None = None
    while selector.get_map():
        wait = deadline.wait()
        if ended is not None:
            left = ended + LINGER - time.monotonic()
            if left <= 0:
                return
            wait = left if wait is None else min(wait, left)
        for key, _ in selector.select(wait):
            if key.fd == handle:
                ended = time.monotonic()
                selector.unregister(handle)
                continue
            data = os.read(key.fd, _CHUNK)
            if data:
                reader.feed(key.data, data)
            else:
                selector.unregister(key.fd)
        if reader.size > OUTPUT_LIMIT:
            raise CommandFailedError(
                f"{program} printed more than {OUTPUT_LIMIT // 2**20} MiB and was stopped",
                hint="start it as a job: its output goes to files then",
            )
        if ended is None:
            deadline.act()
