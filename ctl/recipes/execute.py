"""Walk a recipe forward, and back out of it.

Both are driven by what the journal says so far, so a resume is the same walk. Rows of several hosts are
walked by an Executor each, in a thread each: see `ctl.recipes.rows`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ctl.errors import InterruptedRunError, Outcome, RefusedError, RegctlError
from ctl.recipes.attempt import Attempts, BlockedError, Result, as_problem, is_fatal, result_of
from ctl.recipes.checks import Skips, located
from ctl.recipes.codec import Place, places
from ctl.recipes.model import Across, Do, Item, Problem, Recipe, Scope, StepReport, Target, Undoable, Within
from ctl.report.events import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ctl.recipes.checks import Fall
    from ctl.recipes.live import LiveRun
    from ctl.world import World

EnteredHook = Callable[[str, Any, str], None]  # path, state before, host of the row
_LEAVING = ("leaving", "left", "stuck")


class StuckError(RegctlError):
    """A scope could not be left: the run stays open."""


class Executor:
    """Runs one recipe for one run, from wherever its journal says that it stands."""

    def __init__(
        self,
        world: World,
        run: LiveRun,
        recipe: Recipe,
        attempts: Attempts,
        skips: Skips,
        *,
        entered: EnteredHook = lambda path, before, host: None,
        may_repeat: Callable[[str], bool] = lambda question: False,
        fallen: Mapping[str, Fall] | None = None,
    ) -> None:
        self.here = Target(world, run)
        self.run, self.recipe, self.attempts, self.skips = run, recipe, attempts, skips
        self.fallen = dict(fallen or {})  # rows that cannot begin, by path
        self.entered, self.may_repeat = entered, may_repeat
        self.problems: list[Problem] = []
        self.tried: set[str] = set()  # scopes whose leave failed in this process

    # -- forward ----------------------------------------------------------------------------------

    def forward(self) -> None:
        """Do what is not done yet; raises what went wrong, with the scopes still entered."""
        self.walk(self.recipe.items, "")

    def walk(self, items: Sequence[Item], prefix: str) -> None:
        """Do what is not done yet of a part of the recipe."""
        from ctl.recipes.rows import Rows

        for number, item in enumerate(items, 1):
            path = f"{prefix}{number}"
            if isinstance(item, Do):
                self._perform(Place(path, item.step, ()))
            elif isinstance(item, Across):
                Rows(self, item, path).forward()
            else:
                self._within(item, path)

    def _within(self, item: Within, path: str) -> None:
        scopes = [Place(f"{path}.s{number}", scope, ()) for number, scope in enumerate(item.scopes, 1)]
        # Once a leave has begun without a failure before it, the body is complete.
        if not any(self.run.state.at(scope.path).standing in _LEAVING for scope in scopes):
            for scope in scopes:
                self._perform(scope)
            self.walk(item.body, f"{path}.")
        self._leave_all(scopes)

    def _perform(self, place: Place) -> None:
        progress = self.run.state.at(place.path)
        if progress.standing == "done":
            return
        if self.run.stopping():
            raise InterruptedRunError(f"stopped by {self.run.stop.reason}")
        since = self.attempts.began(place, "apply")
        try:
            self.run.guard()
            result = self._apply(place)
        except Exception as error:
            if not is_fatal(error):
                self.attempts.failed(place, "apply", since, error)
            raise
        self.attempts.ended(place, "apply", since, result)

    def _apply(self, place: Place) -> Result:
        step, progress = place.step, self.run.state.at(place.path)
        report: StepReport | None = None
        resuming = progress.standing == "applying"
        answer = step.probe(self.here, progress.before) if resuming else "pending"
        warnings: list[str] = []
        question = f"Nobody can tell how far this came: {step.title()}. Repeat it?"
        if answer == "unknown" and not self.may_repeat(question):
            raise RefusedError(
                f"nobody can tell how far the interrupted step came: {step.title()}",
                hint="its scopes are left, as far as that is safe; then run the command again",
            )
        if answer != "done":
            warnings += self._passed(list(step.check(self.here)))
            # What the first attempt saw is the truth; a second look would see our own half-done work.
            before = progress.before if resuming else json.loads(json.dumps(dict(step.observe(self.here))))
            if place.is_scope:
                self.entered(place.path, before, self.run.row_host)
            report = self.attempts.call(place, "apply", before, lambda: step.apply(self.here, before))
        found = list(step.verify(self.here))
        # Refused means that nothing was changed; here something was, and it is not what it should be.
        warnings += self._passed(
            [replace(p, outcome=Outcome.FAILED) if p.outcome is Outcome.REFUSED else p for p in found]
        )
        return result_of(report, warnings)

    def _passed(self, problems: list[Problem]) -> list[str]:
        """Return the warnings among what a check or verify found; BlockedError if something blocks."""
        problems = [self.skips.apply(problem) for problem in problems]
        if any(problem.blocking for problem in problems):
            raise BlockedError(problems)
        self.problems += [located(problem, self.run.row_host) for problem in problems]
        return [problem.message for problem in problems]

    # -- back out ---------------------------------------------------------------------------------

    def unwind(self) -> None:
        """Undo what the recipe says, then leave every scope that may be left; StuckError if one stays.

        Nothing is left around a step that may still be at work, nor around a scope that could not be.
        """
        from ctl.recipes.rows import unwind_rows

        stuck: list[Place] = unwind_rows(self)
        self.back_out(places(self.recipe.items), stuck)
        self._raise_stuck(stuck)

    def back_out(self, found: Iterable[Place], stuck: list[Place]) -> None:
        """Undo and leave a part of the recipe, last things first; add what stays to `stuck`.

        Steps of other rows are passed over: each row backs out by itself. What rows have done stays done,
        and so does everything before it.
        """
        undoing = self.recipe.undo_on_failure
        for place in reversed(list(found)):
            standing = self.run.state.at(place.path).standing
            if place.row != self.run.row:
                undoing = undoing and standing == "pending"
                continue
            if place.is_scope:
                if self.run.state.at(place.path).open and not self._leave(place, stuck):
                    stuck.append(place)
                continue
            if standing in ("applying", "failed") and not self._settled(place):
                # One host of many that went away keeps the run open only if something is entered around it.
                if place.within or not self.run.row:
                    stuck.append(place)
                undoing = False
                continue
            if undoing and standing in ("done", "failed", "applying", "undoing"):
                self._undo(place)
            # What cannot be taken back is a barrier: what came before it is what it was built on.
            undoing = undoing and not self._stays(place, standing)

    def _stays(self, place: Place, standing: str) -> bool:
        """Say whether a step did what cannot be taken back, or may have: one that was cut off is asked."""
        if not place.step.irreversible or standing == "pending":
            return False
        if standing != "applying":
            return True
        try:
            self.run.current = place.path
            return place.step.probe(self.here, self.run.state.at(place.path).before) != "pending"
        except Exception as error:
            if is_fatal(error):
                raise
            return True

    def _leave_all(self, scopes: Sequence[Place]) -> None:
        stuck: list[Place] = []
        for place in reversed(scopes):
            if self.run.state.at(place.path).open and not self._leave(place, stuck):
                stuck.append(place)
        self._raise_stuck(stuck)

    def _leave(self, place: Place, stuck: Sequence[Place]) -> bool:
        if any(not independent(place, other) for other in stuck if inside(other, place)):
            return False
        if place.path in self.tried:
            return False
        scope, before = place.step, self.run.state.at(place.path).before
        assert isinstance(scope, Scope)  # noqa: S101 - recipes are typed; this tells the type checker
        since = self.attempts.began(place, "leave")
        try:
            report = self.attempts.call(place, "leave", before, lambda: scope.leave(self.here, before))
            result = result_of(report, [])
        except Exception as error:
            if is_fatal(error):
                raise
            self.tried.add(place.path)
            self.attempts.failed(place, "leave", since, error)
            problem = as_problem(error)
            self.tell(Problem(f"could not leave: {scope.title()}: {problem.message}", problem.hint))
            return False
        self.attempts.ended(place, "leave", since, result)
        return True

    def _settled(self, place: Place) -> bool:
        try:
            self.run.current = place.path
            self.run.guard()
            place.step.settle(self.here, self.run.state.at(place.path).before)
        except Exception as error:
            if is_fatal(error):
                raise
            problem = as_problem(error)
            title = place.step.title()
            self.tell(Problem(f"{title} may still be at work: {problem.message}", problem.hint))
            return False
        return True

    def _undo(self, place: Place) -> None:
        step, progress = place.step, self.run.state.at(place.path)
        if not isinstance(step, Undoable):
            return
        if any(not self.run.state.at(path).open for path in place.within):
            self.tell(Problem(f"not undone, as its scope is left already: {step.title()}", blocking=False))
            return
        since = self.attempts.began(place, "undo")
        try:
            self.attempts.call(place, "undo", progress.before, lambda: step.undo(self.here, progress.before))
        except Exception as error:
            if is_fatal(error):
                raise
            self.attempts.failed(place, "undo", since, error)
            problem = as_problem(error)
            self.tell(Problem(f"could not undo: {step.title()}: {problem.message}", problem.hint))
            return
        self.attempts.ended(place, "undo", since, Result("changed"))

    def tell(self, problem: Problem) -> None:
        """Tell the operator of a problem, and remember it for the report."""
        problem = located(problem, self.run.row_host)
        self.problems.append(problem)
        level = "error" if problem.blocking else "warning"
        self.run.emit(Message("\n".join(filter(None, (problem.message, problem.hint))), level))

    def _raise_stuck(self, stuck: Sequence[Place]) -> None:
        still = [self.titled(place) for place in stuck]
        if still:
            raise StuckError(
                f"run {self.run.id} stays open: not left are " + ", ".join(reversed(still)),
                hint=f"put right what stands in the way, then: regctl run resume {self.run.id}",
            )

    def titled(self, place: Place) -> str:
        """Return a step's title, with its host where it is part of a row."""
        host = self.run.state.rows[place.row].host if place.row in self.run.state.rows else ""
        return f"[{host}] {place.step.title()}" if host else place.step.title()


def inside(inner: Place, outer: Place) -> bool:
    """Say whether one place lies within a scope (or is a scope entered after it)."""
    stem, _, number = outer.path.rpartition(".s")
    if not inner.path.startswith(f"{stem}."):
        return False
    rest = inner.path[len(stem) + 1 :]
    return not (rest.startswith("s") and "." not in rest and int(rest[1:]) <= int(number))


def independent(one: Place, other: Place) -> bool:
    """Say whether two scopes entered side by side, one kind on several hosts, can be left in any order."""
    same_row = one.path.rpartition(".s")[0] == other.path.rpartition(".s")[0]
    return (
        same_row
        and other.is_scope
        and type(one.step) is type(other.step)
        and one.step.host() != other.step.host()
    )


def outcome_of(results: Sequence[str]) -> Outcome:
    """Choose the outcome of a run whose steps all ended well."""
    if "warned" in results:
        return Outcome.WARNING
    return Outcome.CHANGED if "changed" in results else Outcome.OK
