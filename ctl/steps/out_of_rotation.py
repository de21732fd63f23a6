"""A node taken out of what sends clients to it, for as long as something is done to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

from ctl.errors import InterruptedRunError, Outcome, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Scope, StepReport, Target
from ctl.report.model import Text
from ctl.steps.read_only_node import READY
from ctl.steps.target_program import demand

_PROGRAM = timedelta(minutes=2)  # that one of the commands may take
_PAUSE = 0.2


class OutOfRotation(Scope):
    """Within it no new client is sent to a node, by the site's own commands.

    It is put back only once it answers again: a node that could not be brought up stays out, and the run
    stays open. A node that was stopped when this began is not drained, and not put back.
    """

    registry: str
    node: str

    def title(self) -> str:
        """Name the node."""
        return f"take {self.registry} on {self.node} out of rotation"

    def host(self) -> str:
        """The node's host."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """Its programs must be there, and the node must answer now."""
        drain = here.world.node(self.registry, self.node).drain
        if drain is None:
            yield Problem(f"the site says no `drain` for {self.registry}/{self.node}", outcome=Outcome.CONFIG)
            return
        host = here.world.host(drain.host or self.node)
        for argv in (drain.out, drain.into):
            if "/" in argv[0] and host.stat(argv[0]) is None:
                yield Problem(
                    f"{self.registry}/{self.node}: {argv[0]} is not there on {host.name}",
                    "correct `drain` of the node in the site",
                    outcome=Outcome.CONFIG,
                )

    def observe(self, here: Target) -> Before:
        """Remember whether it answered."""
        return {"answered": here.world.client(self.registry, self.node).ping().state == "ready"}

    def preview(self, here: Target) -> Preview:
        """Show the commands."""
        drain = here.world.node(self.registry, self.node).drain
        if drain is None:
            return Preview(self.title())
        where = drain.host or self.node
        lines = (f"on {where}: {' '.join(drain.out)}", f"afterwards: {' '.join(drain.into)}")
        return Preview(self.title(), True, (Text("\n".join(lines)),))

    def apply(self, here: Target, before: Before) -> StepReport:
        """Run the command that takes it out, and let the last clients go."""
        drain = here.world.node(self.registry, self.node).drain
        if drain is None or not before["answered"]:
            return StepReport(changed=False, not_applicable="it did not serve")
        here.run.guard()
        failure = f"{self.registry}/{self.node} could not be taken out of rotation"
        demand(here.world.host(drain.host or self.node), drain.out, failure, _PROGRAM)
        deadline = time.monotonic() + drain.settle_seconds
        while (left := deadline - time.monotonic()) > 0:
            if here.run.stopping():
                raise InterruptedRunError("stopped while clients were going elsewhere")
            time.sleep(min(_PAUSE, left))
        return StepReport({"settled_seconds": drain.settle_seconds})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Taking it out twice does no harm."""
        return "pending"

    def leave(self, here: Target, before: Before) -> StepReport:
        """Prove that it answers, and put it back."""
        drain = here.world.node(self.registry, self.node).drain
        if drain is None or not before["answered"]:
            return StepReport(changed=False)
        try:
            here.world.client(self.registry, self.node).wait_ready(READY)
        except RegctlError as error:
            raise type(error)(
                f"{self.registry}/{self.node} does not answer, and stays out of rotation: {error.message}",
                hint=error.hint or "bring it up (regctl service tail), then: regctl run resume",
                details=error.details,
            ) from error
        here.run.guard()
        failure = f"{self.registry}/{self.node} could not be put back into rotation"
        demand(here.world.host(drain.host or self.node), drain.into, failure, _PROGRAM)
        return StepReport()
