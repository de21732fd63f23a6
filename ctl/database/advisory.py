"""Locks inside PostgreSQL: waiting for them in bounded steps, and saying who holds them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from ctl.database.errors import LOCK_NOT_AVAILABLE, TransientDatabaseError
from ctl.errors import LockedError, RefusedError

if TYPE_CHECKING:
    from ctl.database.base import Row, Session

MIGRATION_LOCK = (0x72656763, 1)  # "regc", and what of regctl's it is
METADATA_LOCK = (0x72656763, 2)  # around an engine's own program at work on its metadata database
_DEADLOCK = "40P01"


@dataclass(frozen=True)
class Ladder:
    """How long to wait for a lock: a few short waits, each a little longer, with pauses in between.

    While we wait for a table, everybody who comes after us waits too. So one wait is short, the pauses let
    the others pass, and after the last rung we give up. Seconds.
    """

    first: float = 0.5
    last: float = 2.0
    attempts: int = 7

    def rungs(self, chance: Callable[[], float] = random.random) -> Iterator[float]:
        """Yield the lock timeouts, each up to a fifth longer or shorter by chance, never past `last`."""
        for attempt in range(self.attempts):
            share = attempt / max(1, self.attempts - 2)
            wait = self.first * (self.last / self.first) ** min(1.0, share)
            yield min(self.last, wait * (0.8 + 0.4 * chance()))


_SET_TIMEOUT: LiteralString = "SELECT set_config('lock_timeout', %s, false)"

_HOLDERS: LiteralString = """
    SELECT a.pid, a.application_name, a.client_addr::text, a.backend_start
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND a.pid <> pg_backend_pid()
      AND l.classid = %s AND l.objid = %s AND l.objsubid = 2 AND a.datname = current_database()
"""
_TRANSACTIONS: LiteralString = """
    SELECT pid, application_name, client_addr::text, xact_start FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
    ORDER BY xact_start LIMIT 3
"""


def _describe(row: Row) -> str:
    pid, application, address, since = row
    when = since.isoformat(timespec="seconds") if since else "an unknown time"
    return f"process {pid} ({application or 'unnamed'}) on {address or 'the server itself'}, since {when}"


def set_lock_timeout(session: Session, seconds: float) -> None:
    """Let no statement of the session wait longer than that for a lock."""
    session.execute(_SET_TIMEOUT, (f"{round(seconds * 1000)}ms",))


def climb(session: Session, ladder: Ladder, work: Callable[[], None]) -> bool:
    """Do the work with each lock timeout of the ladder until it gets its locks; False if it never did.

    The work must leave nothing behind when it fails. Other errors pass through.
    """
    try:
        for wait in ladder.rungs():
            set_lock_timeout(session, wait)
            try:
                work()
                return True
            except TransientDatabaseError as error:
                if error.sqlstate not in (LOCK_NOT_AVAILABLE, _DEADLOCK):
                    raise
            time.sleep(wait * random.random())  # noqa: S311 - spreads rivals, guards nothing
        return False
    finally:
        if not getattr(session, "closed", False):
            session.execute("RESET lock_timeout")


@contextmanager
def advisory_lock(
    session: Session, key: tuple[int, int], *, what: str, ladder: Ladder | None = None
) -> Iterator[None]:
    """Hold a session's advisory lock in the block. It dies with the connection, so nothing can be left over.

    Raises LockedError naming the holder after the last rung of the ladder.
    """
    taken = climb(session, ladder or Ladder(), lambda: _take(session, key))
    if not taken:
        holders = [_describe(row) for row in session.rows(_HOLDERS, key)]
        raise LockedError(
            f"{what} is locked by {'; '.join(holders) or 'a session that has just ended'}",
            hint="wait until it is done, then run the command again",
        )
    try:
        yield
    finally:
        if not getattr(session, "closed", False):
            session.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def try_lock(session: Session, key: tuple[int, int]) -> bool:
    """Take a session's advisory lock if it is free. Never waits in the server.

    A wait there would keep a snapshot open, for which a concurrent index build of the holder waits in turn.
    """
    row = session.one("SELECT pg_try_advisory_lock(%s, %s)", key)
    return bool(row and row[0])


def holders(session: Session, key: tuple[int, int]) -> list[str]:
    """Describe who holds a lock now."""
    return [_describe(row) for row in session.rows(_HOLDERS, key)]


def _take(session: Session, key: tuple[int, int]) -> None:
    session.execute("SELECT pg_advisory_lock(%s, %s)", key)


def blocked(session: Session, what: str) -> LockedError:
    """Return the error for work that never got its locks, naming the oldest transactions in the way."""
    rows = [_describe(row) for row in session.rows(_TRANSACTIONS)]
    return LockedError(
        f"{what} waits for a lock; oldest transactions: {'; '.join(rows) or 'none any more'}",
        hint="let them end, then run the command again",
    )


def demand_direct(session: Session, database: str, statements: int = 20) -> None:
    """Raise RefusedError where a pooler hands our statements to different server processes.

    A session lock taken through such a connection would protect nothing, and could stay for ever.
    """
    seen = {row[0] for _ in range(statements) for row in session.rows("SELECT pg_backend_pid()")}
    if len(seen) > 1:
        raise RefusedError(
            f"database {database} is reached through a pooler that shares connections between transactions",
            hint=f"give databases.{database} the address of the PostgreSQL server itself",
        )
