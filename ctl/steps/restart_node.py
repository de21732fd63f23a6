"""Restart a node that runs, so that it loads its configuration, and prove that it answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target

SLACK = timedelta(seconds=15)  # on top of the registry's own drain timeout, before it is killed
READY = timedelta(seconds=30)


class RestartNode(Step):
    """Restart a node's service if it runs; a stopped one stays stopped."""

    registry: str
    node: str

    def title(self) -> str:
        """Name the node."""
        return f"restart {self.registry} on {self.node} and wait until it answers"

    def host(self) -> str:
        """The node's host."""
        return self.node

    def observe(self, here: Target) -> Before:
        """Remember which process runs."""
        state = here.world.service(self.registry, self.node).state()
        process = state.process
        return {
            "running": state.running,
            "process": [process.pid, process.start_time, process.boot_id] if process else [],
        }

    def preview(self, here: Target) -> Preview:
        """Say whether it would be restarted."""
        running = here.world.service(self.registry, self.node).state().running
        title = self.title() if running else f"{self.registry} on {self.node} is stopped and stays so"
        return Preview(title, running)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Restart it with drain."""
        here.run.guard()
        if not before["running"]:
            return StepReport(changed=False, not_applicable="the service was stopped, and stays so")
        restart_if_running(here, self.registry, self.node, start=True)
        return StepReport({"restarted": True})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Another process than before is there: it was restarted."""
        if not before["running"]:
            return "done"
        process = here.world.service(self.registry, self.node).state().process
        now = [process.pid, process.start_time, process.boot_id] if process else []
        return "done" if now and now != before["process"] else "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """A service that runs must answer."""
        if here.world.service(self.registry, self.node).state().running:
            try:
                here.world.client(self.registry, self.node).wait_ready(READY)
            except RegctlError as error:
                yield Problem(error.message, hint=error.hint, outcome=error.outcome)


def restart_if_running(here: Target, registry: str, node: str, *, start: bool = False) -> None:
    """Restart a service with drain and wait until it answers; with `start` also one that died."""
    service = here.world.service(registry, node)
    if service.state().running:
        service.restart(grace(here, registry, node))
    elif start:
        service.start()
    else:
        return
    here.world.client(registry, node).wait_ready(READY)


def grace(here: Target, registry: str, node: str) -> timedelta:
    """Return how long a node may take to stop: what its file says for draining, and a little more."""
    from ctl.steps.config_plan import read_config

    settings = read_config(here.world, registry, node).settings
    drain = here.world.engine(registry).drain_timeout(settings) if settings is not None else None
    return (drain or timedelta()) + SLACK
