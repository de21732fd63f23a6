"""Demand that a registry serves from one backend, by all that is known of it. Looks only."""

from __future__ import annotations

from collections.abc import Iterator

from ctl.catalog.backend import judge
from ctl.recipes.model import Look, Problem, Target
from ctl.steps.backend_evidence import gather
from ctl.steps.switch_window import Backend


class DemandBackend(Look):
    """Refuse a registry of which configuration, lock files, answers and tables together say otherwise."""

    registry: str
    backend: Backend

    def title(self) -> str:
        return f"look whether {self.registry} is on the {self.backend}"

    def check(self, here: Target) -> Iterator[Problem]:
        verdict = judge(gather(here.world, self.registry))
        if verdict.mode != self.backend:
            yield Problem(
                f"{self.registry} is not on the {self.backend}, but {_WORDS[verdict.mode]}: "
                + "; ".join(verdict.reasons),
                f"`regctl lockfiles show {self.registry}` shows all that is known",
            )


_WORDS = {
    "database": "on its database",
    "filesystem": "on its storage tree",
    "undecided": "on neither for sure",
    "contradictory": "on neither without contradiction",
}
