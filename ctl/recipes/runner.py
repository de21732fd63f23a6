"""The one runner: checks, previews, confirmation, lock, journal, claims, steps, and the way back out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ctl.errors import InterruptedRunError, LockedError, Outcome, RefusedError, RegctlError, UsageError
from ctl.fleet.reach import reach as fleet_reach
from ctl.recipes import checks, failpoints, runs
from ctl.recipes.alike import told_once
from ctl.recipes.attempt import Waits
from ctl.recipes.checks import Skips
from ctl.recipes.host_records import host_records, outcome_of_fallen
from ctl.recipes.live import CheckRun, safe
from ctl.recipes.lock import Locks
from ctl.recipes.model import Preview, Problem, Recipe, RunReport, RunWord
from ctl.recipes.session import Session
from ctl.recipes.state import by_path
from ctl.report.events import Message, Planned

if TYPE_CHECKING:
    from ctl.recipes.checks import Reach, Verdict
    from ctl.recipes.state import RunState
    from ctl.report.events import EventSink
    from ctl.world import World

Confirm = Callable[[str], bool]


class Runner:
    """Runs recipes on a world.

    `confirm` asks the operator a question; None where there is no terminal. `argv` is what was typed,
    for the journal, secrets are taken out. Problems are told as they are found, through `emit`, and
    stand in the report too: a command need not print them again.
    """

    def __init__(
        self,
        world: World,
        *,
        emit: EventSink,
        confirm: Confirm | None = None,
        version: str = "",
        argv: Sequence[str] = (),
    ) -> None:
        self.world = world
        self.emit = safe(emit)
        self.confirm = confirm
        self.version = version
        self.argv = tuple(argv or sys.argv)
        self.boundary = failpoints.from_environment(os.environ)
        self.locks = Locks(world.state_dir, self.boundary)
        self.waits = Waits()
        self.reach: Reach = fleet_reach

    def run(
        self,
        recipe: Recipe,
        *,
        dry_run: bool = False,
        yes: bool = False,
        skip: Sequence[str] = (),
        skip_reason: str = "",
    ) -> RunReport:
        """Run a recipe, or only look in a dry run (which writes nothing anywhere).

        A refusal by checks and a failed step are a RunReport; its `outcome` is the command's. Raises
        UsageError (a misspelled skip; a question, and nobody to ask), LockedError (held by somebody),
        RefusedError (an earlier run is open), InterruptedRunError (answered no): nothing was changed.
        """
        skips = Skips.of(skip, skip_reason)
        if dry_run:
            self._mention_busy(recipe)
        else:
            self._refuse_busy(recipe)
        look = CheckRun(recipe.name, self.emit)
        verdict = self._check(recipe, skips, look)
        problems, fallen = verdict.problems, verdict.fallen
        if verdict.outcome is not None:
            hosts = host_records(recipe, None, fallen, "nothing was changed anywhere")
            state: RunWord = "dry-run" if dry_run else "failed"
            return RunReport("", recipe.name, state, verdict.outcome, problems=problems, hosts=hosts)
        previews, changes = checks.preview(self.world, recipe, look, fallen)
        if dry_run or not changes:
            state, why = ("dry-run", "dry run") if dry_run else ("done", "nothing to do")
            outcome = Outcome.PENDING if changes else outcome_of_fallen(fallen, Outcome.NOTHING_TO_DO)
            hosts = host_records(recipe, None, fallen, why, "ok" if not changes else "not-attempted")
            return RunReport("", recipe.name, state, outcome, (), previews, problems, hosts)
        self._tell_plan(previews)
        self._demand_yes(recipe, yes)
        return Session(self, skips).begin(recipe, previews, problems, fallen)

    def resume(self, run_id: str, *, leave_only: bool = False, yes: bool = False) -> RunReport:
        """Go on with an open run, or back out of it; see `ctl.recipes.resume`."""
        from ctl.recipes.resume import resume

        return resume(self, run_id, leave_only=leave_only, yes=yes)

    def abandon(self, run_id: str, reason: str, *, leave_open_scopes: bool = False) -> RunState:
        """Close an open run without going on; see `ctl.recipes.resume`."""
        from ctl.recipes.resume import abandon

        return abandon(self, run_id, reason, leave_open_scopes=leave_open_scopes)

    def _check(self, recipe: Recipe, skips: Skips, look: CheckRun) -> Verdict:
        found = checks.gather(self.world, recipe, look, self.reach)
        skips.demand_known(recipe, found.everything())
        verdict = checks.judge(recipe, found, skips)
        for problem in verdict.problems:
            self.tell(problem)
        return verdict

    def tell(self, problem: Problem) -> None:
        """Tell the operator of a problem, with what to do next."""
        text = "\n".join(filter(None, (problem.message, problem.hint and f"hint: {problem.hint}")))
        self.emit(Message(text, "error" if problem.blocking else "warning"))

    def _tell_plan(self, previews: Sequence[Preview]) -> None:
        for preview in told_once(previews):
            self.emit(Planned(preview.title, preview.blocks, preview.changes))

    def _demand_yes(self, recipe: Recipe, yes: bool) -> None:
        if not recipe.question or yes:
            return
        if self.confirm is None:
            raise UsageError(
                f"{recipe.name} asks before it changes anything, and there is no terminal to ask on",
                hint="read what it would do with --dry-run, then give --yes",
            )
        if not self.confirm(recipe.question):
            raise InterruptedRunError("not confirmed; nothing was changed")

    def _refuse_busy(self, recipe: Recipe) -> None:
        """Raise if a living run holds a lock, or an open one must be settled first; only reads."""
        for resource in recipe.resources:
            self.locks.refuse_held(self.locks.state(resource))
        for state in runs.open_runs(self.world.state_dir, recipe.resources):
            if not takeable(state):
                raise open_run_error(state)

    def _mention_busy(self, recipe: Recipe) -> None:
        try:
            self._refuse_busy(recipe)
        except (LockedError, RefusedError) as error:
            self.emit(Message(f"a real run would be refused now: {error.message}", "warning"))


def takeable(state: RunState) -> bool:
    """Say whether an open run may simply be closed by the next one on its resources."""
    if state.state == "unreadable" or state.open_scopes():
        return False
    if not state.in_flight():
        return True
    try:
        steps = by_path(state.load())
    except RegctlError:
        return False  # a plugin is gone: nobody can tell what its step does
    return not any(steps[path].step.irreversible for path in state.in_flight())


def open_run_error(state: RunState) -> RefusedError:
    """Say that a run must be settled first, and how."""
    abandon = f"regctl run abandon {state.id} --reason WHY"
    if state.state == "unreadable":
        return RefusedError(
            f"run {state.id} is open, and its journal is damaged: {state.reason}",
            hint=f"look at the registry, put it right by hand, then: {abandon} --leave-open-scopes",
        )
    opened = [state.titled(path) for path in state.open_scopes()]
    what = f"; still entered: {', '.join(opened)}" if opened else ""
    return RefusedError(
        f"run {state.id} ({state.recipe}) began at {state.started_at} and has not ended{what}",
        hint=f"regctl run resume {state.id} finishes it or puts everything back; or: {abandon}",
    )
