"""A service in memory, whose process lives on a MemoryHost."""

from __future__ import annotations

import signal as signals
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.errors import CommandFailedError
from ctl.hosts.services import ServiceState
from ctl.testing.hosts import FOREVER, MemoryHost, Script

if TYPE_CHECKING:
    from ctl.hosts.base import ProcessInfo


@dataclass
class MemoryService:
    """A service on a MemoryHost. Tests say how it behaves: whether it drains, or fails to start."""

    host: MemoryHost
    port: int = 5000
    binary: str = "/usr/bin/docker-registry"
    config_file: str = "/etc/docker/registry/config.yml"
    drains: bool = True
    fails: str = ""  # why it cannot start
    enabled: bool | None = None
    log: list[str] = field(default_factory=list)
    kind: str = "memory"

    def __post_init__(self) -> None:
        self._process: ProcessInfo | None = None

    def state(self) -> ServiceState:
        """Say what it does now."""
        process = self._process
        if process is None or self.host.process(process.pid) != process:
            return ServiceState(False, None, None, self.enabled, "stopped")
        return ServiceState(True, process, process.start_time / 100, self.enabled, "running")

    def start(self) -> None:
        """Start it, unless it runs already."""
        if self.state().running:
            return
        if self.fails:
            self.log.append(self.fails)
            raise CommandFailedError("the service ended at once", details=(self.fails,))
        script = Script(seconds=FOREVER, obeys_term=self.drains, listens=self.port)
        self._process = self.host.spawn((self.binary, "serve", self.config_file), script)
        self.log.append("started")

    def stop(self, grace: timedelta) -> bool:
        """Stop it; True if it drained."""
        process = self.state().process
        if process is None:
            return True
        self.host.signal(process, signals.SIGTERM)
        drained = self.host.process(process.pid) is None
        self.host.signal(process, signals.SIGKILL)
        self.log.append("drained" if drained else "killed")
        return drained

    def restart(self, grace: timedelta) -> bool:
        """Stop and start it; True if it drained."""
        drained = self.stop(grace)
        self.start()
        return drained

    def tail(self, lines: int) -> list[str]:
        """Return the last lines of its log."""
        return self.log[-lines:] if lines > 0 else []

    def loaded_config(self) -> str | None:
        """Return the configuration file that the live process loaded."""
        return self.config_file if self.state().running else None

    def loaded_binary(self) -> str | None:
        """Return the file that the live process executes."""
        return self.binary if self.state().running else None
