"""Everything that is looked at before the first write: all checks of all steps, and what each would do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ctl.errors import Outcome, RegctlError, UsageError
from ctl.recipes import claims
from ctl.recipes.attempt import as_problem
from ctl.recipes.codec import Place, places
from ctl.recipes.identity import controller_id
from ctl.recipes.model import Preview, Problem, Recipe, Target
from ctl.report.model import Text

if TYPE_CHECKING:
    from ctl.recipes.live import CheckRun
    from ctl.world import World


@dataclass(frozen=True)
class Skips:
    """Problems that the operator passes over: named, with a reason, still evaluated and reported."""

    names: frozenset[str] = frozenset()
    reason: str = ""

    @classmethod
    def of(cls, names: Iterable[str], reason: str) -> Skips:
        """Build it; UsageError if something is skipped without a reason."""
        skips = cls(frozenset(names), reason.strip())
        if skips.names and not skips.reason:
            raise UsageError("--skip needs --skip-reason", hint="say why, for whoever reads the journal")
        return skips

    def apply(self, problem: Problem) -> Problem:
        """Return the problem, no longer blocking if its name is skipped."""
        if not problem.blocking or not problem.name or problem.name not in self.names:
            return problem
        message = f"{problem.message} (check {problem.name} skipped: {self.reason})"
        return replace(problem, message=message, blocking=False)

    def demand_known(self, recipe: Recipe, problems: Sequence[Problem]) -> None:
        """Raise UsageError for a name that none of the recipe's checks has."""
        known = {problem.name for problem in problems if problem.name}
        for place in places(recipe.items):
            known.update(place.step.skippable)
        for name in sorted(self.names - known):
            near = difflib.get_close_matches(name, sorted(known), n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            there = ", ".join(sorted(known)) or "none"
            raise UsageError(
                f"no check of {recipe.name} has the name {name!r}",
                hint=f"{meant}checks that can be skipped: {there}",
            )


def gather(world: World, recipe: Recipe, run: CheckRun) -> list[Problem]:
    """Run every check of every step, and look for other controllers' claims; only reads."""
    here = Target(world, run)
    problems = _claimed(world, recipe)
    for place in places(recipe.items):
        problems += _check(place, here)
    seen: dict[Problem, None] = dict.fromkeys(problems)  # two steps may find the same thing
    return list(seen)


def _check(place: Place, here: Target) -> list[Problem]:
    found = []
    try:
        for problem in place.step.check(here):
            found.append(problem)
    except (RegctlError, OSError) as error:
        found.append(as_problem(error))
    return found


def _claimed(world: World, recipe: Recipe) -> list[Problem]:
    found = []
    own = controller_id(world.state_dir, create=False)
    try:
        for spot, claim in claims.foreign(world, recipe.resources, own):
            found.append(as_problem(claims.refusal(spot, claim)))
    except RegctlError as error:
        found.append(as_problem(error))
    return found


def preview(world: World, recipe: Recipe, run: CheckRun) -> tuple[tuple[Preview, ...], bool]:
    """Return what each step would do, and whether any step (scopes aside) has something to do."""
    here = Target(world, run)
    previews, changes = [], False
    for place in places(recipe.items):
        shown = _with_reason(place.step.preview(here), place.because)
        previews.append(shown)
        decides = recipe.decided_by in ("", type(place.step).__name__) and not place.is_scope
        changes = changes or (shown.changes and decides)
    return tuple(previews), changes


def _with_reason(preview: Preview, because: str) -> Preview:
    """Say first why the recipe has a step, where it says so."""
    if not because:
        return preview
    reason = Text(f"because {because}")
    return replace(preview, blocks=(reason, *preview.blocks), data={**preview.data, "because": because})


def blocking_outcome(problems: Sequence[Problem]) -> Outcome | None:
    """Return the outcome of the first problem that blocks, None if none does."""
    return next((problem.outcome for problem in problems if problem.blocking), None)
