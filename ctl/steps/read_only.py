"""A node kept read-only for a while, and brought back exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Scope, StepReport, Target
from ctl.report.model import Text
from ctl.steps.read_only_checks import NEWER_NAME, problems
from ctl.steps.read_only_node import ReadOnlyNode

READ_ONLY_KEY = "storage.maintenance.readonly.enabled"


class ReadOnly(Scope):
    """Within it a node accepts no write, proved by a refused one.

    A node that is read-only already stays so, before, within and after. A stopped node stays stopped; its
    file says read-only meanwhile, in case somebody starts it.
    """

    registry: str
    node: str

    skippable: ClassVar[tuple[str, ...]] = (NEWER_NAME,)

    def title(self) -> str:
        """Name the node."""
        return f"keep {self.registry} on {self.node} read-only"

    def host(self) -> str:
        """The node's host."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """Say what stands in the way, all of it."""
        yield from problems(self._on(here))

    def observe(self, here: Target) -> Before:
        """Describe file, process and mode."""
        return self._on(here).observe(here.run.id)

    def preview(self, here: Target) -> Preview:
        """Show the key that changes and the restart."""
        return preview_closing(self._on(here), self.title())

    def apply(self, here: Target, before: Before) -> StepReport:
        """Keep the original, write the change, restart with drain, prove a refused write."""
        return self._on(here).close(before)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Tell by the file's bytes and the process how far it came."""
        return self._on(here).progress(before)

    def verify(self, here: Target) -> Iterator[Problem]:
        """Prove the refused write again."""
        try:
            self._on(here).prove_closed()
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)

    def leave(self, here: Target, before: Before) -> StepReport:
        """Bring back bytes, mode, owner and service, and prove an accepted write if there was one before."""
        return self._on(here).restore(before)

    def _on(self, here: Target) -> ReadOnlyNode:
        return ReadOnlyNode(here, self.registry, self.node)


def preview_closing(node: ReadOnlyNode, title: str) -> Preview:
    """Say what making a node read-only would change; shows one key, so no secret."""
    data = node.read()
    state = node.service.state()
    if node.engine.is_read_only(node.parsed(data).data):
        return Preview(f"{node.name} is read-only already and stays so", changes=False)
    lines = [f"{node.config_file}: {READ_ONLY_KEY}: true (the original is kept beside it)"]
    if state.running:
        seconds = node.grace().total_seconds()
        lines.append(f"restart {node.name}, {seconds:g} s at most to drain; prove a refused write")
    else:
        lines.append(f"{node.name} is stopped and stays so")
    return Preview(title, blocks=(Text("\n".join(lines)),), data={"restarts": state.running})
