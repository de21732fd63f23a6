"""The hosts that the contract suite runs on, each with the same few programs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ctl.hosts.base import Command, Host
from ctl.hosts.local import LocalHost
from ctl.secret import Secret
from ctl.testing import FOREVER, MemoryHost, Script

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


class HostKit(Protocol):
    """A host, and what only a test may do to it."""

    host: Host
    root: str  # a folder to write in

    def claim_only(self, job_id: str) -> None: ...
    def lose(self, job_id: str) -> None: ...
    def close(self) -> None: ...


@dataclass
class LocalKit:
    folder: Path

    def __post_init__(self) -> None:
        programs = self.folder / "programs"
        programs.mkdir()
        for name, text in SHELL.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        self.jobs = self.folder / "jobs"
        self.root = str(self.folder / "root")
        os.mkdir(self.root)
        self.host: Host = LocalHost("local", str(self.jobs), f"{programs}:/usr/bin:/bin")

    def claim_only(self, job_id: str) -> None:
        self.jobs.mkdir(exist_ok=True)
        (self.jobs / job_id).mkdir()
        (self.jobs / job_id / "claim.json").write_text('{"digest": "x"}')

    def lose(self, job_id: str) -> None:
        record = json.loads((self.jobs / job_id / "process.json").read_text())
        os.kill(record["supervisor_pid"], signal.SIGKILL)
        deadline = time.monotonic() + 5
        while os.path.exists(f"/proc/{record['supervisor_pid']}/exe") and time.monotonic() < deadline:
            time.sleep(0.005)  # it must be dead before its child, or it may write the exit code
        os.kill(record["pid"], signal.SIGKILL)

    def close(self) -> None:
        """End what a test left running, each by its own record."""
        from datetime import timedelta

        for job in self.jobs.iterdir() if self.jobs.is_dir() else ():
            if not job.name.startswith("."):
                self.host.kill_job(job.name, timedelta(0))


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


KITS: dict[str, Callable[[Path], HostKit]] = {"local": LocalKit, "memory": MemoryKit}
