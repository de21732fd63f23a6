"""A step and the recipe that uses it."""

from __future__ import annotations

from ctl.recipes.model import Before, Do, Preview, ProbeAnswer, Recipe, Step, StepReport, Target


class LeaveNote(Step):
    """Write a text to a file on the host `here`."""

    path: str
    text: str

    def title(self) -> str:
        return f"leave a note in {self.path}"

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=not self._there(here))

    def apply(self, here: Target, before: Before) -> StepReport:
        here.run.guard()
        here.world.host("here").write(self.path, self.text.encode(), mode=0o640)
        return StepReport({"characters": len(self.text)})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "done" if self._there(here) else "pending"

    def _there(self, here: Target) -> bool:
        try:
            return here.world.host("here").read(self.path) == self.text.encode()
        except FileNotFoundError:
            return False


def note(path: str, text: str) -> Recipe:
    """Return the recipe of `regctl shelf note`."""
    return Recipe(
        "note", (Do(LeaveNote(path=path, text=text)),), ("registry/main",), question="Leave the note?"
    )
