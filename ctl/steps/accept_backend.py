"""Decide that a registry stays on its new backend."""

from __future__ import annotations

from typing import ClassVar

from ctl.recipes.model import Before, Preview, ProbeAnswer, Step, StepReport, Target
from ctl.steps.switch_window import Backend, accepted


class AcceptBackend(Step):
    """Decide, for all nodes at once, that the windows open on the new backend. Nothing is undone after it."""

    registry: str
    to: Backend

    irreversible: ClassVar[bool] = True
    retries: ClassVar[int] = 0

    def title(self) -> str:
        return f"accept the {self.to} as the backend of {self.registry}: from here on there is no undoing"

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        here.run.guard()
        here.run.note(accepted=self.registry)
        return StepReport(changed=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "done" if accepted(here, self.registry) else "pending"
