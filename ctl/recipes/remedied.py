"""A check with a remedy that the operator asked for by name: look, and where the check blocks, mend first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ctl.recipes.codec import class_path, load_step
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Run, Step, StepReport, Target
from ctl.report.model import Text

if TYPE_CHECKING:
    from ctl.report.events import Event
    from ctl.report.model import Json


class _Inner:
    """The run as the remedy's step sees it: what it noted is journaled under the step around it."""

    def __init__(self, outer: Run) -> None:
        self.outer = outer
        self.id, self.epoch, self.recipe = outer.id, outer.epoch, outer.recipe
        self.seen = outer.seen

    def emit(self, event: Event) -> None:
        self.outer.emit(event)

    def stopping(self) -> bool:
        return self.outer.stopping()

    def guard(self) -> None:
        self.outer.guard()

    def note(self, **facts: Json) -> None:
        self.outer.note(**facts)

    def notes(self, step: str) -> Mapping[str, Json]:
        return self.outer.notes(Remedied.__name__) or self.outer.notes(step)


class Remedied(Step):
    """Run a step's checks; where one blocks, do the remedy, and demand that none blocks any more."""

    name: str  # of the remedy, as the operator gave it
    step: str
    arguments: dict[str, Any]
    remedy: str
    remedy_arguments: dict[str, Any]

    # What the remedy is, only its own class knows: one that was cut off is never passed over in silence.
    irreversible: ClassVar[bool] = True
    retries: ClassVar[int] = 0

    @classmethod
    def of(cls, name: str, check: Step, remedy: Step) -> Remedied:
        """Put a check and its remedy together."""
        return cls(
            name=name,
            step=class_path(check),
            arguments=check.model_dump(mode="json"),
            remedy=class_path(remedy),
            remedy_arguments=remedy.model_dump(mode="json"),
        )

    def looking(self) -> Step:
        """Build the step whose checks are meant."""
        return load_step({"step": self.step, "args": self.arguments})

    def mending(self) -> Step:
        """Build the remedy's step."""
        return load_step({"step": self.remedy, "args": self.remedy_arguments})

    def title(self) -> str:
        """Say what is looked at, and what is done about it."""
        return f"check: {self.looking().title()}; remedy {self.name}: {self.mending().title()}"

    def host(self) -> str:
        """The remedy's host, where it acts."""
        return self.mending().host() or self.looking().host()

    def check(self, here: Target) -> Iterator[Problem]:
        """Yield what does not block; where something does, the remedy's own checks decide."""
        found = list(self.looking().check(here))
        yield from (problem for problem in found if not problem.blocking)
        if any(problem.blocking for problem in found):
            yield from self.mending().check(self._inside(here))

    def observe(self, here: Target) -> Before:
        """See whether the remedy is needed, and the state before it."""
        needed = self._needed(here)
        return {
            "needed": needed,
            "before": dict(self.mending().observe(self._inside(here))) if needed else {},
        }

    def preview(self, here: Target) -> Preview:
        """Show the remedy where it is needed."""
        found = [problem.message for problem in self.looking().check(here) if problem.blocking]
        if not found:
            return Preview(self.title(), changes=False)
        shown = self.mending().preview(self._inside(here))
        blocks = (*(Text(message) for message in found), *shown.blocks)
        return replace(shown, title=f"remedy {self.name}: {shown.title}", blocks=blocks)

    def apply(self, here: Target, before: Before) -> StepReport | None:
        """Do the remedy where it is needed."""
        if not before["needed"]:
            return StepReport(changed=False)
        return self.mending().apply(self._inside(here), before["before"])

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Ask the remedy how far it came."""
        return self.mending().probe(self._inside(here), before["before"]) if before["needed"] else "pending"

    def settle(self, here: Target, before: Before) -> None:
        """Let the remedy make sure that nothing of it still runs."""
        if before.get("needed"):
            self.mending().settle(self._inside(here), before["before"])

    def verify(self, here: Target) -> Iterator[Problem]:
        """The check must not block any more."""
        for problem in self.looking().check(here):
            if problem.blocking:
                yield replace(problem, message=f"the remedy {self.name} did not mend it: {problem.message}")

    def _needed(self, here: Target) -> bool:
        return any(problem.blocking for problem in self.looking().check(here))

    def _inside(self, here: Target) -> Target:
        return Target(here.world, _Inner(here.run))
