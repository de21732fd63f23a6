"""Where psycopg's exceptions end: every one leaves this room as a RegctlError.

A message names the database, says what the server said, and shows the statement without its parameters:
values stay out of logs. PostgreSQL's DETAIL line is left out for the same reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ctl.errors import RegctlError, TransientError, UnreachableError

if TYPE_CHECKING:
    import psycopg

# https://www.postgresql.org/docs/15/errcodes-appendix.html
LOCK_NOT_AVAILABLE = "55P03"
INVALID_CATALOG_NAME = "3D000"
_TRANSIENT_CODES = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        LOCK_NOT_AVAILABLE,
        "53300",  # too_many_connections
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P05",  # idle_session_timeout
    }
)
_STATEMENT_LIMIT = 200


class DatabaseError(RegctlError):
    """The server refused a statement. `sqlstate` is its five-letter code."""

    def __init__(self, message: str, *, hint: str = "", sqlstate: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class TransientDatabaseError(TransientError):
    """The server says that the same may work later, or the connection broke. `sqlstate` may be ""."""

    def __init__(self, message: str, *, hint: str = "", sqlstate: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class NoConnectionError(UnreachableError):
    """No session could be opened. `kind` is a stable word for why, as far as libpq's text tells.

    One of: password, no-role, no-database, not-allowed, tls, busy, unreachable.
    """

    def __init__(self, message: str, *, hint: str = "", kind: str = "unreachable") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


def shorten(statement: str) -> str:
    """Return a statement on one line, cut where it is long."""
    line = " ".join(statement.split())
    return line if len(line) <= _STATEMENT_LIMIT else line[: _STATEMENT_LIMIT - 3] + "..."


def _words(error: psycopg.Error) -> str:
    said = error.diag.message_primary or str(error).strip().split("\n")[0]
    return said or type(error).__name__


def translate(error: psycopg.Error, database: str, statement: str) -> RegctlError:
    """Return the RegctlError that stands for what psycopg raised while running a statement."""
    import psycopg

    code = error.sqlstate or ""
    place = f"; statement: {shorten(statement)}" if statement else ""
    message = f"database {database}: {_words(error)}{f' [{code}]' if code else ''}{place}"
    lost = code.startswith("08") or (not code and isinstance(error, psycopg.OperationalError))
    if lost or code in _TRANSIENT_CODES:
        return TransientDatabaseError(message, sqlstate=code)
    hint = ""
    if code in ("42P01", "3F000"):  # undefined_table, invalid_schema_name
        hint = f"run `regctl database migrate up --database {database}`"
    elif code == "42501":  # insufficient_privilege
        hint = f"grant the database user what the statement needs in database {database}"
    elif code == "53100":  # disk_full
        hint = "make room on the disk of the database server"
    return DatabaseError(message, hint=hint, sqlstate=code)


@contextmanager
def translated(database: str, statement: str) -> Iterator[None]:
    """Raise the translation of whatever psycopg raises in the block."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise translate(error, database, statement) from error


def unreachable(error: psycopg.Error, database: str, address: str) -> NoConnectionError:
    """Return the error for a connection that could not be made; libpq's text names no password."""
    said = " ".join(str(error).split())
    kind = connection_kind(said)
    hints = {
        "password": f"check `user` and `password` of databases.{database} in the site file",
        "no-role": f"create it on the server, or check `dbname` and `user` of databases.{database}",
        "no-database": f"create it on the server, or check `dbname` and `user` of databases.{database}",
        "not-allowed": "the server's pg_hba.conf has no line for this user, database, address and encryption",
        "tls": f"check the server's certificate, or `sslmode` of databases.{database} in the site file",
        "busy": "wait until sessions end, or raise max_connections of the server",
    }
    hint = hints.get(kind, "check that the server runs, and host, port and firewall")
    return NoConnectionError(f"database {database} at {address}: {said}", hint=hint, kind=kind)


def connection_kind(said: str) -> str:
    """Say why no session could be opened, from libpq's text; see NoConnectionError.

    libpq hands out no code while it connects, so a server that speaks another language than English gives
    "unreachable", whose text still says why.
    """
    if "authentication failed" in said or "no password supplied" in said:
        return "password"
    if "no pg_hba.conf entry" in said or "permission denied for database" in said:
        return "not-allowed"
    if "certificate" in said or "SSL" in said:
        return "tls"
    if "does not exist" in said:
        return "no-role" if re.search(r'role "[^"]*" does not exist', said) else "no-database"
    if "too many c" in said or "remaining connection slots" in said or "is starting up" in said:
        return "busy"
    return "unreachable"
