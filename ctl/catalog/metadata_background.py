"""GitLab's batched background migrations, by SQL alone: how far each is, and who works. Only reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, LiteralString

from ctl.catalog.metadata_schema import SessionInfo, exists, session_info

if TYPE_CHECKING:
    from ctl.database.base import Session

BACKGROUND_TABLE = "public.batched_background_migrations"
BACKGROUND_JOBS = "public.batched_background_migration_jobs"
BACKGROUND_LOCK = (0, 1)  # the program's pg_advisory_xact_lock(1), as pg_locks shows a bigint key

_STATUS = ("paused", "active", "finished", "failed", "running")
_FAILURES = {
    0: "unknown",
    1: "invalid table",
    2: "invalid column",
    3: "invalid job signature",
    4: "a job failed too often",
    5: "invalid batching strategy",
}


@dataclass(frozen=True)
class BackgroundMigration:
    """A batched background migration and how far it is."""

    id: int
    name: str
    status: str  # paused active finished failed running
    table: str
    column: str
    batch_size: int
    total: int | None  # rows to treat, as the program estimated them; None where it has not
    jobs: int
    finished_jobs: int
    failed_jobs: int
    failure: str  # "" where none is recorded
    whole_range_done: bool  # jobs from its first to its last value are all finished
    ends_at_maximum: bool  # its range ends at the largest bigint, where the program's next start overflows
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def percent(self) -> float | None:
        """How far it is, by finished jobs; None where nobody has counted its rows."""
        if self.status == "finished":
            return 100.0
        if not self.total or self.total <= 0:
            return 99.9 if self.whole_range_done else None
        return min(99.9, self.finished_jobs * self.batch_size / self.total * 100)

    @property
    def stuck_at_maximum(self) -> bool:
        """Whether it is done, and the program would repeat it for ever without noticing."""
        return self.status in ("active", "running") and self.whole_range_done and self.ends_at_maximum


# A finished job is a finished slice of the range. Slices may overlap, but must leave no gap; one that begins
# below the range is the overflow of the program's next start, which counts for nothing.
_BACKGROUND: LiteralString = """
    WITH slices AS (
        SELECT j.batched_background_migration_id AS id, j.min_value, j.max_value,
               max(j.max_value) OVER (PARTITION BY j.batched_background_migration_id
                                      ORDER BY j.min_value, j.id
                                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
        FROM public.batched_background_migration_jobs j
        JOIN public.batched_background_migrations b ON b.id = j.batched_background_migration_id
        WHERE j.status = 2 AND j.min_value >= b.min_value
    ), whole AS (
        SELECT s.id, min(s.min_value) = min(b.min_value) AND max(s.max_value) = min(b.max_value)
                     AND bool_and(s.reached IS NULL OR s.min_value <= s.reached
                                  OR s.reached < 9223372036854775807 AND s.min_value = s.reached + 1) AS done
        FROM slices s JOIN public.batched_background_migrations b ON b.id = s.id GROUP BY s.id
    ), counted AS (
        SELECT batched_background_migration_id AS id, count(*) AS jobs,
               count(*) FILTER (WHERE status = 2) AS finished, count(*) FILTER (WHERE status = 3) AS failed
        FROM public.batched_background_migration_jobs GROUP BY 1
    )
    SELECT b.id, b.name, b.status, b.table_name, b.column_name, b.batch_size,
           (to_jsonb(b) ->> 'total_tuple_count')::bigint,
           coalesce(c.jobs, 0), coalesce(c.finished, 0), coalesce(c.failed, 0), b.failure_error_code,
           coalesce(w.done, false) AND b.max_value > b.min_value, b.max_value = 9223372036854775807,
           b.started_at, b.finished_at
    FROM public.batched_background_migrations b
    LEFT JOIN counted c ON c.id = b.id LEFT JOIN whole w ON w.id = b.id
    ORDER BY b.id
"""
_HOLDERS: LiteralString = """
    SELECT a.pid, a.usename, a.application_name, a.client_addr::text, a.state, a.backend_start
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s AND l.objsubid = 1
      AND a.datname = current_database()
"""
# The one migration known to overflow copies a column; the trigger beside it keeps new rows right.
_COPY_NAME = "copy_manifests_media_type_id_column_to_media_type_id_convert_to_bigint_column"
_COPY_LEFT: LiteralString = """
    SELECT EXISTS (SELECT FROM public.manifests
                   WHERE media_type_id_convert_to_bigint IS DISTINCT FROM media_type_id)
"""


def left_to_copy(session: Session, migration: BackgroundMigration) -> bool | None:
    """Look at the rows themselves whether a migration has left any; None for one we cannot check."""
    if migration.name != _COPY_NAME:
        return None
    row = session.one(_COPY_LEFT)
    return bool(row and row[0])


def read_background(session: Session) -> tuple[BackgroundMigration, ...] | None:
    """Return every background migration in the order they run; None where the database has none of it."""
    if not exists(session, BACKGROUND_TABLE) or not exists(session, BACKGROUND_JOBS):
        return None
    return tuple(
        BackgroundMigration(
            id=row[0],
            name=str(row[1]),
            status=_STATUS[row[2]] if 0 <= row[2] < len(_STATUS) else f"unknown ({row[2]})",
            table=str(row[3]),
            column=str(row[4]),
            batch_size=row[5],
            total=row[6],
            jobs=row[7],
            finished_jobs=row[8],
            failed_jobs=row[9],
            failure="" if row[10] is None else _FAILURES.get(row[10], f"code {row[10]}"),
            whole_range_done=bool(row[11]),
            ends_at_maximum=bool(row[12]),
            started_at=row[13],
            finished_at=row[14],
        )
        for row in session.rows(_BACKGROUND)
    )


def background_workers(session: Session) -> tuple[SessionInfo, ...]:
    """Return who holds the program's lock around a batch of background migrations: one session or none."""
    return tuple(session_info(row) for row in session.rows(_HOLDERS, BACKGROUND_LOCK))
