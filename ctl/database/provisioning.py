"""Make a role and a database that it owns, on somebody's server, and take both away again while empty.

Names go in as quoted identifiers. A password never leaves this process: what the server is sent, and what its
statement log may show, is the SCRAM verifier that libpq computes here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ctl.database.base import Session
from ctl.database.session import PostgresSession
from ctl.errors import RegctlError
from ctl.secret import Secret

LONGEST_NAME = 63  # bytes; the server cuts longer names, silently
_LOOK = """
SELECT (SELECT rolcanlogin FROM pg_roles WHERE rolname = %s),
       (SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = %s),
       (SELECT split_part(c, '=', 2) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,
               unnest(s.setconfig) c WHERE d.datname = %s AND s.setrole = 0 AND c LIKE 'bytea_output=%%'),
       (SELECT split_part(c, '=', 2) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole,
               unnest(s.setconfig) c WHERE r.rolname = %s AND s.setdatabase = 0 AND c LIKE 'bytea_output=%%'),
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
       (SELECT rolsuper OR (rolcreaterole AND rolcreatedb) FROM pg_roles WHERE rolname = current_user),
       pg_is_in_recovery(), current_setting('server_version_num')::int, current_setting('server_version'),
       current_user::text
"""
_EMPTY = """
SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
"""


@dataclass(frozen=True)
class ServerState:
    """What a server says of a role and a database by name, and of what we may do there."""

    can_login: bool | None  # None: there is no such role
    owner: str | None  # of the database; None: there is no such database
    bytea_database: str | None  # what is set on the database itself
    bytea_role: str | None
    superuser: bool
    may_create: bool
    in_recovery: bool
    version: int
    version_text: str
    user: str


def server_state(session: Session, role: str, dbname: str) -> ServerState:
    """Look at a role and a database from any database of the server."""
    row = session.one(_LOOK, (role, dbname, dbname, role))
    if row is None:
        raise RegctlError("the server gave no answer about its roles")
    return ServerState(*row)


def is_empty(session: Session) -> bool:
    """Say whether the database of a session holds no table, view, sequence or index of anybody."""
    row = session.one(_EMPTY)
    return bool(row and row[0])


def create_role(session: Session, role: str, password: Secret | None) -> None:
    """Create a role that may log in; DatabaseError (42710) if it is there already."""
    from psycopg import sql

    statement = sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role))
    if password is not None:
        verifier = _ours(session).scram_verifier(role, password)
        statement += sql.SQL(" PASSWORD {}").format(sql.Literal(verifier))
    _ours(session).run(statement, f'CREATE ROLE "{role}"')


def create_database(session: Session, dbname: str, role: str) -> None:
    """Create a database in UTF-8 that the role owns; DatabaseError (42P04) if it is there already."""
    from psycopg import sql

    statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'")
    with _as_member(session, role):
        _ours(session).run(
            statement.format(sql.Identifier(dbname), sql.Identifier(role)), f'CREATE DATABASE "{dbname}"'
        )


def set_bytea(session: Session, role: str, *, database: str = "", value: str | None = "hex") -> None:
    """Set bytea_output on a role, or on a `database` that the role owns; None takes the setting away."""
    from psycopg import sql

    what, name = ("DATABASE", database) if database else ("ROLE", role)
    statement = sql.SQL("ALTER {} {} ").format(sql.SQL(what), sql.Identifier(name))
    if value is None:
        statement += sql.SQL("RESET bytea_output")
    else:
        statement += sql.SQL("SET bytea_output = {}").format(sql.Literal(value))
    with _as_member(session, role):
        _ours(session).run(statement, f'ALTER {what} "{name}" SET bytea_output')


def drop_database(session: Session, dbname: str, role: str) -> None:
    """Drop a database that nobody is connected to; the caller has proved it empty."""
    from psycopg import sql

    with _as_member(session, role):
        _ours(session).run(
            sql.SQL("DROP DATABASE {}").format(sql.Identifier(dbname)), f'DROP DATABASE "{dbname}"'
        )


def drop_role(session: Session, role: str) -> None:
    """Drop a role; the server refuses while it owns anything."""
    from psycopg import sql

    _ours(session).run(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)), f'DROP ROLE "{role}"')


@contextmanager
def _as_member(session: Session, role: str) -> Iterator[None]:
    """Be a member of a role meanwhile: only members, and superusers, may give something to a role."""
    from psycopg import sql

    row = session.one("SELECT pg_has_role(current_user, %s, 'MEMBER')", (role,))
    if row is not None and row[0]:
        yield
        return
    name = sql.Identifier(role)
    _ours(session).run(sql.SQL("GRANT {} TO CURRENT_USER").format(name), f'GRANT "{role}"')
    try:
        yield
    finally:
        _ours(session).run(sql.SQL("REVOKE {} FROM CURRENT_USER").format(name), f'REVOKE "{role}"')


def _ours(session: Session) -> PostgresSession:
    if not isinstance(session, PostgresSession):
        raise TypeError("provisioning needs a session of PostgreSQL itself")
    return session
