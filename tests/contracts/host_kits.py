"""The hosts that the contract suite runs on, each with the same few programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from ctl.hosts.base import Command, Host
from ctl.hosts.local import LocalHost
from ctl.hosts.posix import PosixHost
from ctl.hosts.shell import Shell
from ctl.hosts.ssh import SshShell
from ctl.secret import Secret
from ctl.testing import FOREVER, MemoryHost, Script
from tests.support.programs import find
from tests.support.shells import HereShell
from tests.support.sshd import SshServer

# name -> what it does, for /bin/sh
SHELL = {
    "greet": "printf 'one\\ntwo\\n'; printf 'err\\n' >&2; exit 3",
    "repeat": "exec cat",
    "wait": "echo waiting; exec sleep 60",
    "stubborn": "trap '' TERM; echo waiting; while :; do sleep 0.05; done",
}


def _repeat(command: Command) -> Script:
    given = command.stdin
    return Script(stdout=given.reveal().encode() if isinstance(given, Secret) else given)


MEMORY = {
    "greet": lambda _: Script(3, b"one\ntwo\n", b"err\n"),
    "repeat": _repeat,
    "wait": lambda _: Script(stdout=b"waiting\n", seconds=FOREVER),
    "stubborn": lambda _: Script(stdout=b"waiting\n", seconds=FOREVER, obeys_term=False),
}


def make_programs(folder: Path) -> Path:
    """Write the programs of SHELL into a folder; return it."""
    programs = folder / "programs"
    programs.mkdir()
    for name, text in SHELL.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    return programs


def kill_both(supervisor: int, program: int) -> None:
    """Kill a supervisor, and then, when it is dead, its program: else it may write the exit code."""
    os.kill(supervisor, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{supervisor}/exe") and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(program, signal.SIGKILL)


class HostKit(Protocol):
    """A host, and what only a test may do to it."""

    host: Host
    root: str  # a folder to write in

    def claim_only(self, job_id: str) -> None: ...
    def lose(self, job_id: str) -> None: ...
    def close(self) -> None: ...


@dataclass
class FolderKit:
    """A host whose files and jobs lie in a folder of this machine."""

    folder: Path

    def __post_init__(self) -> None:
        self.jobs = self.folder / "jobs"
        self.root = str(self.folder / "root")
        os.mkdir(self.root)
        self.host = self.made(f"{make_programs(self.folder)}:/usr/bin:/bin")

    def made(self, search_path: str) -> Host:
        raise NotImplementedError

    def close(self) -> None:
        """End what a test left running, each by its own record."""
        for job in self.jobs.iterdir() if self.jobs.is_dir() else ():
            if not job.name.startswith("."):
                self.host.kill_job(job.name, timedelta(0))


class LocalKit(FolderKit):
    def made(self, search_path: str) -> Host:
        return LocalHost("local", str(self.jobs), search_path)

    def claim_only(self, job_id: str) -> None:
        self.jobs.mkdir(exist_ok=True)
        (self.jobs / job_id).mkdir()
        (self.jobs / job_id / "claim.json").write_text('{"digest": "x"}')

    def lose(self, job_id: str) -> None:
        record = json.loads((self.jobs / job_id / "process.json").read_text())
        kill_both(record["supervisor_pid"], record["pid"])


@dataclass
class MemoryKit:
    folder: Path

    def __post_init__(self) -> None:
        self.memory = MemoryHost("memory", dict(MEMORY))
        self.host: Host = self.memory
        self.root = "/root-of-test"
        self.memory.make_directory(self.root, mode=0o755)

    def claim_only(self, job_id: str) -> None:
        self.memory.claim_only(job_id)

    def lose(self, job_id: str) -> None:
        self.memory.lose(job_id)

    def close(self) -> None:
        """Nothing outlives it."""


class ShellKit(FolderKit):
    """A host behind a shell on this machine: every script, and no network."""

    def made(self, search_path: str) -> Host:
        return PosixHost("far", self.shell(), str(self.jobs), search_path=search_path)

    def shell(self) -> Shell:
        return HereShell("far")

    def claim_only(self, job_id: str) -> None:
        self.jobs.mkdir(exist_ok=True)
        (self.jobs / job_id).mkdir()
        (self.jobs / job_id / "claim").write_text("x\n")

    def lose(self, job_id: str) -> None:
        pid, _, _, supervisor, _ = (self.jobs / job_id / "record").read_text().split()
        kill_both(int(supervisor), int(pid))


class BusyboxKit(ShellKit):
    """The same where /bin/sh is BusyBox's, and its tools stand before GNU's."""

    def shell(self) -> Shell:
        box = find("busybox")
        tools = self.folder / "box"
        tools.mkdir()
        for tool in subprocess.run(
            [box, "--list"], capture_output=True, text=True, check=True
        ).stdout.split():
            (tools / tool).symlink_to(box)
        return HereShell("far", changes=(("PATH=", f"PATH={tools}:"),)).with_shell(f"{box} ash")


class BashKit(ShellKit):
    """The same where /bin/sh is bash, and bash the login shell, too."""

    def shell(self) -> Shell:
        return HereShell("far", login_shell=find("bash")).with_shell("/usr/bin/bash --posix")


class SshKit(ShellKit):
    """The same over a real connection to a real sshd."""

    def shell(self) -> Shell:
        self.server = SshServer(self.folder / "sshd").start()
        self.over = SshShell(self.server.way())
        return self.over

    def close(self) -> None:
        """End what a test left running, then the server."""
        super().close()
        self.over.close()
        self.server.stop()


KITS: dict[str, Callable[[Path], HostKit]] = {
    "local": LocalKit,
    "memory": MemoryKit,
    "shell": ShellKit,
    "bash": BashKit,
    "busybox": BusyboxKit,
    "ssh": SshKit,
}
