"""Tell Katello, on the server, of the fields that preparing has filled: the site's own command, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ctl.errors import UsageError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Step, StepReport, Target
from ctl.report.model import Json
from ctl.steps.pulp_doors import pulp_node
from ctl.steps.reindex_record import owe, owed_since, settled
from ctl.steps.run_program import RunProgram

if TYPE_CHECKING:
    from ctl.config.pulp import PulpNode
    from ctl.world import World

TIMEOUT = 6 * 3600.0  # seconds


def reindex_owed(world: World, registry: str) -> bool:
    """Say whether a server with a reindex had new work that no reindex has told of yet."""
    has_one = any(node.reindex is not None for node in world.pulp(registry).nodes)
    return has_one and bool(owed_since(world.state_dir, registry))


class OweReindex(Step):
    """Remember, before a server's first row is changed, that its reindex must follow."""

    pulp: str
    host_name: str

    def title(self) -> str:
        """Name the server."""
        return f"remember that {self.pulp} on {self.host_name} is to be reindexed"

    def host(self) -> str:
        """The server's host."""
        return self.host_name

    def preview(self, here: Target) -> Preview:
        """A note of the controller's own is no change of the host."""
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Write the note."""
        if pulp_node(here.world, self.pulp, self.host_name).reindex is None:
            return StepReport(changed=False, not_applicable=_why_not(here.world, self.pulp, self.host_name))
        owe(here.world.state_dir, self.pulp, here.run.id)
        return StepReport(changed=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Writing it again is safe."""
        return "pending"


class _Program(RunProgram):
    """The call itself; its notes are those of the step that makes it."""

    def _notes(self, here: Target) -> Mapping[str, Json]:
        return here.run.notes("ReindexContent")


class ReindexContent(Step):
    """Run the server's `reindex` as a job of its own there, once after new work; a proxy has none.

    It is followed across breaks and found again after a crash, like every program that regctl runs. What it
    has told of is not told of again; where it failed, the next `content prepare` runs it again.
    """

    pulp: str
    host_name: str
    timeout_seconds: float = Field(default=TIMEOUT, gt=0)

    retries: ClassVar[int] = 0

    def title(self) -> str:
        """Name the server."""
        return f"reindex {self.pulp} on {self.host_name}"

    def host(self) -> str:
        """The server's host."""
        return self.host_name

    def preview(self, here: Target) -> Preview:
        """Show the exact call."""
        node = pulp_node(here.world, self.pulp, self.host_name)
        if node.reindex is None:
            return Preview(
                f"{self.title()}: {_why_not(here.world, self.pulp, self.host_name)}", changes=False
            )
        owed = bool(owed_since(here.world.state_dir, self.pulp))
        found = self._program(node).preview(here)
        return Preview(self.title(), owed, found.blocks, found.data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Run it, or find the job that an earlier attempt began; then it is owed no more."""
        node, state_dir = pulp_node(here.world, self.pulp, self.host_name), here.world.state_dir
        if node.reindex is None:
            return StepReport(changed=False, not_applicable=_why_not(here.world, self.pulp, self.host_name))
        if not owed_since(state_dir, self.pulp):
            return StepReport(changed=False, not_applicable="nothing is new since the last one")
        report = self._program(node).apply(here, before)
        settled(state_dir, self.pulp)
        return report

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Always go on: the id in the journal finds what was begun, and begins nothing again."""
        return "partial" if here.run.notes("ReindexContent").get("job") else "pending"

    def settle(self, here: Target, before: Before) -> None:
        """End what an interrupted attempt left running."""
        node = pulp_node(here.world, self.pulp, self.host_name)
        if node.reindex is not None:
            self._program(node).settle(here, before)

    def _program(self, node: PulpNode) -> _Program:
        if node.reindex is None:
            raise UsageError(f"the site names no reindex for {self.pulp} on {node.host}")
        return _Program(
            host_name=node.host,
            argv=node.reindex,
            user=node.reindex_user,
            timeout_seconds=self.timeout_seconds,
        )


def _why_not(world: World, registry: str, host: str) -> str:
    role = pulp_node(world, registry, host).role
    return "a proxy has no Katello" if role == "proxy" else "the site names no reindex for this server"
