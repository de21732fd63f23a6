"""What every Database and Session does, embedded or external; decision 0401 says why there is no twin."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ctl.config.models import Database as DatabaseConfig
from ctl.database import open_database
from ctl.database.base import Database, Session
from ctl.errors import RegctlError, TransientError
from ctl.secret import Secret
from tests.support.embedded import embedded, run_program
from tests.support.postgres import PASSWORD, PostgresServer

pytestmark = pytest.mark.postgres


def external(server: PostgresServer, name: str, password: str = PASSWORD) -> Database:
    """An external database over TCP, as a site would describe it."""
    config = DatabaseConfig(
        host="127.0.0.1",
        port=server.port,
        dbname=name,
        user="tester",
        password="env:DATABASE_PASSWORD",
        sslmode="disable",
    )
    return open_database(
        "outside",
        config,
        state_dir="/nonexistent",
        run=run_program,
        resolve_secret=lambda _: Secret(password),
    )


@pytest.fixture(scope="module")
def embedded_database() -> Iterator[Database]:
    folder = Path(tempfile.mkdtemp(prefix="rcdb-", dir="/tmp"))
    folder.chmod(0o711)
    database = embedded(folder / "state")
    try:
        database.ensure_started()
        yield database
    finally:
        database.stop()
        shutil.rmtree(folder)


@pytest.fixture(params=["embedded", "external"])
def database(request: pytest.FixtureRequest) -> Database:
    if request.param == "embedded":
        found: Database = request.getfixturevalue("embedded_database")
        return found
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return external(server, "postgres")


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A session in a schema of its own."""
    schema = f"test_{secrets.token_hex(6)}"
    with database.connect() as session:
        session.execute(f"CREATE SCHEMA {schema}")
        session.execute(f"SET search_path = {schema}")
        yield session
    with database.connect() as cleaner:
        cleaner.execute(f"DROP SCHEMA {schema} CASCADE")


def second(database: Database, session: Session) -> Session:
    """Another session in the same schema."""
    other = database.connect()
    row = session.one("SELECT current_schema()")
    assert row
    other.execute(f"SET search_path = {row[0]}")
    return other


def test_a_running_database_says_its_version(database: Database) -> None:
    status = database.status()
    assert status.reachable
    assert status.state == "running"
    with database.connect() as session:
        row = session.one("SHOW server_version_num")
    assert row
    assert int(status.version.split(".")[0]) == int(row[0]) // 10000


def test_rows_one_and_execute(session: Session) -> None:
    session.execute("CREATE TABLE t (a int, b text)")
    assert session.execute("INSERT INTO t VALUES (1, %s), (2, %s)", ("50 %", None)) == 2
    assert session.rows("SELECT a, b FROM t ORDER BY a") == [(1, "50 %"), (2, None)]
    assert session.one("SELECT b FROM t WHERE a = %s", (1,)) == ("50 %",)
    assert session.one("SELECT b FROM t WHERE a = 3") is None
    assert session.rows("SELECT count(*) FROM t WHERE b LIKE '50%'") == [(1,)]


def test_each_statement_commits_by_itself(database: Database, session: Session) -> None:
    session.execute("CREATE TABLE t (a int)")
    with second(database, session) as other:
        session.execute("INSERT INTO t VALUES (1)")
        assert other.rows("SELECT a FROM t") == [(1,)]


def test_a_transaction_is_whole_or_not_at_all(session: Session) -> None:
    session.execute("CREATE TABLE t (a int)")
    with suppress(KeyError), session.transaction():
        session.execute("INSERT INTO t VALUES (1)")
        raise KeyError
    with session.transaction():
        session.execute("INSERT INTO t VALUES (2)")
        with suppress(RegctlError), session.transaction():
            session.execute("INSERT INTO t VALUES (3)")
            session.execute("SELECT 1/0")
    assert session.rows("SELECT a FROM t") == [(2,)]


def test_two_streams_are_read_in_turns(session: Session) -> None:
    session.execute("CREATE TABLE t AS SELECT generate_series(1, 2500) AS a")
    up = session.stream("SELECT a FROM t WHERE a > %s ORDER BY a", (10,), batch=100)
    down = session.stream("SELECT a FROM t ORDER BY a DESC", batch=7)
    pairs = [(next(up)[0], next(down)[0]) for _ in range(1000)]
    assert pairs == [(11 + n, 2500 - n) for n in range(1000)]
    up.close()  # type: ignore[attr-defined]  # a generator
    assert len(list(down)) == 1500
    assert session.one("SELECT 1") == (1,)


def test_streams_inside_a_transaction_leave_it_alone(session: Session) -> None:
    session.execute("CREATE TABLE t (a int)")
    with suppress(KeyError), session.transaction():
        session.execute("INSERT INTO t VALUES (1)")
        assert list(session.stream("SELECT a FROM t")) == [(1,)]
        raise KeyError
    assert session.rows("SELECT a FROM t") == []


def test_a_failed_stream_leaves_a_usable_session(session: Session) -> None:
    with pytest.raises(RegctlError, match="division by zero"):
        list(session.stream("SELECT 1 / (3 - a) FROM generate_series(1, 5) AS a", batch=1))
    assert session.one("SELECT 1") == (1,)


VALUES: list[tuple[Any, ...]] = [
    (
        1,
        2**40,
        "plain",
        b"\x00\xff",
        True,
        1.5,
        datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
        date(2026, 1, 2),
        [1, 2],
    ),
    (-1, -(2**62), "tab\tback\\slash\nline é ☃ \\N", b"", False, -0.0, None, None, []),
    (None, None, None, None, None, None, None, None, None),
]
COLUMNS = "a int, b bigint, c text, d bytea, e boolean, f float8, g timestamptz, h date, i int[]"


