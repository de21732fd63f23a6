"""The local processes, as /proc tells them: who lives, since when, and exactly-that-one signals."""

from __future__ import annotations

import os
import pwd
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ctl.errors import RefusedError
from ctl.hosts.base import ProcessInfo

_LOOKS = 5
_DEAD = frozenset("ZXx")
_LISTEN = "0A"  # TCP_LISTEN in the state column of /proc/net/tcp


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that tell processes apart (proc(5))."""

    pid: int
    alive: bool
    group: int
    session: int
    start_time: int  # clock ticks since boot


def parse_stat(pid: int, text: bytes) -> Stat:
    """Read a /proc/PID/stat line; the name in it may hold spaces and brackets, even ") "."""
    rest = text[text.rindex(b")") + 2 :].split()
    return Stat(
        pid=pid,
        alive=rest[0].decode("ascii") not in _DEAD,
        group=int(rest[2]),
        session=int(rest[3]),
        start_time=int(rest[19]),
    )


def _slurp(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def boot_id() -> str:
    """Name this boot of the machine: a pid and a start time mean nothing in another one."""
    return (_slurp("/proc/sys/kernel/random/boot_id") or b"").decode("ascii").strip()


def stat(pid: int) -> Stat | None:
    """Return what /proc says of a pid; None if there is no such process."""
    text = _slurp(f"/proc/{pid}/stat")
    return parse_stat(pid, text) if text else None


def _user(pid: int) -> str:
    status = _slurp(f"/proc/{pid}/status") or b""
    for line in status.splitlines():
        if line.startswith(b"Uid:"):
            uid = int(line.split()[2])  # the effective one
            try:
                return pwd.getpwuid(uid).pw_name
            except KeyError:
                return str(uid)
    return ""


def _executable(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return ""


def _command_line(pid: int) -> bytes:
    """Return /proc/PID/cmdline, which is empty for a moment in the middle of every exec."""
    for _ in range(_LOOKS):
        line = _slurp(f"/proc/{pid}/cmdline") or b""
        if line or not _executable(pid):  # kernel threads have neither
            return line
        time.sleep(0.001)
    return b""


def process(pid: int, boot: str | None = None) -> ProcessInfo | None:
    """Describe a live process; None if it is gone or a zombie."""
    before = stat(pid)
    if before is None or not before.alive:
        return None
    line = _command_line(pid)
    info = ProcessInfo(
        pid=pid,
        start_time=before.start_time,
        boot_id=boot if boot is not None else boot_id(),
        user=_user(pid),
        argv=tuple(os.fsdecode(part) for part in line.split(b"\0")[:-1]),
        executable=_executable(pid),
    )
    after = stat(pid)  # the pid may have passed to another process between the reads
    same = after is not None and after.alive and after.start_time == before.start_time
    return info if same else None


def pids() -> list[int]:
    """List every pid there is, zombies included."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def processes() -> Iterator[ProcessInfo]:
    """Describe every live process."""
    boot = boot_id()
    for pid in pids():
        info = process(pid, boot)
        if info is not None:
            yield info


def session_members(session: int) -> list[Stat]:
    """List the live processes of a session."""
    found = (stat(pid) for pid in pids())
    return [item for item in found if item and item.alive and item.session == session]


def is_alive(pid: int, start_time: int, boot: str) -> bool:
    """Say whether exactly that process lives: same pid, start time and boot, and no zombie."""
    if boot != boot_id():
        return False
    now = stat(pid)
    return now is not None and now.alive and now.start_time == start_time


def send(pid: int, start_time: int, boot: str, number: int) -> bool:
    """Signal exactly that process; False if it is gone. The pidfd keeps a successor of the pid safe."""
    return _while_alive(pid, start_time, boot, lambda handle: signal.pidfd_send_signal(handle, number))


def send_group(pid: int, start_time: int, boot: str, number: int) -> bool:
    """Signal the process group that this process leads; False if the process is gone.

    Raises RefusedError if it leads none: its group may well be somebody else's, even ours.
    """

    def to_group(_handle: int) -> None:
        if os.getpgid(pid) != pid:
            raise RefusedError(f"process {pid} does not lead a process group: not signalled")
        os.killpg(pid, number)

    return _while_alive(pid, start_time, boot, to_group)


def _while_alive(pid: int, start_time: int, boot: str, act: Callable[[int], None]) -> bool:
    """Act on exactly that process by its pidfd; False if it is gone.

    While we hold the pidfd and it is alive, its number, and its group's, are its own.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(pid, start_time, boot):
            return False
        act(handle)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise _forbidden(pid) from error
    finally:
        os.close(handle)
    return True


def _forbidden(pid: int) -> RefusedError:
    return RefusedError(
        f"process {pid} belongs to {_user(pid) or 'another user'}: not signalled",
        hint="run regctl as root or as that user",
    )


def listening(port: int) -> bool:
    """Say whether a TCP socket listens on the port, on any address, IPv4 or IPv6."""
    tables = (_slurp(table) or b"" for table in ("/proc/net/tcp", "/proc/net/tcp6"))
    return any(listens(table.decode("ascii"), port) for table in tables)


def listens(tables: str, port: int) -> bool:
    """Say whether these lines of /proc/net/tcp or tcp6, headings among them, show a listener on the port."""
    for line in tables.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
            return True
    return False
