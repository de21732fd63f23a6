"""One run while it is held: locks, journal and claims taken in order, given back in reverse."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ctl.errors import InterruptedRunError, LockedError, Outcome, RegctlError
from ctl.recipes import checks, runs
from ctl.recipes.attempt import Attempts, as_problem, is_fatal
from ctl.recipes.checks import Fall, Skips
from ctl.recipes.claims import Claim, Claims
from ctl.recipes.codec import all_rows, dump, places, plan_hash, redact
from ctl.recipes.execute import Executor, StuckError, outcome_of
from ctl.recipes.host_records import host_records
from ctl.recipes.identity import controller_id
from ctl.recipes.journal import Journal, now
from ctl.recipes.live import LiveRun
from ctl.recipes.lock import Held, new_info
from ctl.recipes.model import Preview, Problem, Recipe, RunReport, RunWord, StepRecord
from ctl.recipes.rows import outcome_of_rows
from ctl.recipes.signals import Stop, StopNowError
from ctl.recipes.state import BAD_RESULTS, RunState, fold, row_of

if TYPE_CHECKING:
    from ctl.recipes.runner import Runner


class Session:
    """Holds what a run needs, runs it, and lets go."""

    def __init__(self, runner: Runner, skips: Skips, may_repeat: Callable[[str], bool] | None = None) -> None:
        self.runner, self.skips = runner, skips
        self.state_dir = runner.world.state_dir
        self.may_repeat = may_repeat or (lambda question: False)
        self.problems: list[Problem] = []
        self.previews: tuple[Preview, ...] = ()
        self.fallen: dict[str, Fall] = {}
        self.away: set[str] = set()  # hosts where nothing will be done at all

    # -- taking hold ------------------------------------------------------------------------------

    def begin(
        self,
        recipe: Recipe,
        previews: tuple[Preview, ...],
        problems: Sequence[Problem],
        fallen: Mapping[str, Fall] | None = None,
    ) -> RunReport:
        """Start a new run of a recipe and run it to its end; `fallen` are rows that cannot begin."""
        self.previews, self.problems = previews, list(problems)
        self.fallen = dict(fallen or {})
        run_id = runs.new_id(recipe.name)
        dumped = dump(recipe)
        with Stop() as stop, self._locked(recipe, run_id) as held:
            self._supersede(recipe, run_id)
            journal = Journal.create(runs.folder(self.state_dir, run_id), self.runner.boundary)
            with contextlib.closing(journal):
                state = RunState()
                facts = {"schema": 1, "run": run_id, "recipe": dumped, "plan_hash": plan_hash(dumped)}
                facts |= {"skipped": sorted(self.skips.names), "skip_reason": self.skips.reason}
                state.fold(journal.append("start", {**facts, **self._facts(held)}))
                run = LiveRun(journal, state, self.runner.emit, stop, held.guard)
                return self._held(recipe, run, held, resumed=False, leave_only=False)

    def again(self, state: RunState, *, leave_only: bool) -> RunReport:
        """Take an open run over, and go on with it or back out of it."""
        recipe = state.load()
        with Stop() as stop, self._locked(recipe, state.id) as held:
            path = runs.journal_path(self.state_dir, state.id)
            with contextlib.closing(Journal(path, self.runner.boundary)) as journal:
                state = fold(journal.take_over("resume", self._facts(held)))
                if state.closed:
                    raise LockedError(f"run {state.id} has ended meanwhile", hint="regctl run show")
                run = LiveRun(journal, state, self.runner.emit, stop, held.guard)
                if not leave_only and state.unwinding is None:
                    self._reach_again(recipe, state)
                return self._held(recipe, run, held, resumed=True, leave_only=leave_only)

    def _reach_again(self, recipe: Recipe, state: RunState) -> None:
        """Prove again that the hosts whose rows have not begun can be worked on."""
        rows = {path: row for path, row in all_rows(recipe).items() if path not in state.rows}
        away = checks.unreached(self.runner.world, [row.host for row in rows.values()], self.runner.reach)
        self.fallen = {path: checks.fall([away[row.host]]) for path, row in rows.items() if row.host in away}
        for host, problem in away.items():
            self.runner.tell(replace(checks.located(problem, host), blocking=False))

    @contextlib.contextmanager
    def _locked(self, recipe: Recipe, run_id: str) -> Any:
        info = new_info(f"regctl {recipe.name}", recipe.title, run=run_id)
        held = self.runner.locks.acquire(recipe.resources, info)
        try:
            yield held
        finally:
            held.release()

    def _facts(self, held: Held) -> dict[str, Any]:
        return {
            "epoch": held.epoch,
            "holder": held.info.holder.as_json(),
            "controller": controller_id(self.state_dir, create=True),
            "argv": redact(self.runner.argv),
            "versions": {"regctl": self.runner.version, "python": platform.python_version()},
        }

    def _supersede(self, recipe: Recipe, run_id: str) -> None:
        """Close earlier open runs that left nothing behind; RefusedError if one did."""
        from ctl.recipes.runner import open_run_error, takeable

        for state in runs.open_runs(self.state_dir, recipe.resources):
            if not takeable(state):
                raise open_run_error(state)
            with contextlib.closing(Journal(runs.journal_path(self.state_dir, state.id))) as journal:
                journal.take_over("end", {"state": "superseded", "reason": f"by run {run_id}"})

    def _held(
        self, recipe: Recipe, run: LiveRun, held: Held, *, resumed: bool, leave_only: bool
    ) -> RunReport:
        hosts = {path: row.host for path, row in all_rows(recipe).items()}
        self.away = {hosts[path] for path in self.fallen} - {
            host for path, host in hosts.items() if path not in self.fallen
        }
        claim = self._claim(recipe, run)
        claims = Claims(self.runner.world, claim, self.runner.boundary, hosts.values())

        def guard(host: str) -> None:
            held.guard(host)
            claims.guard(host)

        guarded = LiveRun(run.journal, run.state, run.emit, run.stop, guard)
        attempts = Attempts(guarded, self.runner.boundary, self.runner.waits)
        executor = Executor(
            self.runner.world,
            guarded,
            recipe,
            attempts,
            self.skips,
            entered=claims.entered,
            may_repeat=self.may_repeat,
            fallen=self.fallen,
        )
        if resumed:
            # Where that fails nothing is decided, and the run stays open.
            claims.place(recipe.resources, self.away)
        return self._execute(executor, claims, resumed=resumed, leave_only=leave_only)

    def _claim(self, recipe: Recipe, run: LiveRun) -> Claim:
        holder = run.state.holder
        return Claim(
            registry="",
            run=run.id,
            epoch=run.epoch,
            controller=controller_id(self.state_dir, create=True),
            controller_host=holder.host if holder else "",
            recipe=recipe.name,
            operator=holder.user if holder else "",
            since=now(),
            before={path: run.state.at(path).before for path in run.state.open_scopes()},
        )

    # -- running ----------------------------------------------------------------------------------

    def _execute(self, executor: Executor, claims: Claims, *, resumed: bool, leave_only: bool) -> RunReport:
        run = executor.run
        only_back = leave_only or run.state.unwinding is not None
        try:
            if only_back:
                self._decide(run, "interrupted", Outcome.INTERRUPTED, "backed out by `run resume`")
            else:
                self._forward(executor, None if resumed else claims)
            if run.state.unwinding is not None:
                executor.unwind()
            self._remove(claims)
        except StopNowError:
            return self._left_open(executor, Outcome.INTERRUPTED, "stopped at once by a second Ctrl-C")
        except StuckError as error:
            self._tell(error)
            return self._left_open(executor, Outcome.FAILED, "not everything could be put back")
        return self._end(executor, backed_out=only_back)

    def _forward(self, executor: Executor, claims: Claims | None) -> None:
        run = executor.run
        try:
            if claims is not None:
                claims.place(executor.recipe.resources, self.away)
            if any(one.result in BAD_RESULTS and not row_of(one.path) for one in run.state.steps):
                raise RegctlError("a step had failed before regctl was ended")
            executor.forward()
        except Exception as error:
            if is_fatal(error):
                raise
            self._tell(error)
            problem = as_problem(error)
            word = "interrupted" if isinstance(error, InterruptedRunError) else "failed"
            self._decide(run, word, problem.outcome, problem.message)

    def _decide(self, run: LiveRun, state: str, outcome: Outcome, reason: str) -> None:
        """Journal that the run backs out from here on; once decided, it stays decided."""
        run.backing_out = True
        if run.state.unwinding is None:
            run.write("unwind", state=state, outcome=outcome.value, reason=reason)

    def _tell(self, error: Exception) -> None:
        problem = as_problem(error)
        self.problems.append(problem)
        self.runner.tell(problem)

    def _remove(self, claims: Claims) -> None:
        try:
            claims.remove()
        except RegctlError as error:
            if is_fatal(error):
                raise
            # The run is over all the same; our next run replaces the claim, another controller sees it.
            self.runner.tell(Problem(f"a claim is left behind: {error.message}", error.hint, blocking=False))

    # -- letting go -------------------------------------------------------------------------------

    def _end(self, executor: Executor, *, backed_out: bool) -> RunReport:
        run = executor.run
        unwinding = run.state.unwinding
        if unwinding is None:
            state, reason, outcome = self._ended_well(executor)
        else:
            state, reason = unwinding["state"], unwinding["reason"]
            # Backing out was all that there was to do, and it is done.
            outcome = Outcome.CHANGED if backed_out else Outcome(unwinding["outcome"])
        run.backing_out = True
        failure = run.write("end", state=state, outcome=outcome.value, reason=reason)
        if failure is not None:
            self._tell(failure)
            return self._left_open(executor, Outcome.FAILED, "its end could not be journaled")
        runs.prune(self.state_dir)
        return self._report(executor, state, outcome)

    def _ended_well(self, executor: Executor) -> tuple[RunWord, str, Outcome]:
        """Return how a run ended whose steps all ended well, those of some hosts perhaps aside."""
        bad = [row for row in executor.run.state.rows.values() if row.bad]
        if bad:
            reason = f"{len(bad)} hosts did not end well: {', '.join(row.host for row in bad)}"
            return "failed", reason, outcome_of_rows(bad)
        return "done", "", outcome_of([record.result for record in self._records(executor)])

    def _left_open(self, executor: Executor, outcome: Outcome, why: str) -> RunReport:
        run = executor.run
        opened = [run.state.titled(path) for path in run.state.open_scopes()]
        left = f"still entered: {', '.join(opened)}" if opened else "no scope is entered"
        problem = Problem(
            f"run {run.id} is left open ({why}); {left}",
            f"regctl run resume {run.id}",
            outcome=outcome,
        )
        self.problems.append(problem)
        self.runner.tell(problem)
        return self._report(executor, "open", outcome)

    def _report(self, executor: Executor, state: Any, outcome: Outcome) -> RunReport:
        why = str((executor.run.state.unwinding or {}).get("reason", ""))
        return RunReport(
            executor.run.id,
            executor.recipe.name,
            state,
            outcome,
            tuple(self._records(executor)),
            self.previews,
            (*self.problems, *executor.problems),
            host_records(executor.recipe, executor.run.state, self.fallen, why),
        )

    def _records(self, executor: Executor) -> list[StepRecord]:
        return records(executor.run.state, executor.recipe)


def records(state: RunState, recipe: Recipe) -> list[StepRecord]:
    """Return how each step of a run ended, the last word on each; "not-attempted" where it has none."""
    last = {(record.path, record.phase): record for record in state.steps}
    tried = {path for path, _ in last}
    found = list(last.values())
    for place in places(recipe.items):
        if place.path not in tried:
            step = place.step
            name = type(step).__name__
            found.append(StepRecord(place.path, name, step.title(), step.host(), "not-attempted"))
    return found
