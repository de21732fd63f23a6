"""Open a connection the way every session of ours has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ctl.database.errors import translated, unreachable
from ctl.database.session import PostgresSession

if TYPE_CHECKING:
    import psycopg

    from ctl.database.base import Row

# A partner that vanished without a word is noticed after about a minute, not after two hours.
_KEEPALIVES = {
    "keepalives_idle": 30,  # seconds
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60000,  # milliseconds
}
# libpq fills what is left open from the operator's PG* variables: none of them may lead us elsewhere.
_SETTLED = {"hostaddr": "", "options": "", "passfile": "/nonexistent", "client_encoding": "utf8"}
_CHECK_CLIENT_SINCE = 140000  # client_connection_check_interval came with PostgreSQL 14


def connect(
    database: str, address: str, parameters: Mapping[str, str], *, read_only: bool, timeout: int = 10
) -> PostgresSession:
    """Open a session. `parameters` are libpq's, the password among them; `address` is what errors show.

    Raises UnreachableError when nobody answers within `timeout` seconds or the server refuses the login.
    """
    connection = raw_connection(database, address, parameters, timeout=timeout)
    try:
        _settle(connection, database, read_only)
    except BaseException:
        connection.close()
        raise
    return PostgresSession(connection, database)


def raw_connection(
    database: str, address: str, parameters: Mapping[str, str], *, timeout: int = 10
) -> psycopg.Connection[Row]:
    """Connect and set nothing, for this room only; NoConnectionError as in `connect`."""
    import psycopg

    try:
        connection: psycopg.Connection[Row] = psycopg.connect(
            **{**_SETTLED, **parameters},  # type: ignore[arg-type]  # libpq's parameters, not psycopg's own
            **_KEEPALIVES,  # type: ignore[arg-type]
            connect_timeout=timeout,
            application_name="regctl",
            autocommit=True,
        )
    except psycopg.Error as error:
        raise unreachable(error, database, address) from None  # the frames below hold the password
    return connection


def _settle(connection: psycopg.Connection[Row], database: str, read_only: bool) -> None:
    # By SET and not by startup options, which a pooler would refuse with a riddle.
    settings = "SET TimeZone = 'UTC'; SET default_transaction_read_only = "
    settings += "on" if read_only else "off"
    if connection.info.server_version >= _CHECK_CLIENT_SINCE:
        # The server ends a long statement soon after its client was killed, and with it its locks.
        settings += "; SET client_connection_check_interval = '2s'"
    with translated(database, "settings of the session"):
        connection.execute(settings.encode())


def server_version(session: PostgresSession) -> str:
    """Return the server's version, such as "15.10"."""
    row = session.one("SHOW server_version")
    return str(row[0]).split()[0] if row else ""
