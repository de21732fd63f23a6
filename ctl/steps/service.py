"""Start, stop and restart the service of one node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ctl.errors import Outcome
from ctl.hosts.services import port_of
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target, Undoable
from ctl.report.model import Json, Text

if TYPE_CHECKING:
    from ctl.hosts.base import ProcessInfo
    from ctl.hosts.services import ServiceState
    from ctl.world import World

LEAST_GRACE = timedelta(seconds=30)
MARGIN = timedelta(seconds=10)  # on top of the drain, for the registry's own way out
ANSWER_SECONDS = 30.0  # that a started registry may take until it listens
_POLL = 0.05


def drain_timeout(world: World, registry: str, node: str) -> timedelta | None:
    """Say how long a node drains when it is stopped, by its configuration; None where it does not."""
    described = world.node(registry, node)
    try:
        data = world.host(node).read(described.config_file)
    except FileNotFoundError:
        return None
    engine = world.engine(registry)
    parsed = engine.parse_config(data)
    return engine.drain_timeout(parsed.data) if parsed.readable else None


def grace_for(world: World, registry: str, node: str) -> timedelta:
    """Return how long to wait for a node to end before it is killed: always longer than it drains."""
    drain = drain_timeout(world, registry, node)
    return max(LEAST_GRACE, drain + MARGIN) if drain else LEAST_GRACE


def _identity(process: ProcessInfo | None) -> dict[str, Json]:
    if process is None:
        return {}
    return {"pid": process.pid, "start_time": process.start_time, "boot_id": process.boot_id}


class _ServiceStep(Step):
    """What the three share: which node, how it was before, how long to wait."""

    registry: str
    node: str
    grace_seconds: float | None = Field(default=None, ge=0)  # None: longer than the node drains

    retries: ClassVar[int] = 0

    def host(self) -> str:
        return self.node

    def _state(self, here: Target) -> ServiceState:
        return here.world.service(self.registry, self.node).state()

    def _grace(self, here: Target) -> timedelta:
        if self.grace_seconds is not None:
            return timedelta(seconds=self.grace_seconds)
        return grace_for(here.world, self.registry, self.node)

    def _name(self) -> str:
        return f"{self.registry} on {self.node}"

    def observe(self, here: Target) -> Before:
        state = self._state(here)
        return {"running": state.running, "process": _identity(state.process)}

    def _may_start(self, here: Target) -> Iterator[Problem]:
        node = here.world.node(self.registry, self.node)
        for path, key in ((node.binary, "binary"), (node.config_file, "config_file")):
            if here.world.host(self.node).stat(path) is None:
                yield Problem(
                    f"{self._name()} cannot start: {path} is not there",
                    hint=f"correct `{key}` of the node in the site file, or put the file in place",
                    outcome=Outcome.CONFIG,
                )

    def _may_stop(self, here: Target) -> Iterator[Problem]:
        drain = drain_timeout(here.world, self.registry, self.node)
        if drain is not None and self._grace(here) <= drain:
            yield Problem(
                f"{self._name()} drains for {drain.total_seconds():g} s, but is killed after "
                f"{self._grace(here).total_seconds():g} s",
                hint="give --grace more seconds than http.draintimeout",
                blocking=False,
            )

    def _stopping(self, here: Target, state: ServiceState) -> tuple[Text, ...]:
        """Say what a stop does to uploads in flight."""
        if not state.running:
            return ()
        if drain_timeout(here.world, self.registry, self.node) is None:
            return (Text("It does not drain (no http.draintimeout): uploads in flight will be cut."),)
        seconds = self._grace(here).total_seconds()
        return (Text(f"Uploads in flight may end; it is killed after {seconds:g} s."),)

    def _listens(self, here: Target) -> Iterator[Problem]:
        """Wait until the node listens; a problem if it ends before, or does not in time."""
        port = port_of(here.world.node(self.registry, self.node).url)
        host = here.world.host(self.node)
        deadline = time.monotonic() + ANSWER_SECONDS
        while not host.listening(port):
            state = self._state(here)
            if not state.running:
                break
            if time.monotonic() > deadline:
                yield Problem(
                    f"{self._name()} runs, but nothing listens on port {port} after {ANSWER_SECONDS:g} s",
                    hint="`url` of the node and http.addr of its configuration must name the same port",
                    outcome=Outcome.FAILED,
                )
                return
            time.sleep(_POLL)
        if not (state := self._state(here)).running:
            yield Problem(
                f"{self._name()} does not run: {state.detail}",
                hint=f"regctl service tail {self.registry}/{self.node}",
                outcome=Outcome.FAILED,
            )

    def _report(self, drained: bool, changed: bool = True) -> StepReport:
        cut = f"{self._name()} did not end in time and was killed: uploads in flight were cut"
        return StepReport({"drained": drained}, changed, () if drained else (cut,))


class StartService(_ServiceStep, Undoable):
    """Start a node's service; nothing to do where it runs."""

    def title(self) -> str:
        return f"start {self._name()}"

    def check(self, here: Target) -> Iterator[Problem]:
        if not self._state(here).running:
            yield from self._may_start(here)

    def preview(self, here: Target) -> Preview:
        state = self._state(here)
        return Preview(self.title(), changes=not state.running, blocks=_now(self._name(), state))

    def apply(self, here: Target, before: Before) -> StepReport:
        if self._state(here).running:
            return StepReport(changed=False)
        here.run.guard()
        here.world.service(self.registry, self.node).start()
        return StepReport()

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "done" if self._state(here).running else "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        yield from self._listens(here)

    def undo(self, here: Target, before: Before) -> None:
        if not before.get("running", True):
            here.run.guard()
            here.world.service(self.registry, self.node).stop(self._grace(here))


