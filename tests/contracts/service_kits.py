"""The services that the contract suite runs on, each around the same small server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ctl.config.models import Node
from ctl.hosts.base import Command, Host
from ctl.hosts.local import LocalHost
from ctl.hosts.services import Service, open_service
from ctl.hosts.services_runit import RunitService
from ctl.testing import MemoryHost, MemoryService
from tests.support.runit import Runit, real_programs
from tests.support.systemd import FakeSystemd
from tests.support.waiting import free_port

# `server serve FILE`: listens on the file's port; drains for so many seconds on TERM, or ignores it
SERVER = """#!{python} -IS
import json, signal, socket, sys, time
config = json.load(open(sys.argv[2]))
print("reading", sys.argv[2], flush=True)
if config.get("bad"):
    sys.exit("configuration error: " + config["bad"])
def stop(number, frame):
    if config.get("drain") is None:
        return
    print("draining", flush=True)
    time.sleep(config["drain"])
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", config["port"]))
server.listen()
print("listening", flush=True)
while True:
    signal.pause()
"""


class ServiceKit(Protocol):
    """A service, and what only a test may do to it."""

    service: Service
    host: Host
    port: int
    config_file: str

    def configure(self, *, drain: float | None = 0.0, bad: str = "") -> None: ...
    def murder(self) -> None: ...
    def close(self) -> None: ...


class _ServerKit:
    """A real server program and its configuration."""

    def __init__(self, folder: Path) -> None:
        self.binary = str(folder / "server")
        Path(self.binary).write_text(SERVER.format(python=sys.executable))
        os.chmod(self.binary, 0o755)
        self.config_file = str(folder / "config.json")
        self.port = free_port()
        self.configure()

    def configure(self, *, drain: float | None = 0.0, bad: str = "") -> None:
        Path(self.config_file).write_text(json.dumps({"port": self.port, "drain": drain, "bad": bad}))

    def node(self, kind: str) -> Node:
        return Node.model_validate(
            {
                "host": "local",
                "binary": self.binary,
                "config_file": self.config_file,
                "url": f"http://127.0.0.1:{self.port}",
                "service": {"kind": kind, "name": "registry"},
            }
        )

    def serve(self) -> Command:
        return Command((self.binary, "serve", self.config_file))


class ProcessKit(_ServerKit):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.state_dir = str(folder / "state")
        self.host: Host = LocalHost("local", f"{self.state_dir}/jobs")
        self.service: Service = open_service(
            self.host, "main", self.node("process"), self.serve, self.state_dir
        )

    def murder(self) -> None:
        process = self.service.state().process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)

    def close(self) -> None:
        from datetime import timedelta

        self.service.stop(timedelta(0))


class SystemdKit(_ServerKit):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.systemd = FakeSystemd(folder / "systemd")
        self.systemd.add("registry", self.serve().argv)
        self.host: Host = LocalHost("local", str(folder / "jobs"), self.systemd.path)
        self.service: Service = open_service(
            self.host, "main", self.node("systemd"), self.serve, str(folder / "state")
        )

    def murder(self) -> None:
        os.kill(self.systemd.main_pid("registry"), signal.SIGKILL)

    def close(self) -> None:
        self.systemd.close()


class RunitKit(_ServerKit):
    def __init__(self, folder: Path, *, real: bool = False) -> None:
        super().__init__(folder)
        self.runit = Runit(folder / "runit", " ".join(self.serve().argv), real=real)
        self.host: Host = LocalHost("local", str(folder / "jobs"))
        self.service: Service = RunitService(
            self.host, str(self.runit.service), self.port, programs=(self.runit.sv,)
        )

    def murder(self) -> None:
        """Kill it, and keep it down: what dies by itself, runit starts again at once."""
        subprocess.run([self.runit.sv, "down", str(self.runit.service)], check=True)
        process = self.service.state().process
        if process is not None:
            os.kill(process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.runit.close()


@dataclass
class MemoryKit:
    folder: Path
    port: int = 5000

    def __post_init__(self) -> None:
        self.memory = MemoryHost()
        self.host: Host = self.memory
        self._service = MemoryService(self.memory, self.port)
        self.service: Service = self._service
        self.config_file = self._service.config_file

    def configure(self, *, drain: float | None = 0.0, bad: str = "") -> None:
        self._service.drains = drain is not None
        self._service.fails = f"configuration error: {bad}" if bad else ""

    def murder(self) -> None:
        process = self.service.state().process
        assert process is not None
        self.host.signal(process, signal.SIGKILL)

    def close(self) -> None:
        """Nothing outlives it."""


KITS: dict[str, Callable[[Path], ServiceKit]] = {
    "process": ProcessKit,
    "systemd": SystemdKit,
    "runit": RunitKit,
    "memory": MemoryKit,
}
if real_programs():
    KITS["runit itself"] = lambda folder: RunitKit(folder, real=True)
