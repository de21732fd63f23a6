"""How a Pulp stands: the services of its hosts, and what its API says. Only looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ctl.engines.pulp_status import PulpStatus, problems, read_status
from ctl.hosts.services_runit import RunitService
from ctl.hosts.services_systemd import SystemdService
from ctl.probing import NoAnswer
from ctl.steps.pulp_doors import pulp_nodes

if TYPE_CHECKING:
    from ctl.config.pulp import PulpNode, PulpService
    from ctl.hosts.services import Service, ServiceState
    from ctl.world import World

NO_PORT = 0  # nothing listens there: whether a service of Pulp lives is what its manager says


@dataclass(frozen=True)
class ServiceView:
    """One service of a node. `state` is running, stopped or unknown; `of_database` where it is PostgreSQL."""

    name: str
    kind: str
    state: str
    detail: str
    of_database: bool = False


@dataclass(frozen=True)
class PulpNodeView:
    """One Pulp on a host. `status` None: it was not asked, or did not answer; `problems` says why."""

    host: str
    role: str
    url: str | None
    services: tuple[ServiceView, ...]
    status: PulpStatus | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class PulpView:
    """One Pulp: its server and its content proxies."""

    name: str
    nodes: tuple[PulpNodeView, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions of the container plugin on its hosts, each once; proxies may be behind for a while."""
        found = {node.status.versions.get("container", "") for node in self.nodes if node.status}
        return tuple(sorted(found - {""}))

    def all_problems(self) -> list[str]:
        """Return every problem with its place."""
        return [f"{self.name} on {node.host}: {text}" for node in self.nodes for text in node.problems]


def opened(world: World, host: str, service: PulpService) -> Service:
    """Open one service of a node by its manager."""
    door = world.host(host)
    if service.kind == "runit":
        return RunitService(door, service.name, NO_PORT)
    return SystemdService(door, service.name, NO_PORT)


def services_of(node: PulpNode) -> tuple[PulpService, ...]:
    """Return all services of a node in the order they start in, PostgreSQL first where it is on the host."""
    return (*((node.database_service,) if node.database_service else ()), *node.services)


def questions(world: World, name: str) -> Iterator[tuple[tuple[str, ...], Callable[[], Any]]]:
    """Yield what there is to be asked of a Pulp."""
    for node in world.pulp(name).nodes:
        for service in services_of(node):
            yield ("pulp-service", name, node.host, service.name), partial(_state, world, node.host, service)
        if node.url is not None:
            yield ("pulp-status", name, node.host), partial(_status, world, name, node.host)


def _state(world: World, host: str, service: PulpService) -> ServiceState:
    return opened(world, host, service).state()


def _status(world: World, name: str, host: str) -> PulpStatus:
    return read_status(world.pulp_client(name, host).status())


def view(world: World, name: str, answers: Mapping[tuple[str, ...], Any]) -> PulpView:
    """Put the answers together."""
    return PulpView(name, tuple(_node(name, node, answers) for node in pulp_nodes(world, name)))


def _node(name: str, node: PulpNode, answers: Mapping[tuple[str, ...], Any]) -> PulpNodeView:
    wrong: list[str] = []
    services = []
    for service in services_of(node):
        answer = answers["pulp-service", name, node.host, service.name]
        found = _service(service, answer, service is node.database_service)
        services.append(found)
        if found.state != "running":
            wrong.append(f"{found.name} is {found.state} ({found.detail})")
    status = answers.get(("pulp-status", name, node.host))
    if isinstance(status, NoAnswer):
        wrong.append(f"its API: {status.why}")
        status = None
    elif status is not None:
        wrong += problems(status)
    return PulpNodeView(node.host, node.role, node.url, tuple(services), status, tuple(wrong))


def _service(service: PulpService, answer: Any, of_database: bool) -> ServiceView:
    if isinstance(answer, NoAnswer):
        return ServiceView(service.name, service.kind, "unknown", answer.why, of_database)
    state = "running" if answer.running else "stopped"
    return ServiceView(service.name, service.kind, state, answer.detail, of_database)
