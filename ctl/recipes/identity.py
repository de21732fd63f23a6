"""Who a process is, for good: pid, start time and boot id together; and what became of one."""

from __future__ import annotations

import os
import pwd
import socket
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ctl.recipes.durable import private_directory, replace_file

Verdict = Literal["alive", "dead", "rebooted", "foreign", "operator"]
# alive: the process is there · dead: this host, this boot, and the process is gone
# rebooted: this host has been booted since, so it is gone · foreign: another host, nothing can be proved
# operator: held by a person, not by a process


@dataclass(frozen=True)
class Holder:
    """A process on a host."""

    host: str
    pid: int
    start_time: int  # clock ticks since boot, /proc/PID/stat field 22
    boot_id: str
    user: str  # who asked: the login behind sudo, where there is one

    def as_json(self) -> dict[str, Any]:
        """Return it as the journal and the lock store it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Holder:
        """Build it again; missing facts become values that prove nothing."""
        return cls(
            str(data.get("host", "")),
            int(data.get("pid", 0)),
            int(data.get("start_time", 0)),
            str(data.get("boot_id", "")),
            str(data.get("user", "")),
        )


def start_time(pid: int) -> int | None:
    """Return when a live process started; None if it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name in parentheses may hold spaces and parentheses itself: fields are counted after the last.
    fields = text[text.rfind(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def is_stopped(pid: int) -> bool:
    """Say whether a process is stopped (Ctrl-Z, SIGSTOP): alive, but doing nothing."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return False
    return text[text.rfind(b")") + 2 :][:1] in (b"T", b"t")


def boot_id() -> str:
    """Return what the kernel calls this boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def operator() -> str:
    """Return who is asking: the user behind sudo, else the user that we run as."""
    behind = os.environ.get("SUDO_USER", "")
    if behind:
        return behind
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def myself() -> Holder:
    """Describe this process."""
    pid = os.getpid()
    return Holder(socket.gethostname(), pid, start_time(pid) or 0, boot_id(), operator())


def judge(holder: Holder) -> Verdict:
    """Say what became of a process, as far as this host can prove it."""
    if holder.host != socket.gethostname():
        return "foreign"
    if holder.boot_id != boot_id():
        return "rebooted"
    return "alive" if start_time(holder.pid) == holder.start_time else "dead"


def controller_id(state_dir: str, *, create: bool) -> str:
    """Return the stable name of this controller, from `<state_dir>/controller`; "" if there is none yet."""
    path = os.path.join(state_dir, "controller")
    try:
        with open(path) as file:
            found = file.read().strip()
    except FileNotFoundError:
        found = ""
    if found or not create:
        return found
    private_directory(state_dir)
    replace_file(path, (str(uuid.uuid4()) + "\n").encode(), 0o644)
    with open(path) as file:  # two at once: the later one's name stands, and both read that
        return file.read().strip()
