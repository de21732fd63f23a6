"""The two queues of GitLab's online garbage collection: what waits, what is stuck, when they will be empty.

A task says that a blob or a manifest is to be looked at, not that it will go. One worker of each node takes
one due task, looks, and sleeps for its interval; so the queue's length over the workers' pace is the time
that it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, LiteralString

from ctl.catalog.backend import Count
from ctl.errors import RegctlError

if TYPE_CHECKING:
    from ctl.database.base import Session

STUCK = 3  # reviews of one task that failed: storage permissions, or a row that something still refers to
LIMIT_SECONDS = 10  # that one look at a queue may take before an estimate has to do
COUNTED = 100_000
_CANCELLED = "57014"  # query_canceled

_QUEUES: dict[str, LiteralString] = {
    "blobs": "public.gc_blob_review_queue",
    "manifests": "public.gc_manifest_review_queue",
}


@dataclass(frozen=True)
class Queue:
    """One queue at one moment, by the database's clock. None: not known within the time that was given."""

    now: datetime
    depth: Count
    overdue: Count  # tasks whose date is past: a worker takes them, the oldest first
    oldest: datetime | None = None  # the date of the task that is due first
    latest: datetime | None = None  # of the one that is due last
    stuck: int | None = None  # tasks whose review failed three times or more
    most_reviews: int | None = None
    events: Mapping[str, int] = field(default_factory=dict)  # why the tasks were queued

    @property
    def oldest_overdue(self) -> timedelta:
        """For how long the task that is due first has been due; zero where none is."""
        if self.oldest is None or not self.overdue.rows:
            return timedelta()
        return max(timedelta(), self.now - self.oldest)


@dataclass(frozen=True)
class Forecast:
    """When a queue will be empty if nothing new comes. `empty_at` None: never, at this pace."""

    empty_at: datetime | None
    per_second: float  # tasks
    measured: bool  # from two looks; else from the workers' intervals, and then the least it takes
    reason: str = ""  # why it never gets empty


def read_queues(session: Session) -> dict[str, Queue] | None:
    """Read both queues; None where the database has no such tables. Writes nothing, holds nothing up."""
    row = session.one(
        "SELECT to_regclass('public.gc_blob_review_queue') IS NOT NULL"
        " AND to_regclass('public.gc_manifest_review_queue') IS NOT NULL"
    )
    if not row or not row[0]:
        return None
    return {name: _read(session, table) for name, table in _QUEUES.items()}


def review_delays(session: Session) -> dict[str, timedelta]:
    """Return, by event, how long after it a task is due; {} where the table is not there."""
    row = session.one("SELECT to_regclass('public.gc_review_after_defaults') IS NOT NULL")
    if not row or not row[0]:
        return {}
    rows = session.rows(
        "SELECT event, extract(epoch FROM value)::float8 FROM public.gc_review_after_defaults ORDER BY event"
    )
    return {event: timedelta(seconds=seconds) for event, seconds in rows}


def forecast(
    queue: Queue,
    intervals: tuple[timedelta, ...],
    *,
    earlier: Queue | None = None,
) -> Forecast:
    """Say when a queue is empty. `intervals` are those of the workers that run, one for each node.

    With an `earlier` look at the same queue the pace is the measured one, if it got shorter meanwhile.
    """
    pace = sum(1 / interval.total_seconds() for interval in intervals if interval)
    measured = _measured(earlier, queue)
    if measured is not None and queue.depth.rows:
        pace = measured
    known = measured is not None
    if not queue.depth.rows:
        return Forecast(queue.now, pace, known)
    if not intervals:
        return Forecast(None, 0.0, known, "no worker runs")
    if pace <= 0:
        return Forecast(None, 0.0, known, "it did not get shorter")
    done = queue.now + timedelta(seconds=min(queue.depth.rows / pace, 1e9))
    return Forecast(max(done, queue.latest or done), pace, known)


def _measured(earlier: Queue | None, queue: Queue) -> float | None:
    if earlier is None or not (earlier.depth.exact and queue.depth.exact):
        return None
    seconds = (queue.now - earlier.now).total_seconds()
    if seconds <= 0 or not earlier.overdue.rows:
        return None  # nothing was due: its pace says nothing of the workers
    return max(0.0, (earlier.depth.rows - queue.depth.rows) / seconds)


def _read(session: Session, table: LiteralString) -> Queue:
    try:
        return _whole(session, table)
    except RegctlError as error:
        if getattr(error, "sqlstate", "") != _CANCELLED:
            raise
    return _estimated(session, table)


def _whole(session: Session, table: LiteralString) -> Queue:
    with session.transaction():
        session.execute(f"SET LOCAL statement_timeout = '{LIMIT_SECONDS}s'")
        rows = session.rows(
            "SELECT coalesce(event, ''), count(*), count(*) FILTER (WHERE review_after < now()),"  # noqa: S608
            f" min(review_after), max(review_after), count(*) FILTER (WHERE review_count >= {STUCK}),"
            f" max(review_count) FROM {table} GROUP BY 1 ORDER BY 1"
        )
        moment = session.one("SELECT now()")
    now: datetime = moment[0] if moment else datetime.now().astimezone()
    return Queue(
        now,
        Count(sum(row[1] for row in rows)),
        Count(sum(row[2] for row in rows)),
        min((row[3] for row in rows), default=None),
        max((row[4] for row in rows), default=None),
        sum(row[5] for row in rows),
        max((row[6] for row in rows), default=0),
        {row[0]: row[1] for row in rows},
    )


def _estimated(session: Session, table: LiteralString) -> Queue:
    """Say what can be said of a queue that is too long to be counted."""
    name = table.removeprefix("public.")
    with session.transaction():
        session.execute(f"SET LOCAL statement_timeout = '{LIMIT_SECONDS}s'")
        row = session.one(
            "SELECT now(), (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %s::regclass)",
            (table,),
        )
        due = session.one(
            f"SELECT count(*) FROM (SELECT FROM {table} WHERE review_after < now()"  # noqa: S608
            f" LIMIT {COUNTED + 1}) AS found"
        )
        oldest = session.one(f"SELECT min(review_after), max(review_after) FROM {table}")  # noqa: S608
    if row is None or due is None or oldest is None:
        raise RegctlError(f"the queue {name} cannot be read")
    overdue = Count(int(due[0]), exact=int(due[0]) <= COUNTED)
    return Queue(row[0], Count(max(int(row[1]), overdue.rows), exact=False), overdue, oldest[0], oldest[1])
