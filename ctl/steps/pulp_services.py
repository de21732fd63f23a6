"""The services around a Pulp on its host: how they stand, and scopes that leave them as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Scope, StepReport, Target
from ctl.report.model import Text
from ctl.steps.pulp_doors import pulp_node
from ctl.steps.service_of_host import RunService, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ctl.config.pulp import PulpService
    from ctl.recipes.model import Problem


def driven(host: str, service: PulpService, verb: Verb) -> RunService:
    """Return the step that drives one of a node's services."""
    return RunService(host_name=host, kind=service.kind, name=service.name, verb=verb)


def database_is_stopped(here: Target, registry: str, host: str) -> bool:
    """Say whether the PostgreSQL that a node's host runs is stopped now; False where it runs none."""
    service = pulp_node(here.world, registry, host).database_service
    return service is not None and not _runs(here, host, service)


def _runs(here: Target, host: str, service: PulpService) -> bool:
    return bool(driven(host, service, "start").observe(here)["running"])


class DatabaseRuns(Scope):
    """Within it the PostgreSQL of a node's host runs; where it was stopped before, it is stopped again."""

    pulp: str
    host_name: str

    def title(self) -> str:
        """Name it."""
        return f"have the PostgreSQL of {self.pulp} run on {self.host_name}"

    def host(self) -> str:
        """The node's host."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """Its manager must know it."""
        if (step := self._step(here, "start")) is not None:
            yield from step.check(here)

    def observe(self, here: Target) -> Before:
        """Remember whether it runs."""
        step = self._step(here, "start")
        return {"running": True} if step is None else step.observe(here)

    def preview(self, here: Target) -> Preview:
        """Say whether it would be started."""
        step = self._step(here, "start")
        if step is None or not step.preview(here).changes:
            return Preview(self.title(), changes=False)
        return Preview(f"start {step.name} on {self.host_name}, and stop it again afterwards")

    def apply(self, here: Target, before: Before) -> StepReport:
        """Start it, unless it runs."""
        step = self._step(here, "start")
        if step is None:
            return StepReport(changed=False, not_applicable="the site names no database_service here")
        return step.apply(here, before)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Starting again is safe."""
        return "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """It must run, and stay up."""
        if (step := self._step(here, "start")) is not None:
            yield from step.verify(here)

    def leave(self, here: Target, before: Before) -> StepReport:
        """Stop it where it was stopped, unless a service of Pulp was started meanwhile that needs it."""
        step = self._step(here, "stop")
        if step is None or before["running"]:
            return StepReport(changed=False)
        node = pulp_node(here.world, self.pulp, self.host_name)
        if using := [one.name for one in node.services if _runs(here, self.host_name, one)]:
            text = f"{step.name} stays up: {', '.join(using)} runs now and needs it"
            return StepReport(changed=False, warnings=(text,))
        now = step.observe(here)
        report = step.apply(here, now)
        for problem in step.verify(here):
            raise RegctlError(problem.message, hint=problem.hint)
        return report

    def _step(self, here: Target, verb: Verb) -> RunService | None:
        service = pulp_node(here.world, self.pulp, self.host_name).database_service
        return None if service is None else driven(self.host_name, service, verb)


class ServicesAsBefore(Scope):
    """Within it a node's services may be touched by what happens; at the end those that ran run again.

    Nothing is stopped or restarted for it. What was stopped stays stopped.
    """

    pulp: str
    host_name: str

    def title(self) -> str:
        """Name the node."""
        return f"leave the services of {self.pulp} on {self.host_name} as they are"

    def host(self) -> str:
        """The node's host."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """Each of them must be known to its manager."""
        for service in pulp_node(here.world, self.pulp, self.host_name).services:
            yield from driven(self.host_name, service, "start").check(here)

    def observe(self, here: Target) -> Before:
        """Remember which of them run."""
        return {"running": self._running(here)}

    def preview(self, here: Target) -> Preview:
        """Say how they stand."""
        running = self._running(here)
        lines = [
            f"{name}: {'runs' if runs else 'is stopped'}, and stays so" for name, runs in running.items()
        ]
        return Preview(self.title(), False, (Text("\n".join(lines)),) if lines else ())

    def apply(self, here: Target, before: Before) -> StepReport:
        """Change nothing."""
        if not before["running"]:
            return StepReport(changed=False, not_applicable="the site names no services here")
        return StepReport(changed=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Nothing is changed on the way in."""
        return "done"

    def leave(self, here: Target, before: Before) -> StepReport:
        """Start, in the order of the site, what ran before and does not now."""
        was: Mapping[str, Any] = before["running"]
        warnings, changed = [], False
        for service in pulp_node(here.world, self.pulp, self.host_name).services:
            now = _runs(here, self.host_name, service)
            if now == was.get(service.name, now):
                continue
            if now:
                warnings.append(
                    f"{service.name} on {self.host_name} was started by somebody meanwhile; it goes on"
                )
                continue
            step = driven(self.host_name, service, "start")
            step.apply(here, step.observe(here))
            for problem in step.verify(here):
                raise RegctlError(problem.message, hint=problem.hint)
            warnings.append(f"{service.name} on {self.host_name} had ended meanwhile, and was started again")
            changed = True
        return StepReport(changed=changed, warnings=tuple(warnings))

    def _running(self, here: Target) -> dict[str, bool]:
        services = pulp_node(here.world, self.pulp, self.host_name).services
        return {one.name: _runs(here, self.host_name, one) for one in services}
