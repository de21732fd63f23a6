"""One verb of one step: journaled before and after, fenced, tried again where that may help."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ctl.errors import (
    CommandFailedError,
    InterruptedRunError,
    Outcome,
    RegctlError,
    TransientError,
    UnknownEffectError,
    UnreachableError,
)
from ctl.recipes import failpoints
from ctl.recipes.codec import Place, class_path
from ctl.recipes.journal import FencedError, now
from ctl.recipes.live import LiveRun
from ctl.recipes.model import Problem, StepReport
from ctl.report.events import Retrying, StepEnded, StepStarted

Phase = Literal["apply", "leave", "undo"]


class BlockedError(RegctlError):
    """A check or a verify found something that stops the run."""

    def __init__(self, problems: list[Problem]) -> None:
        first = next(problem for problem in problems if problem.blocking)
        super().__init__(first.message, hint=first.hint)
        self.outcome = first.outcome
        self.problems = problems


@dataclass(frozen=True)
class Waits:
    """How long to wait before a step is tried again, in seconds; doubled each time, with jitter."""

    initial: float = 0.2
    longest: float = 5.0


@dataclass(frozen=True)
class Result:
    """How a verb ended, before it is journaled."""

    word: str
    reason: str = ""
    data: Mapping[str, Any] | None = None


def as_problem(error: Exception) -> Problem:
    """Describe an error; one that nobody raised on purpose says where in the code it was."""
    if isinstance(error, RegctlError):
        return Problem("\n".join((error.message, *error.details)), error.hint, outcome=error.outcome)
    if isinstance(error, OSError) and error.filename:
        return Problem(f"{error.filename}: {error.strerror}", outcome=Outcome.FAILED)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return Problem(f"unexpected {type(error).__name__}: {error}{where}", outcome=Outcome.FAILED)


def result_of(report: StepReport | None, warnings: list[str]) -> Result:
    """Choose the word for a verb that did not fail."""
    report = report or StepReport()
    told = [*report.warnings, *warnings]
    if told:
        return Result("warned", "; ".join(told), report.data)
    if report.not_applicable:
        return Result("not-applicable", report.not_applicable, report.data)
    return Result("changed" if report.changed else "ok", "", report.data)


class Attempts:
    """Runs verbs of steps for one run."""

    def __init__(
        self, run: LiveRun, boundary: failpoints.Boundary = failpoints.off, waits: Waits | None = None
    ) -> None:
        self.run, self.boundary, self.waits = run, boundary, waits or Waits()

    def began(self, place: Place, phase: Phase) -> tuple[str, float]:
        """Tell that a verb begins; return its time stamp and clock for `ended`."""
        self.run.current = place.path
        step = place.step
        row = self.run.row_host
        self.run.emit(StepStarted(self.run.id, place.path, step.host(), step.title(), phase, row))
        return now(), time.monotonic()

    def ended(self, place: Place, phase: Phase, since: tuple[str, float], result: Result) -> None:
        """Journal how a verb ended, and tell."""
        step = place.step
        self.run.write(
            "outcome",
            path=place.path,
            phase=phase,
            step=class_path(step),
            host=step.host(),
            title=step.title(),
            attempt=self.run.state.at(place.path).attempt,
            result=result.word,
            reason=result.reason,
            data=json.loads(json.dumps(result.data or {})),
            started_at=since[0],
        )
        seconds = time.monotonic() - since[1]
        event = StepEnded(
            self.run.id,
            place.path,
            step.host(),
            step.title(),
            phase,
            result.word,
            seconds,
            result.reason,
            self.run.row_host,
        )
        self.run.emit(event)

    def failed(self, place: Place, phase: Phase, since: tuple[str, float], error: Exception) -> None:
        """Journal that a verb failed, and tell."""
        word = "unreachable" if isinstance(error, UnreachableError) else "failed"
        word = "unknown" if isinstance(error, UnknownEffectError) else word
        figures = error.figures if isinstance(error, CommandFailedError) else None
        self.ended(place, phase, since, Result(word, as_problem(error).message, figures))

    def call(
        self, place: Place, phase: Phase, before: Mapping[str, Any], verb: Callable[[], StepReport | None]
    ) -> StepReport | None:
        """Call a verb behind an intent, again after a TransientError, at most `step.retries` times more."""
        try:
            return self._once(place, phase, before, verb)
        except TransientError as error:
            if place.step.retries < 1:
                raise
            return self._again(place, phase, before, verb, error)

    def _once(
        self, place: Place, phase: Phase, before: Mapping[str, Any], verb: Callable[[], StepReport | None]
    ) -> StepReport | None:
        step = place.step
        self.run.write(
            "intent",
            path=place.path,
            phase=phase,
            step=class_path(step),
            host=step.host(),
            title=step.title(),
            attempt=self.run.state.at(place.path).attempt + 1,
            before=before,
        )
        self.run.guard()
        with self.boundary(f"{phase} {place.path} {type(step).__name__}"):
            return verb()

    def _again(
        self,
        place: Place,
        phase: Phase,
        before: Mapping[str, Any],
        verb: Callable[[], StepReport | None],
        first: TransientError,
    ) -> StepReport | None:
        import logging

        import stamina  # slow to import, and rarely needed

        # It logs every wait by itself; without a handler those lines would land on stderr beside our events.
        logging.getLogger("stamina").addHandler(logging.NullHandler())

        report: StepReport | None = None
        last = first
        for attempt in stamina.retry_context(
            on=TransientError,
            attempts=place.step.retries + 1,
            timeout=None,
            wait_initial=self.waits.initial,
            wait_max=self.waits.longest,
            wait_jitter=self.waits.initial,
        ):
            with attempt:
                if attempt.num == 1:
                    # The first try was made already; what it raised starts the first wait.
                    self._tell_retry(place, phase, 1, attempt.next_wait, last)
                    raise first
                if self.run.stopping():
                    raise InterruptedRunError("stopped while waiting to try again") from last
                try:
                    report = self._once(place, phase, before, verb)
                except TransientError as error:
                    last = error
                    if attempt.num <= place.step.retries:
                        self._tell_retry(place, phase, attempt.num, attempt.next_wait, error)
                    raise
        return report

    def _tell_retry(
        self, place: Place, phase: Phase, number: int, wait: float, error: TransientError
    ) -> None:
        self.run.write("retry", path=place.path, phase=phase, attempt=number, wait=wait, reason=error.message)
        self.run.emit(Retrying(place.path, number, wait, error.message))


def is_fatal(error: Exception) -> bool:
    """Say whether nothing more may be written, not even to leave a scope."""
    return isinstance(error, FencedError)
