"""Services behind one interface, whoever runs them: what is it doing, start it, drain and stop it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from ctl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from ctl.config.models import Node
    from ctl.hosts.base import Command, Host, ProcessInfo


# where Go's stack trace and the registry's usage begin; a journal's lines have a time before
_NOISE = re.compile(r"(^|: )(goroutine \d+ \[.*\]:|Usage:)$")


@dataclass(frozen=True)
class ServiceState:
    """What a service does now. `since` is in seconds since 1970."""

    running: bool
    process: ProcessInfo | None
    since: float | None
    enabled: bool | None  # whether it comes up with the machine; None where nobody decides that
    detail: str  # in its manager's words

    @property
    def data(self) -> dict[str, str | int | bool | None]:
        """The same for machines."""
        since = None if self.since is None else datetime.fromtimestamp(self.since, UTC)
        return {
            "state": "running" if self.running else "stopped",
            "pid": self.process.pid if self.process else None,
            "since": since.strftime("%Y-%m-%dT%H:%M:%SZ") if since else None,
            "enabled": self.enabled,
            "detail": self.detail,
        }


class Service(Protocol):
    """The process that runs one node of a registry."""

    kind: str

    def state(self) -> ServiceState:
        """Say what it does now; only reads."""
        ...

    def start(self) -> None:
        """Start it, unless it runs already; return when it has lived for a moment.

        Raises CommandFailedError, with the last lines of its log, where it ended at once.
        """
        ...

    def stop(self, grace: timedelta) -> bool:
        """Send TERM and wait for it to drain and end; KILL it after the grace. Proved dead on return.

        True if it ended by itself: only then no upload was cut. Nothing happens if it does not run.
        """
        ...

    def restart(self, grace: timedelta) -> bool:
        """Stop it as `stop` does and start it as `start` does; True if it ended by itself."""
        ...

    def tail(self, lines: int) -> list[str]:
        """Return the last lines of its log; [] where it keeps none that we know of."""
        ...

    def loaded_config(self) -> str | None:
        """Return the configuration file that the live process loaded; None if it does not run."""
        ...

    def loaded_binary(self) -> str | None:
        """Return the file that the live process executes; None if it does not run."""
        ...


def open_service(
    host: Host, registry: str, node: Node, serve: Callable[[], Command], state_dir: str
) -> Service:
    """Return the service of a node. `serve` makes the call that serves; only kind `process` needs it."""
    if node.service.kind == "systemd":
        from ctl.hosts.services_systemd import SystemdService

        return SystemdService(host, node.service.name, port_of(node.url))
    if node.service.kind == "runit":
        from ctl.hosts.services_runit import RunitService

        return RunitService(host, node.service.name, port_of(node.url))
    if node.service.kind == "process":
        from ctl.hosts.services_process import ProcessService

        return ProcessService(host, registry, node, serve, state_dir)
    raise ConfigError(
        f"registry {registry} on {host.name}: service kind {node.service.kind!r} is not known here",
        hint="use systemd, runit, or process for trials",
    )


def last_words(lines: list[str], count: int = 10) -> tuple[str, ...]:
    """Return what a program that ended said last, without the stack trace or the usage that follow it."""
    for number, line in enumerate(lines):
        if _NOISE.search(line):
            lines = lines[:number]
            break
    return tuple(line for line in lines if line.strip())[-count:]


def port_of(url: str) -> int:
    """Return the TCP port of a URL."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
