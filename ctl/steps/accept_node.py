"""From here on a node is on its new program."""

from __future__ import annotations

from ctl.recipes.model import Before, Preview, ProbeAnswer, Step, StepReport, Target
from ctl.steps.rolling_node import Roll


class AcceptNode(Step):
    """From here on a node is on its new program: the way back ends."""

    roll: Roll

    def title(self) -> str:
        """Name the node."""
        return f"accept {self.roll.version} for {self.roll.registry} on {self.roll.node}"

    def host(self) -> str:
        """The node's host."""
        return self.roll.node

    def preview(self, here: Target) -> Preview:
        """Nothing by itself."""
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Note it; the way back asks for this when it is left."""
        here.run.note(accepted=self.roll.name)
        return StepReport({"version": self.roll.version}, changed=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Noting it again is safe."""
        return "pending"


def accepted(here: Target, roll: Roll) -> bool:
    """Say whether this run has accepted a node's new program."""
    return here.run.notes("AcceptNode").get("accepted") == roll.name