def test_copy_brings_every_value_back(session: Session) -> None:
    session.execute(f"CREATE TABLE t (n int GENERATED ALWAYS AS IDENTITY, {COLUMNS})")
    assert session.copy_in("COPY t (a, b, c, d, e, f, g, h, i) FROM STDIN", iter(VALUES)) == 3
    assert session.rows("SELECT a, b, c, d, e, f, g, h, i FROM t ORDER BY n") == VALUES
    query = "COPY (SELECT a, b, c, d, e, f, g, h, i FROM t WHERE n > %s ORDER BY n -- a comment\n) TO STDOUT"
    assert list(session.copy_out(query, (1,))) == VALUES[1:]


def test_copy_falls_back_to_text_for_other_types(session: Session) -> None:
    session.execute("CREATE TABLE t (a int, b jsonb, c numeric)")
    session.copy_in("COPY t (a, b, c) FROM STDIN", [(1, '{"k": "ü"}', "1.50"), (2, None, None)])
    found = session.rows("SELECT a, b, c::text FROM t ORDER BY a")
    assert found == [(1, {"k": "ü"}, "1.50"), (2, None, None)]
    assert [row[1] for row in session.copy_out("COPY (SELECT a, b FROM t ORDER BY a) TO STDOUT")] == [
        {"k": "ü"},
        None,
    ]


def test_a_copy_that_fails_leaves_nothing(session: Session) -> None:
    session.execute("CREATE TABLE t (a int)")

    def rows() -> Iterator[tuple[int]]:
        yield (1,)
        raise KeyError("the source broke")

    with pytest.raises(KeyError):
        session.copy_in("COPY t (a) FROM STDIN", rows())
    with pytest.raises(RegctlError):
        session.copy_in("COPY t (a) FROM STDIN", [(1,), ("no number",)])
    assert session.rows("SELECT a FROM t") == []


def test_messages_show_the_statement_and_no_value(session: Session) -> None:
    session.execute("CREATE TABLE t (a text UNIQUE)")
    session.execute("INSERT INTO t VALUES (%s)", ("hunter2",))
    with pytest.raises(RegctlError) as caught:
        session.execute("INSERT INTO t VALUES (%s)", ("hunter2",))
    shown = f"{caught.value} {caught.value.hint} {caught.value.details}"
    assert "INSERT INTO t VALUES (%s)" in shown
    assert "23505" in shown
    assert "hunter2" not in shown


def test_a_missing_table_names_the_migration(database: Database, session: Session) -> None:
    with pytest.raises(RegctlError) as caught:
        session.rows("SELECT * FROM nobody_made_this")
    assert f"regctl database migrate up --database {database.name}" in caught.value.hint


def test_what_may_work_later_is_transient(database: Database, session: Session) -> None:
    session.execute("CREATE TABLE t (a int)")
    session.execute("INSERT INTO t VALUES (1)")
    with second(database, session) as other:
        with session.transaction():
            session.execute("LOCK TABLE t")
            other.execute("SET lock_timeout = '30ms'")
            with pytest.raises(TransientError):
                other.rows("SELECT * FROM t")
        with other.transaction():
            other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            other.rows("SELECT * FROM t")
            session.execute("UPDATE t SET a = 2")
            with pytest.raises(TransientError), other.transaction():
                other.execute("UPDATE t SET a = 3")


def test_a_session_that_was_ended_is_transient_and_names_no_password(
    database: Database, session: Session
) -> None:
    with database.connect() as victim:
        row = victim.one("SELECT pg_backend_pid()")
        session.execute("SELECT pg_terminate_backend(%s)", row or ())
        for _ in range(2):  # told by the server, then found closed
            with pytest.raises(TransientError) as caught:
                victim.rows("SELECT 1")
            assert PASSWORD not in str(caught.value)


def test_a_read_only_session_refuses_to_write(database: Database) -> None:
    with database.connect(read_only=True) as session:
        with pytest.raises(RegctlError, match="read-only"):
            session.execute("CREATE TABLE public.should_not_be (a int)")
        assert session.one("SELECT to_regclass('public.should_not_be')") == (None,)


def test_a_session_is_named_and_knows_its_settings(session: Session) -> None:
    assert session.one("SHOW application_name") == ("regctl",)
    assert session.one("SHOW TimeZone") == ("UTC",)
    assert session.one("SHOW client_encoding") == ("UTF8",)


def test_variables_of_the_caller_lead_nowhere_else(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in {
        "PGHOSTADDR": "192.0.2.1",
        "PGOPTIONS": "-c default_transaction_read_only=on",
        "PGCLIENTENCODING": "LATIN1",
        "PGDATABASE": "elsewhere",
    }.items():
        monkeypatch.setenv(key, value)
    with database.connect() as session:
        assert session.one("SELECT '☃'::text") == ("☃",)
        assert session.one("SHOW default_transaction_read_only") == ("off",)


def test_a_client_command_leads_to_the_same_database(database: Database) -> None:
    call = database.client_command()
    assert call.argv == ("psql",)
    assert PASSWORD not in f"{call.argv} {dict(call.env)} {call.passfile}"
    with database.connect() as session:
        assert session.one("SELECT current_database(), current_user") == (
            call.env["PGDATABASE"],
            call.env["PGUSER"],
        )
    assert os.path.isdir(call.env["PGHOST"]) == database.embedded
