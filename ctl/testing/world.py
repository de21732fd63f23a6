"""What a step is handed, in memory: a world of the doors that a test puts in, and a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ctl.errors import UsageError
from ctl.secret import Secret

if TYPE_CHECKING:
    from packaging.version import Version

    from ctl.report.events import Event
    from ctl.report.model import Json
    from ctl.testing.hosts import MemoryHost
    from ctl.testing.services import MemoryService

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass
class MemoryRun:
    """The run that a step under test is part of; keeps what the step says and notes."""

    id: str = "20260101T000000-test"
    epoch: int = 1
    recipe: str = "test"
    events: list[Event] = field(default_factory=list)
    facts: dict[str, dict[str, Json]] = field(default_factory=dict)  # by the step's class
    step: str = ""  # the class whose notes are taken
    stop: bool = False
    guarded: int = 0
    seen: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def emit(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)

    def stopping(self) -> bool:
        """Say whether the test asked to stop."""
        return self.stop

    def guard(self) -> None:
        """Count the times that the step looked at its claim."""
        self.guarded += 1

    def note(self, **facts: Json) -> None:
        """Keep facts of the running step."""
        self.facts.setdefault(self.step, {}).update(facts)

    def notes(self, step: str) -> Mapping[str, Json]:
        """Return what a step has noted."""
        return self.facts.get(step, {})


@dataclass
class MemoryWorld:
    """A World of whatever the test puts in: doors by name, everything else missing."""

    site: Any
    state_dir: str = "/state"
    hosts: dict[str, MemoryHost] = field(default_factory=dict)
    services: dict[tuple[str, str], MemoryService] = field(default_factory=dict)
    engines: dict[str, Any] = field(default_factory=dict)  # by registry
    clients: dict[tuple[str, str], Any] = field(default_factory=dict)
    pulp_clients: dict[tuple[str, str], Any] = field(default_factory=dict)
    storages: dict[str, Any] = field(default_factory=dict)  # by registry
    databases: dict[str, Any] = field(default_factory=dict)
    catalogs: dict[str, Any] = field(default_factory=dict)  # by registry
    secrets: dict[str, str] = field(default_factory=dict)  # by reference
    versions: dict[tuple[str, str], Version] = field(default_factory=dict)
    shells: dict[str, Any] = field(default_factory=dict)  # connections, by host

    def described(self, site: Any) -> MemoryWorld:
        """Return the same doors for a site that is described otherwise."""
        return replace(self, site=site)

    def registry(self, name: str) -> Any:
        """Return a registry's description."""
        return _named("registry", self.site.registries, name)

    def pulp(self, name: str) -> Any:
        """Return a Pulp's description."""
        return _named("Pulp", self.site.pulps, name)

    def pulp_client(self, pulp: str, host: str) -> Any:
        """Return a client of a Pulp's API."""
        return _named("client", self.pulp_clients, (pulp, host))

    def node(self, registry: str, host: str) -> Any:
        """Return the description of a registry's node on a host."""
        return _named("node", {node.host: node for node in self.registry(registry).nodes}, host)

    def host(self, name: str) -> MemoryHost:
        """Return a host."""
        return _named("host", self.hosts, name)

    def ssh(self, name: str) -> Any:
        """Return the connection to a host."""
        return _named("host", self.shells, name)

    def engine(self, registry: str) -> Any:
        """Return a registry's engine."""
        return _named("engine", self.engines, registry)

    def service(self, registry: str, host: str) -> MemoryService:
        """Return a node's service."""
        return _named("service", self.services, (registry, host))

    def client(self, registry: str, host: str) -> Any:
        """Return a node's HTTP client."""
        return _named("client", self.clients, (registry, host))

    def storage(self, registry: str) -> Any:
        """Return a registry's storage."""
        return _named("storage", self.storages, registry)

    def database(self, name: str) -> Any:
        """Return a database."""
        return _named("database", self.databases, name)

    def catalog(self, registry: str) -> Any:
        """Return a registry's catalog database."""
        return _named("catalog", self.catalogs, registry)

    def resolve_secret(self, reference: str) -> Secret:
        """Return a secret."""
        return Secret(_named("secret", self.secrets, reference))

    def resources(self, kind: str) -> tuple[str, ...]:
        """Return the folders that plugins add: none here."""
        return ()

    def version(self, registry: str, host: str) -> Version:
        """Return the version of a node's binary."""
        return _named("version", self.versions, (registry, host))


def _named(kind: str, choices: Mapping[Key, Value], key: Key) -> Value:
    if key not in choices:
        raise UsageError(f"there is no {kind} {key}", hint=f"there are: {sorted(map(str, choices))}")
    return choices[key]
