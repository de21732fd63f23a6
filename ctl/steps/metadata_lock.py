"""One at a time on a metadata database: our lock in PostgreSQL, and patience for programs left behind.

The run's file lock keeps one controller's commands apart; two controllers share only the database. The lock
is a session's advisory lock: it dies with the session. A program that outlived its regctl holds none, but
its sessions carry its mark, so whoever comes next waits for those to end too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.errors import InterruptedRunError, LockedError
from ctl.report.events import Message

if TYPE_CHECKING:
    from ctl.database.base import Session
    from ctl.recipes.model import Target

WAIT = timedelta(minutes=10)
MARK = "regctl migrate "  # how the sessions of a program begin that changes the schema or its data
_POLL = 0.5  # seconds
_TOLD_EVERY = 15.0  # seconds
_NAME_LIMIT = 63  # bytes that PostgreSQL keeps of an application_name
_LOOKS = 3  # a program without a pool connects anew for every statement: between two it has no session
_BETWEEN_LOOKS = 0.15  # seconds


def application_name(run_id: str) -> str:
    """Return the name that the sessions of a run's program have in pg_stat_activity."""
    return f"{MARK}{run_id}"[:_NAME_LIMIT]


@contextmanager
def metadata_lock(here: Target, database: str, *, wait: timedelta = WAIT, own: str = "") -> Iterator[Session]:
    """Hold the lock of a metadata database in the block, and hand out the session that holds it.

    Waits for another controller and for programs that outlived theirs, told every few seconds; `own` is the
    application name of a program of this very run. LockedError after `wait`, naming who is in the way;
    RefusedError behind a pooler that shares sessions; InterruptedRunError where the operator stops.
    """
    from ctl.database.advisory import METADATA_LOCK, demand_direct, holders, try_lock

    with here.world.database(database).connect() as session:
        demand_direct(session, database)
        patience = _Patience(here, database, wait)
        patience.until(
            lambda: [] if try_lock(session, METADATA_LOCK) else _named(holders(session, METADATA_LOCK))
        )
        try:
            patience.until(lambda: orphans(session, own))
            yield session
        finally:
            if not getattr(session, "closed", False):
                session.execute("SELECT pg_advisory_unlock(%s, %s)", METADATA_LOCK)


def orphans(session: Session, own: str = "") -> list[str]:
    """Describe the sessions of migrating programs that are not `own`; looks more than once."""
    from ctl.catalog.metadata_schema import sessions

    for look in range(_LOOKS):
        if look:
            time.sleep(_BETWEEN_LOOKS)
        found = [
            one for one in sessions(session) if one.application.startswith(MARK) and one.application != own
        ]
        if found:
            return [f"process {one.pid} ({one.application}) from {one.client}" for one in found]
    return []


def end_sessions(session: Session, name: str) -> int:
    """End what still runs in the server for a program that was killed; return how many sessions that were.

    The server notices a vanished client only when it next has something to say to it, which a long index
    build has not.
    """
    rows = session.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
        " WHERE datname = current_database() AND application_name = %s AND pid <> pg_backend_pid()",
        (name,),
    )
    return len(rows)


class _Patience:
    """Waits once, for one thing after the other, and says so."""

    def __init__(self, here: Target, database: str, wait: timedelta) -> None:
        self._here, self._database = here, database
        self._end = time.monotonic() + wait.total_seconds()
        self._wait = wait
        self._told = 0.0

    def until(self, in_the_way: Callable[[], list[str]]) -> None:
        """Return when nobody is in the way any more."""
        while found := in_the_way():
            who = "; ".join(found)
            if time.monotonic() >= self._end:
                raise LockedError(
                    f"database {self._database} is being migrated by {who}, "
                    f"which was waited for {self._wait.total_seconds():.0f} s",
                    hint="let that end, or see to it there; then run the command again",
                )
            if self._here.run.stopping():
                raise InterruptedRunError(
                    "stopped while waiting for the database's lock; nothing was changed"
                )
            if time.monotonic() - self._told >= _TOLD_EVERY or not self._told:
                self._told = time.monotonic()
                left = self._end - time.monotonic()
                text = f"database {self._database} is being migrated by {who}; waiting, {left:.0f} s at most"
                self._here.run.emit(Message(text, "warning"))
            time.sleep(_POLL)


def _named(found: list[str]) -> list[str]:
    """A lock that was not free had a holder, even if that one has just gone."""
    return found or ["a session that has just ended"]
