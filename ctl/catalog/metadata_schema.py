"""The schema of GitLab's metadata database, by SQL alone: what is applied, what is broken, and who works.

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
_SESSIONS: LiteralString = """
    SELECT pid, usename, application_name, client_addr::text, state, backend_start
    FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    ORDER BY backend_start
"""


def read_schema(session: Session) -> SchemaState:
    """Return what the bookkeeping tables and the catalog say; only reads."""
    server = session.one(_SERVER)
    recovery, version, read_only = server if server else (False, "", "off")
    pre = _applied(session, _PRE) if exists(session, PRE_TABLE) else None
    post = _applied(session, _POST) if exists(session, POST_TABLE) else None
    return SchemaState(
        pre=pre,
        post=post,
        invalid_indexes=_invalid(session),
        in_recovery=bool(recovery),
        read_only=bool(recovery) or read_only == "on",
        server_version=str(version).split()[0] if version else "",
    )


def sessions(session: Session) -> tuple[SessionInfo, ...]:
    """Return everybody else's sessions in this database, oldest first."""
    return tuple(session_info(row) for row in session.rows(_SESSIONS))


def exists(session: Session, table: str) -> bool:
    """Say whether a table is there."""
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


def session_info(row: tuple[object, ...]) -> SessionInfo:
    """Read pid, user, application, client, state and start of a row."""
    pid, user, application, client, state, since = row
    return SessionInfo(
        pid=int(str(pid)),
        user=str(user or ""),
        application=str(application or ""),
        client=str(client or "the server itself"),
        state=str(state or ""),
        since=since if isinstance(since, datetime) else None,
    )
