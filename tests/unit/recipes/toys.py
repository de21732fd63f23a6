"""Toy steps over a world of small files, so that a crash can be tried at every boundary.

A `Box` is a folder: `box.json` holds the state that steps change and a log of every effect, atomically.
Scopes `Closed` and `Lamp` stand for read-only windows and stopped services.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from ctl.config.models import FilesystemStorage, Node, Registry, Service, Site, Storage
from ctl.config.models import Host as HostModel
from ctl.errors import (
    InterruptedRunError,
    Outcome,
    RegctlError,
    TransientError,
    UnknownEffectError,
    UnreachableError,
)
from ctl.fleet.reach import Reached
from ctl.hosts.local import LocalHost
from ctl.recipes.durable import replace_file
from ctl.recipes.model import (
    Before,
    Preview,
    ProbeAnswer,
    Problem,
    Scope,
    Step,
    StepReport,
    Target,
    Undoable,
)
from ctl.report.events import Event


class Box:
    """The toy world: what steps reach through `here.world`. Its state is a file, as the real one's is."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.state_dir = os.path.join(folder, "state")
        self.events: list[Event] = []
        self.registries: dict[str, Registry] = {}
        self.unreachable: set[str] = set()
        self.far: tuple[str, ...] = ()  # hosts that are reached over SSH, or would be
        self._mutex = threading.RLock()

    @property
    def site(self) -> Site:
        hosts = {node.host: HostModel() for found in self.registries.values() for node in found.nodes}
        hosts |= {name: HostModel(connection="ssh", address=name) for name in self.far}
        return Site(version=1, hosts=hosts, registries=self.registries)

    def add_registry(self, name: str, *hosts: str) -> None:
        """Give the world a registry with a node on each host; each node has a folder in the box."""
        nodes = []
        for host in hosts:
            os.makedirs(os.path.join(self.folder, host), exist_ok=True)
            nodes.append(
                Node(
                    host=host,
                    binary="/usr/bin/docker-registry",
                    config_file=os.path.join(self.folder, host, "config.yml"),
                    url="http://127.0.0.1:5000",
                    service=Service(kind="process", name=name),
                )
            )
        storage = Storage(filesystem=FilesystemStorage(rootdirectory=os.path.join(self.folder, "tree")))
        self.registries[name] = Registry(engine="distribution", storage=storage, nodes=tuple(nodes))

    def registry(self, name: str) -> Registry:
        return self.registries[name]

    def host(self, name: str) -> LocalHost:
        if name in self.unreachable:
            raise UnreachableError(f"{name} does not answer")
        return LocalHost(name, os.path.join(self.state_dir, "jobs"))

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def get(self) -> dict[str, Any]:
        return self._content()[0]

    def set(self, key: str, value: Any) -> None:
        self.do("", key, value)

    def log(self, what: str) -> None:
        self.do(what)

    def do(self, what: str, key: str = "", value: Any = None) -> None:
        """Change the state and log it, both at once: killed in between, another thread's step would be
        seen to have done twice what it did once."""
        with self._mutex:
            data, log = self._content()
            content = [{**data, key: value} if key else data, [*log, what] if what else log]
            replace_file(os.path.join(self.folder, "box.json"), json.dumps(content).encode())

    def logged(self) -> list[str]:
        return self._content()[1]

    def _content(self) -> tuple[dict[str, Any], list[str]]:
        try:
            with open(os.path.join(self.folder, "box.json")) as file:
                data, log = json.load(file)
                return data, log
        except FileNotFoundError:
            return {}, []

    def plan(self, what: str) -> str:
        """How the step of that name shall misbehave, as the test wrote it down; "" is not at all."""
        return str(self.get().get(f"plan:{what}", ""))


def reach(world: Any, hosts: Sequence[str], at_once: int = 20) -> list[Reached]:
    """Answer for the hosts of a box as its plan says."""
    found = []
    for host in hosts:
        away = world.plan(f"reach {host}")
        outcome = Outcome(away) if away else Outcome.OK
        found.append(Reached(host, outcome, f"{host} does not answer" if away else ""))
    return found


def box_of(here: Target) -> Box:
    world: Any = here.world
    assert isinstance(world, Box)
    return world


