"""Have tasks of online garbage collection reviewed now that would wait for their day."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, LiteralString

from pydantic import Field

from ctl.errors import InterruptedRunError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Step, StepReport, Target
from ctl.report.events import Progress
from ctl.report.model import Text
from ctl.report.units import duration_text
from ctl.steps.metadata_doors import metadata_database

if TYPE_CHECKING:
    from ctl.database.base import Session

BATCH = 5_000  # tasks of one transaction: the workers wait for none of them for long

# A task is queued with a date of its event's delay and up to 61 s from then: a date minus that delay is when
# it was queued, or a little later. Both that and its creation must be past, because the delay may have been
# changed since, and a task that is queued anew keeps its creation. What failed before keeps its pause.
_DUE: LiteralString = (
    " q LEFT JOIN public.gc_review_after_defaults d ON d.event = q.event WHERE q.review_after > now()"
    " AND q.review_count = 0 AND q.created_at < now() - make_interval(secs => %s)"
    " AND q.review_after - coalesce(d.value, interval '1 day') < now() - make_interval(secs => %s)"
)
_QUEUES: dict[str, LiteralString] = {
    "manifests": "public.gc_manifest_review_queue",
    "blobs": "public.gc_blob_review_queue",
}
_KEYS: dict[str, tuple[LiteralString, ...]] = {
    "manifests": ("top_level_namespace_id", "repository_id", "manifest_id"),
    "blobs": ("digest",),
}


class ReviewNow(Step):
    """Give every task that was queued long enough ago the date of this moment.

    The delay before a review keeps alive what is being pushed: a layer whose manifest is not there yet
    looks like garbage. So what was queued a short while ago keeps its date.
    """

    registry: str
    settled_seconds: float = Field(default=3600.0, ge=60.0)  # queued at least so long ago

    interruptible: ClassVar[bool] = True
    irreversible: ClassVar[bool] = True

    def title(self) -> str:
        return f"have the tasks of {self.registry} reviewed now that wait for their day"

    def preview(self, here: Target) -> Preview:
        with metadata_database(here.world, self.registry).connect(read_only=True) as session:
            counts = {name: _count(session, name, self.settled_seconds) for name in _QUEUES}
        lines = [f"{name}: {count:,} tasks would be due at once" for name, count in counts.items()]
        lines.append(
            f"queued less than {duration_text(self.settled_seconds)} ago: left, a push may be going on"
        )
        return Preview(self.title(), any(counts.values()), (Text("\n".join(lines)),), {"tasks": counts})

    def apply(self, here: Target, before: Before) -> StepReport:
        moved: dict[str, int] = {}
        with metadata_database(here.world, self.registry).connect() as session:
            for name in _QUEUES:
                moved[name] = self._move(here, session, name)
        total = sum(moved.values())
        return StepReport({"reviewed_now": total}, changed=bool(total))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"  # some may have their new date already; they are not touched again

    def _move(self, here: Target, session: Session, name: str) -> int:
        table = _QUEUES[name]
        picked = ", ".join(f"q.{column}" for column in _KEYS[name])
        joined = " AND ".join(f"t.{column} = due.{column}" for column in _KEYS[name])
        total = _count(session, name, self.settled_seconds)
        done = 0
        while True:
            if here.run.stopping():
                raise InterruptedRunError(f"{done} tasks have their new date, the others keep theirs")
            here.run.guard()
            count = session.execute(
                f"WITH due AS (SELECT {picked} FROM {table}{_DUE} LIMIT {BATCH} FOR UPDATE OF q SKIP LOCKED)"  # noqa: S608
                f" UPDATE {table} AS t SET review_after = now() FROM due WHERE {joined}",
                (self.settled_seconds, self.settled_seconds),
            )
            if not count:
                return done
            done += count
            here.run.emit(Progress(f"review {name}", done, max(total, done), "tasks"))


def _count(session: Session, name: str, settled: float) -> int:
    row = session.one(f"SELECT count(*) FROM {_QUEUES[name]}{_DUE}", (settled, settled))  # noqa: S608
    return int(row[0]) if row else 0
