"""Apply migrations and take them back: one at a time, each with its bookkeeping or not at all."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, LiteralString

from ctl.database.advisory import (
    MIGRATION_LOCK,
    Ladder,
    advisory_lock,
    blocked,
    climb,
    demand_direct,
)
from ctl.database.migrations import (
    REPEATABLE,
    Migration,
    MigrationState,
    has_bookkeeping,
    invalid_indexes,
    is_transactional,
    read_state,
    split_statements,
)
from ctl.errors import RefusedError

if TYPE_CHECKING:
    from ctl.database.base import Database, Session

_CREATE: LiteralString = """
    CREATE SCHEMA IF NOT EXISTS regctl;
    CREATE TABLE regctl.regctl_schema_migrations (
        id         text PRIMARY KEY,
        position   bigint GENERATED ALWAYS AS IDENTITY,  -- the order of applying
        name       text NOT NULL,
        phase      text NOT NULL CHECK (phase IN ('pre', 'post')),
        checksum   text NOT NULL,                        -- SHA-256 of the up file
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        seconds    double precision NOT NULL,
        version    text NOT NULL                         -- of the regctl that applied it
    );
"""
_INSERT: LiteralString = """
    INSERT INTO regctl.regctl_schema_migrations (id, name, phase, checksum, seconds, version)
    VALUES (%s, %s, %s, %s, %s, %s)
"""
_DELETE: LiteralString = "DELETE FROM regctl.regctl_schema_migrations WHERE id = %s"
_STATEMENT_LIMIT: LiteralString = "SET statement_timeout = '1h'"
_DROPPED_TABLE = re.compile(r"\bDROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?regctl\.(\w+)", re.IGNORECASE)
_DROPPED_COLUMN = re.compile(
    r"\bALTER\s+TABLE\s+(?:ONLY\s+)?regctl\.(\w+)\s+DROP\s+COLUMN\s+(?:IF\s+EXISTS\s+)?(\w+)", re.IGNORECASE
)


def refusal(state: MigrationState, database: str) -> RefusedError | None:
    """Return why nothing may be migrated in such a database, or None."""
    if state.foreign:
        return RefusedError(
            f"database {database} holds the tables of {state.foreign}; regctl creates nothing in it",
            hint=f"give databases.{database} a database of regctl's own: `embedded: true`, or another dbname",
        )
    if state.unknown:
        return RefusedError(
            f"database {database} was migrated by a newer regctl: {', '.join(state.unknown)} is unknown here",
            hint="install that version of regctl, or let it take those migrations back",
        )
    if state.changed:
        return RefusedError(
            f"database {database}: {', '.join(state.changed)} was applied from a file with other content",
            hint="an applied migration never changes; install the regctl that applied it",
        )
    return None


@dataclass(frozen=True)
class Loss:
    """What a down migration destroys: a table, or a column of it. `rows` None where it is not there."""

    migration: str
    what: str
    rows: int | None


def losses(session: Session, migrations: Sequence[Migration]) -> list[Loss]:
    """Name what taking these migrations back destroys, with the rows that it holds now; reads only."""
    found: list[Loss] = []
    for one in migrations:
        names = [(table, f"regctl.{table}") for table in _DROPPED_TABLE.findall(one.down)]
        names += [(table, f"regctl.{table}.{column}") for table, column in _DROPPED_COLUMN.findall(one.down)]
        for table, what in names:
            there = session.one("SELECT to_regclass(%s) IS NOT NULL", (f"regctl.{table}",))
            counted = session.one(f"SELECT count(*) FROM regctl.{table}") if there and there[0] else None  # noqa: S608
            found.append(Loss(one.id, what, int(counted[0]) if counted else None))
    return found


@dataclass(frozen=True)
class Migrator:
    """Brings one database to the shipped migrations, or back. `before_each` may raise to stop between two."""

    database: Database
    migrations: tuple[Migration, ...]
    version: str
    ladder: Ladder = field(default_factory=Ladder)
    before_each: Callable[[str], None] = lambda _: None

    def up(self, ids: Sequence[str]) -> list[str]:
        """Apply those of these migrations that are pending, in order; return their ids.

        Raises LockedError naming the holder when another migration runs or a table stays locked,
        RefusedError when the database is not ours to migrate. Killed anywhere, each migration is wholly
        there or wholly not, and the next call goes on.
        """
        applied: list[str] = []
        with self.database.connect() as session, self._locked(session):
            for one in self._acceptable(session).pending:
                if one.id not in ids:
                    continue
                self.before_each(one.id)
                if not has_bookkeeping(session):
                    self._in_transaction(
                        session, "the table of migrations", lambda: _execute(session, _CREATE)
                    )
                self._one_up(session, one)
                applied.append(one.id)
        return applied

    def down(self, ids: Sequence[str]) -> list[str]:
        """Take back those of these migrations that are applied, the last one first. Raises as `up` does."""
        taken: list[str] = []
        with self.database.connect() as session, self._locked(session):
            for one in taken_back(self._acceptable(session), self.migrations):
                if one.id not in ids:
                    continue
                self.before_each(one.id)
                self._one_down(session, one)
                taken.append(one.id)
        return taken

    def _locked(self, session: Session) -> AbstractContextManager[None]:
        demand_direct(session, self.database.name)
        session.execute(_STATEMENT_LIMIT)
        what = f"migrating database {self.database.name}"
        return advisory_lock(session, MIGRATION_LOCK, what=what, ladder=self.ladder)

    def _acceptable(self, session: Session) -> MigrationState:
        state = read_state(session, self.migrations)
        refused = refusal(state, self.database.name)
        if refused:
            raise refused
        return state

    def _one_up(self, session: Session, one: Migration) -> None:
        began = time.monotonic()

        def record() -> None:
            row = (one.id, one.name, one.phase, one.checksum, time.monotonic() - began, self.version)
            session.execute(_INSERT, row)

        self._run(session, one.id, one.up, record)

    def _one_down(self, session: Session, one: Migration) -> None:
        self._run(session, one.id, one.down, lambda: _execute(session, _DELETE, one.id))

    def _run(self, session: Session, what: str, sql: LiteralString, record: Callable[[], None]) -> None:
        if is_transactional(sql):

            def both() -> None:
                session.execute(sql)
                record()

            self._in_transaction(session, what, both)
            return
        for statement in split_statements(sql):
            if not climb(session, self.ladder, lambda s=statement: _repeat(session, s)):  # type: ignore[misc]
                raise blocked(session, f"database {self.database.name}: migration {what}")
        record()

    def _in_transaction(self, session: Session, what: str, work: Callable[[], object]) -> None:
        def attempt() -> None:
            with session.transaction():
                work()

        if not climb(session, self.ladder, attempt):
            raise blocked(session, f"database {self.database.name}: {what}")


def taken_back(
    state: MigrationState, migrations: Sequence[Migration], limit: int | None = None
) -> tuple[Migration, ...]:
    """Return what `down` takes back, the one applied last first."""
    shipped = {one.id: one for one in migrations}
    known = [shipped[one.id] for one in reversed(state.applied) if one.id in shipped]
    return tuple(known[:limit])


def _execute(session: Session, sql: LiteralString, *parameters: object) -> None:
    session.execute(sql, parameters)


def _repeat(session: Session, statement: LiteralString) -> None:
    """Run a statement outside a transaction, after dropping what an earlier try of it left unfinished."""
    match = REPEATABLE.fullmatch(statement)
    index = match["index"] if match else None
    if index and index in invalid_indexes(session):
        session.execute(f"DROP INDEX CONCURRENTLY IF EXISTS regctl.{index}")
    session.execute(statement)
