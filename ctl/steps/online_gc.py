"""How a GitLab registry's online garbage collection stands: settings, log, queues. Reads only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from ctl.catalog.gc_queues import Forecast, Queue, forecast, read_queues, review_delays
from ctl.engines.gitlab_gc import WORKERS, GcLog, GcSettings, gc_settings, read_log
from ctl.errors import RegctlError
from ctl.probing import NoAnswer, ask
from ctl.steps.effective_config import effective_sections
from ctl.steps.metadata_doors import metadata_database

if TYPE_CHECKING:
    from ctl.config.models import Node
    from ctl.world import World

SECONDS = 30.0  # for the database's answer: a long queue takes a while to count
LINES = 4000  # of a log that are read: some minutes of a busy worker, days of an idle one


@dataclass(frozen=True)
class NodeGc:
    """One node. None: not known; `problems` says why."""

    host: str
    running: bool | None
    settings: GcSettings | None
    log: GcLog | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class OnlineGc:
    """A registry's online collection. `queues` None: not known, `problem` says why."""

    nodes: tuple[NodeGc, ...]
    queues: Mapping[str, Queue] | None
    delays: Mapping[str, timedelta]
    earlier: Mapping[str, Queue] | None = None  # an earlier look, where one was taken
    problem: str = ""

    def working(self, worker: str) -> list[NodeGc]:
        """Return the nodes on which a worker runs."""
        return [n for n in self.nodes if n.running and n.settings is not None and n.settings.works(worker)]

    def intervals(self, worker: str) -> tuple[timedelta, ...]:
        """Return the intervals of a worker, one for each node on which it runs."""
        return tuple(node.settings.workers[worker].interval for node in self.working(worker) if node.settings)

    def forecasts(self) -> dict[str, Forecast]:
        """Say for each queue when it is empty."""
        return {
            name: forecast(queue, self.intervals(name), earlier=self.earlier[name] if self.earlier else None)
            for name, queue in (self.queues or {}).items()
        }


def look_at_gc(world: World, registry: str, *, measure: float = 0.0, seconds: float = SECONDS) -> OnlineGc:
    """Ask the nodes and the database; what does not answer is said, never raised.

    With `measure`, a second look follows after so many seconds, so that the pace is measured.
    """
    questions: dict[tuple[str, str], Any] = {("queues", ""): partial(_queues, world, registry)}
    for node in world.registry(registry).nodes:
        questions["config", node.host] = partial(settings_of, world, registry, node)
        questions["state", node.host] = partial(_running, world, registry, node.host)
        questions["log", node.host] = partial(log_of, world, registry, node.host)
    answers = ask(questions, seconds)
    found = answers["queues", ""]
    problem, queues, delays, earlier = "", None, {}, None
    if isinstance(found, NoAnswer):
        problem = found.why
    else:
        queues, delays = found
        if measure > 0:
            time.sleep(measure)
            earlier = queues
            queues = queues_now(world, registry)
    nodes = tuple(_node(node.host, answers) for node in world.registry(registry).nodes)
    return OnlineGc(nodes, queues, delays, earlier, problem)


def queues_now(world: World, registry: str) -> dict[str, Queue]:
    """Read both queues; RegctlError where the database does not answer or has none."""
    with metadata_database(world, registry).connect(read_only=True) as session:
        queues = read_queues(session)
    if queues is None:
        raise RegctlError(
            "the database has no queues of online garbage collection",
            hint=f"`regctl database status` says what is there; `regctl enable-db {registry}` migrates it",
        )
    return queues


def settings_of(world: World, registry: str, node: Node) -> GcSettings:
    """Return the settings of a node's collection, the environment laid over its file."""
    return gc_settings(effective_sections(world, registry, node, ("gc",)))


def log_of(world: World, registry: str, host: str) -> GcLog:
    """Return what the last lines of a node's log say of its collection."""
    return read_log(world.service(registry, host).tail(LINES))


def _queues(world: World, registry: str) -> tuple[dict[str, Queue], dict[str, timedelta]]:
    queues = queues_now(world, registry)
    with metadata_database(world, registry).connect(read_only=True) as session:
        return queues, review_delays(session)


def _running(world: World, registry: str, host: str) -> bool:
    return world.service(registry, host).state().running


def _node(host: str, answers: Mapping[tuple[str, str], Any]) -> NodeGc:
    problems: list[str] = []

    def answer(kind: str) -> Any:
        found = answers[kind, host]
        if isinstance(found, NoAnswer):
            problems.append(f"{kind}: {found.why}")
            return None
        return found

    return NodeGc(host, answer("state"), answer("config"), answer("log"), tuple(problems))


__all__ = ["WORKERS", "NodeGc", "OnlineGc", "log_of", "look_at_gc", "queues_now", "settings_of"]
