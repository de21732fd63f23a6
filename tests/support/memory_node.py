"""A registry's node wholly in memory: host, service and HTTP, for the steps that close and open it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from packaging.version import Version

from ctl.config.models import Site
from ctl.engines.distribution import Distribution
from ctl.errors import CommandFailedError
from ctl.hosts.base import Command
from ctl.http import RegistryClient
from ctl.recipes.model import Target
from ctl.testing import MemoryHost, MemoryRun, MemoryService, MemoryWorld, Script
from ctl.testing_http import MemoryRegistry

CONFIG_FILE = "/etc/docker/registry/config.yml"
CONFIG = b"""# kept by hand
version: 0.1
storage:
  filesystem:
    rootdirectory: /srv/registry   # the big disk
http:
  addr: 127.0.0.1:5000
  secret: canary-secret
  draintimeout: 5s
"""
CLOSED = CONFIG.replace(b"  filesystem:", b"  maintenance: {readonly: {enabled: true}}\n  filesystem:")


class Crash(BaseException):
    """regctl was killed here."""


@dataclass
class Bomb:
    """Ends everything at the n-th change of the world, before or after it happened; 0 never."""

    at: int = 0
    after: bool = False
    passed: int = 0

    def around(self, change: Callable[[], Any]) -> Any:
        """Make one change, or be killed."""
        self.passed += 1
        if self.passed == self.at and not self.after:
            raise Crash(self.passed)
        result = change()
        if self.passed == self.at:
            raise Crash(self.passed)
        return result


@dataclass
class Machine(MemoryHost):
    """A host whose file changes a bomb counts."""

    bomb: Bomb = field(default_factory=Bomb)

    def write(
        self, path: str, data: bytes, *, mode: int, owner: str | None = None, group: str | None = None
    ) -> None:
        super_write = super().write
        self.bomb.around(lambda: super_write(path, data, mode=mode, owner=owner, group=group))

    def remove(self, path: str) -> None:
        super_remove = super().remove
        self.bomb.around(lambda: super_remove(path))


@dataclass
class RegistryService(MemoryService):
    """A service whose process does what its configuration said when it started."""

    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    bomb: Bomb = field(default_factory=Bomb)
    fails_closed: bool = False  # it does not start with a read-only file
    stuck_open: bool = False  # it stays writable whatever its file says

    def start(self) -> None:
        self.bomb.around(self._start)

    def stop(self, grace: timedelta) -> bool:
        return bool(self.bomb.around(lambda: self._stop(grace)))

    def _start(self) -> None:
        if self.state().running:
            return
        data = self.host.read(self.config_file)
        closed = Distribution().is_read_only(Distribution().parse_config(data).data)
        if closed and self.fails_closed:
            raise CommandFailedError("the service ended at once", details=("panic: no",))
        super().start()
        self.registry.running = True
        self.registry.read_only = closed and not self.stuck_open

    def _stop(self, grace: timedelta) -> bool:
        drained = super().stop(grace)
        self.registry.running = False
        return drained


@dataclass
class Standing:
    """What must be the same before and after."""

    config: bytes
    mode: int
    owner: str
    group: str
    mtime: float
    running: bool
    read_only: bool
    names: list[str]  # beside the configuration


class Node:
    """The node, and what a test does to it."""

    def __init__(self, state_dir: str, *, config: bytes = CONFIG, running: bool = True) -> None:
        self.host = Machine(name="here", user="root", clock=_Clock())
        self.host.programs = {
            "test": lambda command: Script(),
            "id": lambda command: Script(0, b"root\n"),
            "touch": self._touch,
        }
        self.registry = MemoryRegistry(running=False)
        self.service = RegistryService(self.host, registry=self.registry)
        self.host.make_directory("/etc/docker/registry", mode=0o755)
        self.host.write(CONFIG_FILE, config, mode=0o640, owner="registry", group="adm")
        if running:
            self.service.start()
        described = {
            "version": 1,
            "hosts": {"here": {}},
            "registries": {
                "main": {
                    "engine": "distribution",
                    "storage": {"filesystem": {"rootdirectory": "/srv/registry"}},
                    "nodes": [
                        {
                            "host": "here",
                            "binary": "/usr/bin/docker-registry",
                            "config_file": CONFIG_FILE,
                            "url": "http://127.0.0.1:5000",
                            "service": {"kind": "process", "name": "registry"},
                        }
                    ],
                }
            },
        }
        client = RegistryClient("http://127.0.0.1:5000", transport=self.registry)
        self.world = MemoryWorld(
            Site.model_validate(described),
            state_dir,
            hosts={"here": self.host},
            services={("main", "here"): self.service},
            engines={"main": Distribution()},
            clients={("main", "here"): client},
            versions={("main", "here"): Version("2.8.2")},
        )
        self.run = MemoryRun()
        self.arm(0)

    def target(self, run: str = "") -> Target:
        """What a step is handed; a name makes it another run."""
        if run:
            self.run = MemoryRun(id=run)
        return Target(self.world, self.run)

    def arm(self, at: int, *, after: bool = False) -> Bomb:
        """Count the changes from here on, and be killed at one of them."""
        bomb = Bomb(at, after)
        self.host.bomb = self.service.bomb = bomb
        return bomb

    def config(self) -> bytes:
        """The configuration file as it stands."""
        return self.host.read(CONFIG_FILE)

    def edit(self, data: bytes) -> None:
        """Change the file as somebody else would."""
        self.host.write(CONFIG_FILE, data, mode=0o640)

    def standing(self) -> Standing:
        """Everything that a window must bring back."""
        info = self.host.stat(CONFIG_FILE)
        assert info is not None
        return Standing(
            self.config(),
            info.mode,
            info.owner,
            info.group,
            info.mtime,
            self.service.state().running,
            self.registry.read_only if self.service.state().running else False,
            self.host.list_directory("/etc/docker/registry"),
        )

    def set_environment(self, pairs: dict[str, str]) -> None:
        """Give the live process an environment."""
        process = self.service.state().process
        assert process is not None
        self.host.make_directory(f"/proc/{process.pid}", mode=0o755)
        text = "\0".join(f"{name}={value}" for name, value in pairs.items()).encode()
        self.host.write(f"/proc/{process.pid}/environ", text, mode=0o400)

    def _touch(self, command: Command) -> Script:
        path, when = command.argv[-1], float(command.argv[3].removeprefix("@"))
        file = self.host._files[path]
        self.host.bomb.around(lambda: setattr(file, "info", replace(file.info, mtime=when)))
        return Script()

    def spawn(self, config_file: str, config: bytes) -> None:
        """Start another registry by hand."""
        self.host.make_directory(config_file.rpartition("/")[0], mode=0o755)
        self.host.write(config_file, config, mode=0o600)
        argv = ("/usr/bin/docker-registry", "serve", config_file)
        self.host.spawn(argv, Script(seconds=float("inf")))


class _Clock:
    """Time that goes on by a hundredth of a second with every look, so that no two processes are one."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now = round(self.now + 0.01, 2)
        return self.now


def refuse_to_run(command: Command) -> Script:
    """A program that fails."""
    return Script(1)
