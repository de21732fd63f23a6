"""Rows of several hosts, side by side: a canary, so many at once, and a limit of failures.

Each row is walked by an Executor of its own, in a thread of its own. Whatever began and did not end goes on
first after a crash; a row that ended is never begun again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from ctl.errors import InterruptedRunError, Outcome, RegctlError, UnknownEffectError, UnreachableError
from ctl.recipes.attempt import Attempts, as_problem, is_fatal
from ctl.recipes.codec import Place, acrosses, places, rows_of
from ctl.recipes.execute import Executor, StuckError
from ctl.recipes.model import Across, Recipe, Row
from ctl.recipes.state import BAD_RESULTS, RowState, RunState, row_of
from ctl.recipes.threads import side_by_side
from ctl.report.events import Progress, RowEnded, RowStarted

BACK_OUT_AT_ONCE = 10
_ERRORS: dict[str, type[RegctlError]] = {"unreachable": UnreachableError, "unknown": UnknownEffectError}


class FleetError(RegctlError):
    """More hosts failed than the recipe allows: the others were not begun."""

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(
            message, hint="`regctl run show` lists the hosts; mend those and go on with what is left"
        )
        self.outcome = outcome


class Rows:
    """The rows of one Across in one run."""

    def __init__(self, executor: Executor, item: Across, path: str) -> None:
        self.executor, self.item, self.run = executor, item, executor.run
        self.rows = list(rows_of(item, path))
        self.stuck: list[Place] = []

    # -- all of them ------------------------------------------------------------------------------

    def forward(self) -> None:
        """Do what is not done yet; raise where more went wrong than is allowed, or something is stuck."""
        for path, row in self.rows:
            fall = self.executor.fallen.get(path)
            if fall is not None and not self._state(path, row).began:
                self._end(path, row, fall.result, fall.reason, 0.0)
        rows = [(path, row) for path, row in self.rows if not self._left_out(path, row)]
        canary, others = rows[: self.item.canary], rows[self.item.canary :]
        self._batch([one for one in rows if self._state(*one).in_flight], lambda: not self.run.stopping())
        self._batch(canary, self._may_go_on)
        if not any(self._state(*one).bad or self._state(*one).in_flight for one in canary):
            self._batch(others, self._may_go_on)
        self._conclude(canary)

    def _batch(self, rows: Sequence[tuple[str, Row]], go_on: Callable[[], bool]) -> None:
        todo = [(path, row) for path, row in rows if not self._state(path, row).ended]
        todo = [(path, row) for path, row in todo if path not in {place.row for place in self.stuck}]

        def task(path: str, row: Row) -> Callable[[], None]:
            return lambda: self._one(path, row)

        side_by_side((task(*one) for one in todo), self.item.at_once, go_on, self.run.halt)

    def _may_go_on(self) -> bool:
        return not self.run.stopping() and self._bad() <= self.item.max_fail

    def _bad(self) -> int:
        stuck = {place.row for place in self.stuck}
        return sum(self._state(path, row).bad or path in stuck for path, row in self.rows)

    def _conclude(self, canary: Sequence[tuple[str, Row]]) -> None:
        if self.stuck:
            titles = ", ".join(self.executor.titled(place) for place in self.stuck)
            raise StuckError(f"not left are {titles}")
        if self.run.stopping():
            raise InterruptedRunError(f"stopped by {self.run.stop.reason}")
        bad = [self._state(path, row) for path, row in self.rows if self._state(path, row).bad]
        of_canary = {path for path, _ in canary} & {state.path for state in bad}
        if len(bad) > self.item.max_fail or of_canary:
            raise FleetError(self._told(bad, bool(of_canary)), outcome_of_rows(bad))

    def _told(self, bad: Sequence[RowState], canary: bool) -> str:
        hosts = ", ".join(state.host for state in bad)
        allowed = "one of them went first alone" if canary else f"more than the {self.item.max_fail} allowed"
        left = sum(not self._state(path, row).ended for path, row in self.rows)
        others = f"; {left} not attempted" if left else ""
        return f"{len(bad)} of {len(self.rows)} hosts did not end well, {allowed}: {hosts}{others}"

    def _state(self, path: str, row: Row) -> RowState:
        return self.run.state.row(path, row.host)

    def _left_out(self, path: str, row: Row) -> bool:
        """Say whether a row is never begun: its host could not be worked on, or has failed before."""
        state = self._state(path, row)
        if state.ended and not state.began:
            return True
        earlier = [one for one in list(self.run.state.rows.values()) if one.host == row.host]
        return not state.began and any(one.bad for one in earlier)

    # -- one of them ------------------------------------------------------------------------------

    def _one(self, path: str, row: Row) -> None:
        state, executor, since = self._state(path, row), for_row(self.executor, path, row), time.monotonic()
        try:
            facts = {"path": path, "host": row.host}
            if not state.began and not executor.run.begin(self._may_go_on, "row-begin", **facts):
                return  # another row failed while this thread came to life
            self.run.emit(RowStarted(self.run.id, path, row.host))
            self._count()
            if state.unwinding is None:
                self._walk(executor, path, row)
        except Exception as error:
            if is_fatal(error):
                raise
            if not isinstance(error, InterruptedRunError):
                executor.tell(as_problem(error))
            decide(executor, error)
        if state.unwinding is not None and self._backed_out(executor, path):
            return
        result, reason = result_of_row(self.run.state, path)
        self._end(path, row, result, reason, time.monotonic() - since, executor)

    def _walk(self, executor: Executor, path: str, row: Row) -> None:
        for record in list(self.run.state.steps):
            if record.result in BAD_RESULTS and row_of(record.path) == path:
                # It had failed before regctl was ended: the row ends as it would have.
                raise _ERRORS.get(record.result, RegctlError)(record.reason)
        executor.walk(row.body, f"{path}.")

    def _backed_out(self, executor: Executor, path: str) -> list[Place]:
        stuck: list[Place] = []
        executor.back_out(places_of_row(executor.recipe, path), stuck)
        self.stuck += stuck
        return stuck

    def _end(
        self, path: str, row: Row, result: str, reason: str, seconds: float, by: Executor | None = None
    ) -> None:
        end_row((by or self.executor), path, row, result, reason, seconds)
        self._count()

    def _count(self) -> None:
        done = sum(self._state(*one).ended for one in self.rows)
        total = len(self.rows)
        self.run.emit(Progress("hosts", done, total, "hosts", finished=done == total))


def for_row(executor: Executor, path: str, row: Row) -> Executor:
    """Return what walks one row: journaled and fenced with the others, with a step at work of its own."""
    run = executor.run.in_row(path, row.host)
    attempts = Attempts(run, executor.attempts.boundary, executor.attempts.waits)
    made = Executor(
        executor.here.world,
        run,
        executor.recipe,
        attempts,
        executor.skips,
        entered=executor.entered,
        may_repeat=executor.may_repeat,
    )
    made.problems, made.tried = executor.problems, executor.tried
    return made


def decide(executor: Executor, error: Exception) -> None:
    """Journal that a row backs out from here on; once decided, it stays decided."""
    run = executor.run
    run.backing_out = True
    problem = as_problem(error)
    word = "unreachable" if problem.outcome is Outcome.UNREACHABLE else "failed"
    word = "unknown" if isinstance(error, UnknownEffectError) else word
    run.write("row-unwind", path=run.row, host=run.row_host, result=word, reason=problem.message)


def end_row(executor: Executor, path: str, row: Row, result: str, reason: str, seconds: float) -> None:
    """Journal how a row ended, and tell."""
    run = executor.run
    rounded = round(seconds, 3)
    run.write("row-end", path=path, host=row.host, result=result, reason=reason, seconds=rounded)
    run.emit(RowEnded(run.id, path, row.host, result, rounded, reason))


def result_of_row(state: RunState, path: str) -> tuple[str, str]:
    """Return the word for a row that is over, and why."""
    unwinding = state.row(path).unwinding
    if unwinding is not None:
        return str(unwinding["result"]), str(unwinding["reason"])
    records = [one for one in list(state.steps) if row_of(one.path) == path]
    words = [one.result for one in records]
    if "warned" in words:
        return "warned", "; ".join(one.reason for one in records if one.result == "warned")
    if "changed" in words:
        return "changed", ""
    if words and set(words) == {"not-applicable"}:
        return "not-applicable", records[0].reason
    return "ok", ""


def outcome_of_rows(bad: Sequence[RowState]) -> Outcome:
    """Return the outcome of a run in which these rows did not end well."""
    away = all(state.result == "unreachable" for state in bad)
    return Outcome.UNREACHABLE if away else Outcome.FAILED


def places_of_row(recipe: Recipe, path: str) -> list[Place]:
    """Return the places of one row, with the scopes around all rows."""
    return [place for place in places(recipe.items) if place.row == path]


def unwind_rows(executor: Executor) -> list[Place]:
    """Let every row that began and has not ended back out; return what could not be left."""
    run, stuck, mutex = executor.run, list[Place](), threading.Lock()

    def task(path: str, row: Row) -> Callable[[], None]:
        def back_out() -> None:
            one, mine = for_row(executor, path, row), list[Place]()
            if run.state.row(path).unwinding is None:
                reason = str((run.state.unwinding or {}).get("reason", "the run was backed out"))
                decide(one, InterruptedRunError(reason))
            one.run.backing_out = True
            one.back_out(places_of_row(executor.recipe, path), mine)
            if mine:
                with mutex:
                    stuck.extend(mine)
            else:
                end_row(one, path, row, *result_of_row(run.state, path), 0.0)

        return back_out

    found = [
        (path, row)
        for across, item in acrosses(executor.recipe.items)
        for path, row in rows_of(item, across)
        if path in run.state.rows and run.state.rows[path].in_flight
    ]
    side_by_side((task(*one) for one in found), BACK_OUT_AT_ONCE, halt=run.halt)
    return stuck
