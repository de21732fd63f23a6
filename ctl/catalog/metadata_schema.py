"""The schema of GitLab's metadata database, by SQL alone: what is applied, unfinished, broken, and who works.

Only reads, and works on a hot standby, where the program's own `status` and `version` fail because they
create their bookkeeping tables. Every table is looked for before it is asked (4.32.0, measured).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from ctl.database.base import Session

PRE_TABLE = "public.schema_migrations"
POST_TABLE = "public.post_deploy_schema_migrations"
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
class AppliedMigration:
    """One row of the bookkeeping."""

    id: str
    applied_at: datetime | None


@dataclass(frozen=True)
class InvalidIndex:
    """An index that no query uses: its creation was cut off, or one of its parts is invalid."""

    schema: str
    name: str
    table: str  # with its schema
    parent: str  # the index of the partitioned table that it is attached to, with its schema; "" for none
    partitioned: bool  # it is itself the index of a partitioned table: repaired by its parts
    building: bool  # somebody is building it right now: nothing is wrong with it
    definition: str

    @property
    def full_name(self) -> str:
        """Schema and name."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class SchemaState:
    """What the bookkeeping says. None for a kind whose table is not there: nothing of it was ever applied."""

    pre: tuple[AppliedMigration, ...] | None
    post: tuple[AppliedMigration, ...] | None
    invalid_indexes: tuple[InvalidIndex, ...]
    in_recovery: bool
    read_only: bool  # a standby, or default_transaction_read_only for this login
    server_version: str

    @property
    def pre_ids(self) -> tuple[str, ...]:
        """The ids of applied pre-deployment migrations, oldest first."""
        return tuple(one.id for one in self.pre or ())

    @property
    def post_ids(self) -> tuple[str, ...]:
        """The ids of applied post-deployment migrations, oldest first."""
        return tuple(one.id for one in self.post or ())

    @property
    def ids(self) -> tuple[str, ...]:
        """All of them."""
        return self.pre_ids + self.post_ids

    @property
    def broken_indexes(self) -> tuple[InvalidIndex, ...]:
        """The invalid indexes that nobody is building."""
        return tuple(one for one in self.invalid_indexes if not one.building)


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


@dataclass(frozen=True)
class SessionInfo:
    """Somebody's session in this database."""

    pid: int
    user: str
    application: str
    client: str
    state: str
    since: datetime | None


_SERVER: LiteralString = """
    SELECT pg_catalog.pg_is_in_recovery(), current_setting('server_version'),
           (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only')
"""
_THERE: LiteralString = "SELECT pg_catalog.to_regclass(%s) IS NOT NULL"
_PRE: LiteralString = "SELECT id, applied_at FROM public.schema_migrations ORDER BY id"
_POST: LiteralString = "SELECT id, applied_at FROM public.post_deploy_schema_migrations ORDER BY id"
_INVALID: LiteralString = """
    SELECT n.nspname, c.relname, tn.nspname, t.relname,
           pn.nspname, p.relname, c.relkind = 'I',
           EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index b WHERE b.index_relid = c.oid),
           pg_catalog.pg_get_indexdef(c.oid)
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid
    LEFT JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
    LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
    WHERE NOT i.indisvalid AND n.nspname IN ('public', 'partitions')
    ORDER BY c.relkind = 'I', n.nspname, c.relname
"""
# A job is one slice of a range; slices follow each other without a gap. A job that begins below the range
# is the overflow of the program's next start, which counts for nothing.
_BACKGROUND: LiteralString = """
    WITH slices AS (
        SELECT batched_background_migration_id AS id, min_value, max_value, status,
               lag(max_value) OVER (PARTITION BY batched_background_migration_id
                                    ORDER BY min_value, id) AS last
        FROM public.batched_background_migration_jobs j
        WHERE min_value >= (SELECT b.min_value FROM public.batched_background_migrations b
                            WHERE b.id = j.batched_background_migration_id)
    ), whole AS (
        SELECT s.id, bool_and(s.status = 2) AND min(s.min_value) = min(b.min_value)
                     AND max(s.max_value) = min(b.max_value)
                     AND bool_and(s.last IS NULL OR s.min_value <= s.last
                                  OR s.last < 9223372036854775807 AND s.min_value = s.last + 1) AS done
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
_SESSIONS: LiteralString = """
    SELECT pid, usename, application_name, client_addr::text, state, backend_start
    FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    ORDER BY backend_start
"""
_HOLDERS: LiteralString = """
    SELECT a.pid, a.usename, a.application_name, a.client_addr::text, a.state, a.backend_start
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s AND l.objsubid = 1
      AND a.datname = current_database()
"""


def read_schema(session: Session) -> SchemaState:
    """Return what the bookkeeping tables and the catalog say; only reads."""
    server = session.one(_SERVER)
    recovery, version, read_only = server if server else (False, "", "off")
    pre = _applied(session, _PRE) if _there(session, PRE_TABLE) else None
    post = _applied(session, _POST) if _there(session, POST_TABLE) else None
    return SchemaState(
        pre=pre,
        post=post,
        invalid_indexes=_invalid(session),
        in_recovery=bool(recovery),
        read_only=bool(recovery) or read_only == "on",
        server_version=str(version).split()[0] if version else "",
    )


def read_background(session: Session) -> tuple[BackgroundMigration, ...] | None:
    """Return every background migration in the order they run; None where the database has none of it."""
    if not _there(session, BACKGROUND_TABLE) or not _there(session, BACKGROUND_JOBS):
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
    return tuple(_session(row) for row in session.rows(_HOLDERS, BACKGROUND_LOCK))


def sessions(session: Session) -> tuple[SessionInfo, ...]:
    """Return everybody else's sessions in this database, oldest first."""
    return tuple(_session(row) for row in session.rows(_SESSIONS))


def _there(session: Session, table: str) -> bool:
    row = session.one(_THERE, (table,))
    return bool(row and row[0])


def _applied(session: Session, query: LiteralString) -> tuple[AppliedMigration, ...]:
    return tuple(AppliedMigration(str(row[0]), row[1]) for row in session.rows(query))


def _invalid(session: Session) -> tuple[InvalidIndex, ...]:
    return tuple(
        InvalidIndex(
            schema=row[0],
            name=row[1],
            table=f"{row[2]}.{row[3]}",
            parent=f"{row[4]}.{row[5]}" if row[5] else "",
            partitioned=bool(row[6]),
            building=bool(row[7]),
            definition=str(row[8]),
        )
        for row in session.rows(_INVALID)
    )


def _session(row: tuple[object, ...]) -> SessionInfo:
    pid, user, application, client, state, since = row
    return SessionInfo(
        pid=int(str(pid)),
        user=str(user or ""),
        application=str(application or ""),
        client=str(client or "the server itself"),
        state=str(state or ""),
        since=since if isinstance(since, datetime) else None,
    )
