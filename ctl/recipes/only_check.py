"""The checks of a step without the step: what a recipe's `check` items become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ctl.recipes.codec import class_path, load_step
from ctl.recipes.model import Look, Problem, Step, Target


class OnlyCheck(Look):
    """Run a step's checks, and nothing else of it."""

    step: str  # the class, as the journal names it
    arguments: dict[str, Any]
    remedy: str = ""  # what to do where a check blocks: told, never done

    @classmethod
    def of(cls, step: Step, remedy: str = "") -> OnlyCheck:
        """Wrap a step."""
        return cls(step=class_path(step), arguments=step.model_dump(mode="json"), remedy=remedy)

    def inner(self) -> Step:
        """Build the step again."""
        return load_step({"step": self.step, "args": self.arguments})

    def title(self) -> str:
        """Say what is looked at."""
        return f"only check: {self.inner().title()}"

    def host(self) -> str:
        """The step's host."""
        return self.inner().host()

    def check(self, here: Target) -> Iterator[Problem]:
        """Yield the step's own problems, with the remedy."""
        for problem in self.inner().check(here):
            hints = [problem.hint, self.remedy if problem.blocking else ""]
            yield replace(problem, hint="; ".join(filter(None, hints)))
