"""One view of an import: how much of its work is done, how fast, and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ctl.engines.metadata import ImportRecord, ImportStep
from ctl.report.events import EventSink, Progress

# What an entry costs beside a tag of step two (4.32 on a local database: 12 ms a manifest in step one, 1.5 ms
# a tag in step two, 1 ms a blob). Only the estimate before a step's own rate is known rests on it.
WEIGHTS = {ImportStep.ONE: 8.0, ImportStep.TWO: 1.0, ImportStep.THREE: 0.7}
EVERY = 0.2  # seconds between two events
_NAMES = {
    ImportStep.ONE: "step one: manifests",
    ImportStep.TWO: "step two: tags",
    ImportStep.THREE: "step three: blobs",
}
_UNITS = {ImportStep.ONE: "tags", ImportStep.TWO: "tags", ImportStep.THREE: "blobs"}


@dataclass(frozen=True)
class Totals:
    """What the storage holds, counted before: 0 is not known."""

    repositories: int = 0
    tags: int = 0
    blobs: int = 0

    def of(self, step: ImportStep) -> int:
        """How many entries a step goes through."""
        return self.blobs if step is ImportStep.THREE else self.tags

    @classmethod
    def read(cls, data: Mapping[str, object]) -> Totals:
        """Take them out of what a step noted."""
        numbers = {name: data.get(name) for name in ("repositories", "tags", "blobs")}
        return cls(**{name: value for name, value in numbers.items() if isinstance(value, int)})


class ImportProgress:
    """Counts records and tells the operator, a few times a second."""

    def __init__(
        self,
        emit: EventSink,
        step: ImportStep,
        totals: Totals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit, self._totals, self._clock = emit, totals, clock
        self._steps = tuple(WEIGHTS) if step is ImportStep.ALL else (step,)
        self._now = self._steps[0]
        self._done = 0
        self._since = self._last = clock()

    def add(self, record: ImportRecord) -> None:
        """Take the next record."""
        if record.step is not None and record.step is not self._now and record.step in self._steps:
            self._tell(finished=True)
            self._now, self._done, self._since = record.step, 0, self._clock()
        if record.kind not in ("tag", "blob"):
            return
        self._done += 1
        if self._clock() - self._last >= EVERY:
            self._tell()

    def passed_over(self, tags: int) -> None:
        """Count tags of a repository that step one need not read again."""
        self._done += tags

    def end(self) -> None:
        """Tell the last state of the last step."""
        self._tell(finished=True)

    def _tell(self, *, finished: bool = False) -> None:
        self._last = self._clock()
        seconds = max(self._last - self._since, 1e-6)
        total = self._totals.of(self._now)
        # Pushes during step one can make more of it than was counted.
        total = max(total, self._done) if total else 0
        rate = self._done / seconds
        event = Progress(
            _NAMES[self._now], self._done, total, _UNITS[self._now], rate, self._left(total, rate), finished
        )
        self._emit(event)

    def _left(self, total: int, rate: float) -> float | None:
        """Estimate the seconds until everything is done, later steps by what an entry costs there."""
        if not total or not self._done:
            return None
        each = 1 / rate
        left = (total - self._done) * each
        for later in self._steps[self._steps.index(self._now) + 1 :]:
            left += self._totals.of(later) * each * WEIGHTS[later] / WEIGHTS[self._now]
        return left