class StopService(_ServiceStep, Undoable):
    """Drain and stop a node's service; nothing to do where it is stopped."""

    def title(self) -> str:
        return f"stop {self._name()}"

    def check(self, here: Target) -> Iterator[Problem]:
        if self._state(here).running:
            yield from self._may_stop(here)

    def preview(self, here: Target) -> Preview:
        state = self._state(here)
        blocks = (*_now(self._name(), state), *self._stopping(here, state))
        return Preview(self.title(), changes=state.running, blocks=blocks)

    def apply(self, here: Target, before: Before) -> StepReport:
        if not self._state(here).running:
            return StepReport(changed=False)
        here.run.guard()
        return self._report(here.world.service(self.registry, self.node).stop(self._grace(here)))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending" if self._state(here).running else "done"

    def verify(self, here: Target) -> Iterator[Problem]:
        state = self._state(here)
        if state.running:
            yield Problem(
                f"{self._name()} still runs: {state.detail}",
                hint="whatever starts it again must be stopped first",
                outcome=Outcome.FAILED,
            )

    def undo(self, here: Target, before: Before) -> None:
        if before.get("running", False):
            here.run.guard()
            here.world.service(self.registry, self.node).start()


class RestartService(_ServiceStep):
    """Drain and stop a node's service and start it again; start it where it is stopped."""

    def title(self) -> str:
        return f"restart {self._name()}"

    def check(self, here: Target) -> Iterator[Problem]:
        yield from self._may_start(here)
        if self._state(here).running:
            yield from self._may_stop(here)

    def preview(self, here: Target) -> Preview:
        state = self._state(here)
        return Preview(self.title(), blocks=(*_now(self._name(), state), *self._stopping(here, state)))

    def apply(self, here: Target, before: Before) -> StepReport:
        if self.probe(here, before) == "done":
            return StepReport()
        here.run.guard()
        service = here.world.service(self.registry, self.node)
        if not service.state().running:  # stopped before, or by us before a crash
            service.start()
            return StepReport()
        return self._report(service.restart(self._grace(here)))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        state = self._state(here)
        if not state.running:
            return "partial"
        return "pending" if _identity(state.process) == before.get("process") else "done"

    def verify(self, here: Target) -> Iterator[Problem]:
        yield from self._listens(here)


def _now(name: str, state: ServiceState) -> tuple[Text, ...]:
    if state.process is None:
        return (Text(f"{name} is stopped now: {state.detail}"),)
    return (Text(f"{name} runs now as process {state.process.pid}"),)