def misbehave(here: Target, what: str) -> None:
    plan = box_of(here).plan(what)
    if plan == "fail":
        raise RegctlError(f"{what} failed as planned")
    if plan == "unknown":
        raise UnknownEffectError(f"nobody knows about {what}")
    if plan == "slow":
        time.sleep(0.15)
    if plan == "away":
        raise UnreachableError(f"{what} was on a host that does not answer")
    if plan == "bug":
        raise ValueError(f"{what} has a bug")
    if plan.startswith("transient:"):
        left = int(plan.partition(":")[2])
        if left:
            box_of(here).set(f"plan:{what}", f"transient:{left - 1}")
            raise TransientError(f"{what} failed for now")


class Put(Undoable):
    """Set a key to a value. Probing it is exact, so after a crash it is done exactly once."""

    name: str
    value: int = 1

    def title(self) -> str:
        return f"put {self.name}"

    def check(self, here: Target) -> Iterator[Problem]:
        plan = box_of(here).plan(f"check {self.name}")
        if plan == "warn":
            yield Problem(f"{self.name} looks odd", blocking=False)
        elif plan:
            yield Problem(f"{self.name} is not right", outcome=Outcome(plan), name=f"{self.name}-right")

    def observe(self, here: Target) -> Before:
        return {"value": box_of(here).get().get(self.name)}

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=box_of(here).get().get(self.name) != self.value)

    def apply(self, here: Target, before: Before) -> StepReport:
        misbehave(here, f"apply {self.name}")
        here.run.guard()
        box_of(here).do(f"apply {self.name}", self.name, self.value)
        misbehave(here, f"after {self.name}")
        return StepReport({"value": self.value})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "done" if box_of(here).get().get(self.name) == self.value else "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        if box_of(here).get().get(self.name) != self.value or box_of(here).plan(f"verify {self.name}"):
            yield Problem(f"{self.name} is not there")

    def undo(self, here: Target, before: Before) -> None:
        misbehave(here, f"undo {self.name}")
        here.run.guard()
        box_of(here).do(f"undo {self.name}", self.name, before["value"])


class Burn(Step):
    """Cannot be taken back, and nobody can tell how far it came."""

    name: str
    irreversible: ClassVar[bool] = True

    def title(self) -> str:
        return f"burn {self.name}"

    def apply(self, here: Target, before: Before) -> None:
        misbehave(here, f"apply {self.name}")
        here.run.guard()
        box_of(here).log(f"apply {self.name}")

    def settle(self, here: Target, before: Before) -> None:
        misbehave(here, f"settle {self.name}")
        box_of(here).log(f"settle {self.name}")


class Decide(Step):
    """Cannot be taken back, and is exactly done or not: its key says so."""

    name: str
    irreversible: ClassVar[bool] = True

    def apply(self, here: Target, before: Before) -> None:
        box_of(here).do(f"apply {self.name}", self.name, 1)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "done" if box_of(here).get().get(self.name) else "pending"


class Wait(Step):
    """Wait until it is told to stop; says so in the box."""

    name: str = "wait"
    interruptible: ClassVar[bool] = True

    def apply(self, here: Target, before: Before) -> None:
        box_of(here).log(f"apply {self.name}")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if here.run.stopping():
                raise InterruptedRunError("told to stop")
            time.sleep(0.005)
        raise RegctlError("nobody told it to stop")


class Switch(Scope):
    """Turn a switch off while the body runs, and back to what it was before."""

    name: str
    on: str = ""  # the host

    def title(self) -> str:
        return f"switch {self.name} off"

    def host(self) -> str:
        return self.on

    def check(self, here: Target) -> Iterator[Problem]:
        if box_of(here).plan(f"check {self.name}"):
            yield Problem(f"{self.name} is not right")

    def observe(self, here: Target) -> Before:
        return {"was": box_of(here).get().get(self.name, "on")}

    def apply(self, here: Target, before: Before) -> StepReport:
        misbehave(here, f"apply {self.name}")
        here.run.guard()
        box_of(here).do(f"enter {self.name}", self.name, "off")
        misbehave(here, f"after {self.name}")
        return StepReport()

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "done" if box_of(here).get().get(self.name) == "off" else "pending"

    def leave(self, here: Target, before: Before) -> StepReport:
        misbehave(here, f"leave {self.name}")
        here.run.guard()
        box_of(here).do(f"leave {self.name}", self.name, before["was"])
        return StepReport()


class Lamp(Switch):
    """Another kind of switch: never independent of a plain one."""
