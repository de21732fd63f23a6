"""Have every node of a registry serve from the other backend, read-only, node by node."""

from __future__ import annotations

from typing import ClassVar

from ctl.recipes.model import Before, Preview, ProbeAnswer, StepReport, Target, Undoable
from ctl.report.model import Text
from ctl.steps.switch_node import SwitchNode
from ctl.steps.switch_window import Backend


class SwitchBackend(Undoable):
    """Put the switched file on each node, restart what runs, prove what it serves and that it takes no write.

    Belongs within a `SwitchWindow` of each node, which keeps both texts. Undone, the files say the former
    backend again, still read-only; the windows restart the nodes when they are left, by when the lock files
    are as they were.
    """

    registry: str
    to: Backend

    retries: ClassVar[int] = 0

    def title(self) -> str:
        return f"switch {self.registry} to the {self.to}, read-only, node by node"

    def observe(self, here: Target) -> Before:
        return {"nodes": {node.host_name: node.observe_kept(here.run.id) for node in self._nodes(here)}}

    def preview(self, here: Target) -> Preview:
        lines = [
            f"{node.name}: {'restart' if self._runs(node) else 'stopped, stays so'}"
            for node in self._nodes(here)
        ]
        return Preview(self.title(), True, (Text("\n".join(lines)),))

    def apply(self, here: Target, before: Before) -> StepReport:
        warnings: list[str] = []
        switched = 0
        for node in self._nodes(here):
            was = before["nodes"][node.host_name]
            switched += node.put(was, "switched_closed")
            warnings += node.follow(was, closed=True, database=self.to == "database")
        return StepReport({"nodes_switched": switched}, warnings=tuple(warnings))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"  # again it only does what is not done

    def undo(self, here: Target, before: Before) -> None:
        for node in reversed(self._nodes(here)):
            node.put(before["nodes"][node.host_name], "closed")

    def _nodes(self, here: Target) -> list[SwitchNode]:
        nodes = here.world.registry(self.registry).nodes
        return [SwitchNode(here, self.registry, node.host) for node in nodes]

    def _runs(self, node: SwitchNode) -> bool:
        return node.service.state().running
