"""Follow the queues of online garbage collection until they are empty, or for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from ctl.catalog.gc_queues import Queue
from ctl.errors import InterruptedRunError, TransientError, UnreachableError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.events import Message, Progress
from ctl.report.model import Text
from ctl.steps.backend_evidence import gather
from ctl.steps.lock_files_report import moment
from ctl.steps.online_gc import queues_now

POLL = 2.0  # seconds between two looks
PATIENCE = 30.0  # seconds for which the database may not answer
_SLICE = 0.2  # of a pause, so that a stop is heard


class FollowQueues(Step):
    """Wait while the registry's own workers work; tell how far they are."""

    registry: str
    until: Literal["idle", "empty"] | None = None  # no task due, or no task at all
    seconds: float | None = None  # at most

    interruptible: ClassVar[bool] = True
    retries: ClassVar[int] = 0

    def title(self) -> str:
        how = {"idle": "until no task is due", "empty": "until they are empty"}.get(self.until or "", "")
        if self.seconds is not None:
            how = f"{how}, for {self.seconds:g} s at most" if how else f"for {self.seconds:g} s"
        return f"follow the queues of {self.registry} {how}"

    def check(self, here: Target) -> Iterator[Problem]:
        queues_now(here.world, self.registry)
        evidence = gather(here.world, self.registry)
        if True not in evidence.served:
            why = "; ".join(f"{k}: {v}" for k, v in evidence.unknown.items() if k.startswith("header"))
            yield Problem(
                f"no node of {self.registry} serves from the metadata database, so none collects online"
                + (f" ({why})" if why else ""),
                f"`regctl lockfiles show {self.registry}` says what is known",
            )

    def observe(self, here: Target) -> Before:
        return {"tasks": _total(queues_now(here.world, self.registry))}

    def preview(self, here: Target) -> Preview:
        queues = queues_now(here.world, self.registry)
        lines = [f"{name}: {q.depth} tasks, {q.overdue} of them due" for name, q in queues.items()]
        data = {"tasks": _total(queues), "due": _due(queues)}
        return Preview(self.title(), not self._done(queues), (Text("\n".join(lines)),), data)

    def apply(self, here: Target, before: Before) -> StepReport:
        started = float(str(here.run.notes(type(self).__name__).get("started", 0))) or time.time()
        here.run.note(started=started)
        first = queues = self._look(here)
        began = time.monotonic()
        while not self._over(queues, started):
            self._pause(here)
            queues = self._look(here)
            self._tell(here, int(before["tasks"]), first, queues, time.monotonic() - began, over=False)
        seconds = time.monotonic() - began
        self._tell(here, int(before["tasks"]), first, queues, seconds, over=True)
        done = _total(first) - _total(queues)
        return StepReport(
            {
                "tasks_before": int(before["tasks"]),
                "tasks_after": _total(queues),
                "due_after": _due(queues),
                "next_due_at": moment(min((q.oldest for q in queues.values() if q.oldest), default=None)),
                "follow_seconds": round(time.time() - started, 1),
                "tasks_per_second": round(done / seconds, 3) if seconds > 0 else 0.0,
            },
            changed=_total(queues) != int(before["tasks"]),
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"  # it only looks: going on is safe

    def _over(self, queues: Mapping[str, Queue], started: float) -> bool:
        if self._done(queues):
            return True
        return self.seconds is not None and time.time() - started >= self.seconds

    def _done(self, queues: Mapping[str, Queue]) -> bool:
        return not {"idle": _due, "empty": _total}.get(self.until or "", _never)(queues)

    def _pause(self, here: Target) -> None:
        until = time.monotonic() + POLL
        while time.monotonic() < until:
            if here.run.stopping():
                raise InterruptedRunError("the queues are no longer followed; the intervals are as before")
            time.sleep(_SLICE)

    def _look(self, here: Target) -> dict[str, Queue]:
        """Read the queues; a database that is away for a moment is waited for."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return queues_now(here.world, self.registry)
            except (UnreachableError, TransientError) as error:
                if time.monotonic() > deadline:
                    raise
                here.run.emit(Message(f"the queues cannot be read: {error.message}; trying again", "warning"))
                self._pause(here)

    def _tell(
        self,
        here: Target,
        total: int,
        first: Mapping[str, Queue],
        queues: Mapping[str, Queue],
        seconds: float,
        *,
        over: bool,
    ) -> None:
        left = _due(queues) if self.until == "idle" else _total(queues)
        rate = max(0.0, (_total(first) - _total(queues)) / seconds) if seconds > 0 else 0.0
        eta = left / rate if rate and left and self.until else None
        here.run.emit(Progress("drain", max(0, total - left), total, "tasks", rate, eta, finished=over))


def _total(queues: Mapping[str, Queue]) -> int:
    return sum(queue.depth.rows for queue in queues.values())


def _never(queues: Mapping[str, Queue]) -> int:
    return 1  # nothing ends it but the time


def _due(queues: Mapping[str, Queue]) -> int:
    return sum(queue.overdue.rows for queue in queues.values())
