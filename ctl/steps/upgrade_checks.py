"""What must hold before an upgrade begins, and after it: both only look."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from ctl.errors import Outcome, RegctlError
from ctl.plans.upgrade import plan
from ctl.plans.upgrade_rules import SKIPPABLE
from ctl.recipes.model import Before, Look, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.steps.read_only_node import READY
from ctl.steps.rolling_node import Roll, RollingNode
from ctl.steps.target_program import same_release
from ctl.steps.upgrade_look import Asked, look


class DemandUpgradable(Look):
    """Every node is looked at, and the storage for images that would no longer be served."""

    registry: str
    binary: str = ""
    version: str = ""
    secrets: str = ""

    skippable = SKIPPABLE

    def title(self) -> str:
        """Name the registry."""
        return f"look whether {self.registry} can be upgraded"

    def check(self, here: Target) -> Iterator[Problem]:
        """Yield what stands in the way. Looked at once: within the run nodes are half-way by intent."""
        if here.run.id:
            return
        version = Version(self.version) if self.version else None
        asked = Asked(self.registry, self.binary, version, self.secrets)
        for one in plan(look(here.world, asked, here)).blocked:
            outcome = Outcome.UNREACHABLE if one.unreachable else Outcome.REFUSED
            yield Problem(one.message, one.hint, outcome=outcome, name=one.name)


class ProveUpgraded(Step):
    """Every node that was rolled runs its target, answers, and says so together with the others."""

    registry: str
    rolls: tuple[Roll, ...]

    def title(self) -> str:
        """Name the registry."""
        return f"prove every rolled node of {self.registry}"

    def preview(self, here: Target) -> Preview:
        """Nothing would change."""
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Look at each; RegctlError where one is not what it was proved to be."""
        versions: dict[str, str] = {}
        for roll in self.rolls:
            if not roll.running:
                continue
            node = RollingNode(here, roll)
            node.new.client.wait_ready(READY)
            running = node.running_version()
            if not same_release(running, roll.version):
                raise RegctlError(
                    f"{roll.name} runs {running or 'nothing'} now, and was proved to run {roll.version}",
                    hint="who restarted it? see `regctl upgrade plan`",
                )
            versions[roll.node] = str(running)
        return StepReport({"versions": versions}, changed=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Looking again is safe."""
        return "pending"
