"""Find out whether something stands between us and the server that hands one session's work to several.

Nothing is set on the way: behind a transaction pooler a SET of ours would stay on a connection that
somebody else's statements get next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ctl.database.connect import raw_connection
from ctl.database.errors import translated

if TYPE_CHECKING:
    import psycopg

    from ctl.database.base import Pooling, Row


def pooling(database: str, address: str, parameters: Mapping[str, str], *, timeout: int = 10) -> Pooling:
    """Say what stands between us and the server; UnreachableError if nothing answers.

    A server tells each client the pid of its backend when it connects; a pooler makes that number up. Two
    sessions at once have two backends, unless both are lent the same one between their transactions.
    """
    with (
        raw_connection(database, address, parameters, timeout=timeout) as first,
        raw_connection(database, address, parameters, timeout=timeout) as second,
        translated(database, "SELECT pg_backend_pid()"),
    ):
        told = first.info.backend_pid
        seen: set[int] = set()
        for _ in range(3):  # a pooler under load may lend another backend once or twice
            mine, other = _backend(first), _backend(second)
            seen.add(mine)
            if mine == other or len(seen) > 1:
                return "transaction"
        return "none" if seen == {told} else "session"


def _backend(connection: psycopg.Connection[Row]) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0
