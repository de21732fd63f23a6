"""What keeps a database from serving a registry, each on a real server (PostgreSQL 14 by stand-in facts)."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ctl.config.models import Database
from ctl.database import open_database
from ctl.database.base import ProgramResult
from ctl.database.external import ExternalDatabase
from ctl.recipes.model import Problem
from ctl.steps.database_checks import LOCKS, database_problems, judge, look_at
from ctl.testing.world import MemoryWorld
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.waiting import free_port

pytestmark = [pytest.mark.postgres]


def no_program(argv: tuple[str, ...], user: str | None, seconds: float) -> ProgramResult:
    raise AssertionError(f"an external database runs no program: {argv}")


def world_of(address: DatabaseAddress, **other: Any) -> MemoryWorld:
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": address.port,
        "dbname": address.name,
        "user": address.user,
        "password": "file:/password",
        "sslmode": "disable",
        **other,
    }
    world = MemoryWorld(None, secrets={"file:/password": settings.pop("clear", address.password)})
    described = Database(**settings)
    world.site = SimpleNamespace(databases={"gitlab": described})
    world.databases["gitlab"] = open_database(
        "gitlab", described, state_dir="/nonexistent", run=no_program, resolve_secret=world.resolve_secret
    )
    return world


def found(address: DatabaseAddress, **other: Any) -> list[Problem]:
    return list(database_problems(world_of(address, **other), "gitlab"))


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    assert problems[0].blocking
    assert problems[0].hint
    return problems[0]


def superuser(server: PostgresServer, statement: str, database: str = "postgres") -> None:
    with closing(server.connect(database)) as connection:
        connection.execute(statement.encode())


def test_a_good_database_has_no_problem(empty_database: DatabaseAddress) -> None:
    assert found(empty_database) == []


def test_a_migrated_database_has_no_problem(migrated_database: DatabaseAddress) -> None:
    assert found(migrated_database) == []


def test_looking_writes_nothing(empty_database: DatabaseAddress, postgres_server: PostgresServer) -> None:
    def snapshot() -> Any:
        with closing(postgres_server.connect(empty_database.name)) as connection:
            tables = connection.execute("SELECT oid, relname FROM pg_class ORDER BY 1").fetchall()
            settings = connection.execute("SELECT * FROM pg_db_role_setting ORDER BY 1, 2").fetchall()
            return tables, settings

    before = snapshot()
    found(empty_database)
    assert snapshot() == before


def test_a_wrong_password_is_named_and_not_shown(empty_database: DatabaseAddress) -> None:
    problem = only(found(empty_database, clear="not-the-word"))
    assert "password authentication failed" in problem.message
    assert "`password` of databases.gitlab" in problem.hint
    assert "not-the-word" not in repr(problem)
    assert problem.outcome.value == "unreachable"


def test_a_server_that_is_down_is_named(empty_database: DatabaseAddress) -> None:
    problem = only(found(empty_database, port=free_port()))
    assert "refused" in problem.message
    assert "check that the server runs" in problem.hint


def test_a_database_that_is_not_there_is_named(empty_database: DatabaseAddress) -> None:
    assert 'database "nowhere" does not exist' in only(found(empty_database, dbname="nowhere")).message


def test_a_wrong_owner_is_named(empty_database: DatabaseAddress, postgres_server: PostgresServer) -> None:
    superuser(postgres_server, f'ALTER DATABASE "{empty_database.name}" OWNER TO tester')
    said = " / ".join(problem.message for problem in found(empty_database))
    assert "belongs to tester" in said
    assert "may not create schemas" in said
    assert "may not create tables in the schema public" in said
    superuser(postgres_server, f'GRANT CREATE ON DATABASE "{empty_database.name}" TO "{empty_database.user}"')
    said = " / ".join(problem.message for problem in found(empty_database))
    assert "may not create schemas" not in said
    assert "belongs to tester" in said


def test_tables_of_somebody_else_are_named(
    empty_database: DatabaseAddress, postgres_server: PostgresServer
) -> None:
    superuser(postgres_server, "CREATE TABLE projects (id int)", empty_database.name)
    said = " / ".join(problem.message for problem in found(empty_database))
    assert "public.projects belongs to tester" in said
    assert "tables of something else: projects" in said


@pytest.mark.parametrize("level", ["DATABASE", "ROLE"])
def test_escaped_bytea_is_named_with_its_level(
    empty_database: DatabaseAddress, postgres_server: PostgresServer, level: str
) -> None:
    superuser(postgres_server, f"ALTER {level} \"{empty_database.name}\" SET bytea_output = 'escape'")
    problem = only(found(empty_database))
    assert f"set on the {level.lower()}" in problem.message
    assert f'ALTER {level} "{empty_database.name}" SET bytea_output' in problem.hint


@pytest.mark.parametrize("level", ["DATABASE", "ROLE"])
def test_read_only_by_default_is_named_although_our_own_session_is_too(
    empty_database: DatabaseAddress, postgres_server: PostgresServer, level: str
) -> None:
    superuser(
        postgres_server, f'ALTER {level} "{empty_database.name}" SET default_transaction_read_only = on'
    )
    assert "default_transaction_read_only is on" in only(found(empty_database)).message


@pytest.mark.parametrize("key", ["clear", "user", "dbname"])
@pytest.mark.parametrize("value", ["two words", "back\\slash"])
def test_values_that_the_program_garbles_are_named(
    empty_database: DatabaseAddress, key: str, value: str
) -> None:
    problems = found(empty_database, **{key: value})
    assert any(
        f"databases.gitlab.{'password' if key == 'clear' else key} has a " in one.message for one in problems
    )
    assert all(value not in one.message for one in problems if key == "clear")


# -- what is judged by facts alone --------------------------------------------------------------


def facts_of(address: DatabaseAddress) -> Any:
    world = world_of(address)
    with world.database("gitlab").connect(read_only=True) as session:
        return look_at(session), world.site.databases["gitlab"]


def test_postgresql_14_is_too_old(empty_database: DatabaseAddress) -> None:
    facts, described = facts_of(empty_database)
    assert facts.version >= 150000
    old = replace(facts, version=140010, version_text="14.10")
    problem = only(list(judge(old, "gitlab", described)))
    assert "PostgreSQL 14.10; GitLab's registry needs 15" in problem.message


def test_too_few_locks_are_named_with_the_number_that_is_enough(empty_database: DatabaseAddress) -> None:
    facts, described = facts_of(empty_database)
    small = replace(facts, locks_per_transaction=64, connections=40, prepared=0)
    problem = only(list(judge(small, "gitlab", described)))
    assert "room for 2560 locks" in problem.message
    assert "max_locks_per_transaction to 160" in problem.hint
    assert list(judge(replace(small, locks_per_transaction=160), "gitlab", described)) == []
    assert LOCKS == 160 * 40


def test_a_connection_in_clear_to_another_machine_is_a_warning(empty_database: DatabaseAddress) -> None:
    facts, described = facts_of(empty_database)
    far = described.model_copy(update={"host": "db.example.com", "sslmode": "prefer"})
    (problem,) = judge(facts, "gitlab", far)
    assert not problem.blocking
    assert "not encrypted" in problem.message
    assert list(judge(replace(facts, encrypted=True), "gitlab", far)) == []


# -- a replica, and a pooler ----------------------------------------------------------------------


@pytest.fixture
def standby(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[int]:
    """A hot standby of the whole cluster; yields its port."""
    with standby_of(postgres_server) as port:
        yield port


@contextmanager
def standby_of(server: PostgresServer) -> Iterator[int]:
    copy = PostgresServer()
    copy.folder = server.folder.with_name(server.folder.name + "-standby")
    copy.port = free_port()
    owned = copy._as_postgres()
    subprocess.run(["mkdir", "-p", str(copy.folder)], check=True)
    subprocess.run(["chown", "postgres:postgres", str(copy.folder)], check=False)
    subprocess.run(
        [
            str(server.bin / "pg_basebackup"),
            f"--host={server.folder}",
            f"--port={server.port}",
            "--username=tester",
            f"--pgdata={copy.folder / 'data'}",
            "--checkpoint=fast",
            "--write-recovery-conf",
            "--no-sync",
        ],
        check=True,
        capture_output=True,
        **owned,
    )
    with (copy.folder / "data" / "postgresql.conf").open("a") as file:
        file.write(f"port = {copy.port}\nunix_socket_directories = '{copy.folder}'\n")
    try:
        yield copy.start().port
    finally:
        copy.remove()


def test_a_hot_standby_is_named_as_a_replica(empty_database: DatabaseAddress, standby: int) -> None:
    problem = only(found(empty_database, port=standby))
    assert "in recovery: it is a replica" in problem.message


class Pooler:
    """A pooler in transaction mode, as small as can be: all clients share one session of the server."""

    def __init__(self, address: DatabaseAddress) -> None:
        self.address, self.lock = address, threading.Lock()
        self.server = self._log_in()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen: list[bytes] = []
        self.threads: list[threading.Thread] = []
        self._run(self._accept)

    def _log_in(self) -> socket.socket:
        """Over the socket no password is asked for."""
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self.address.socket_folder}/.s.PGSQL.{self.address.port}")
        words = (
            b"user\0" + self.address.user.encode() + b"\0database\0" + self.address.name.encode() + b"\0\0"
        )
        server.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
        self.hello = b"".join(self._until_ready(server))
        return server

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self._run(self._serve, client)

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        self.threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self.threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        size, code = struct.unpack("!ii", _exactly(client, 8))
        while code in (80877103, 80877104):  # no TLS, no GSS here
            client.sendall(b"N")
            size, code = struct.unpack("!ii", _exactly(client, 8))
        _exactly(client, size - 8)
        client.sendall(self.hello)
        while True:
            try:
                messages = self._asked(client)
            except OSError:
                return
            with self.lock:
                self.server.sendall(b"".join(messages))
                answer = self._until_ready(self.server)
            client.sendall(b"".join(answer))

    def _asked(self, client: socket.socket) -> list[bytes]:
        messages = []
        while True:
            message = _message(client)
            if message[:1] == b"X":
                raise OSError("gone")
            messages.append(message)
            self.seen.append(message)
            if message[:1] in b"QS":
                return messages

    def _until_ready(self, server: socket.socket) -> list[bytes]:
        messages: list[bytes] = []
        while not messages or messages[-1][:1] != b"Z":
            messages.append(_message(server))
        return messages

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(5)
        self.server.close()


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = stream.recv(size - len(data))
        if not piece:
            raise OSError("closed")
        data += piece
    return data


def _message(stream: socket.socket) -> bytes:
    head = _exactly(stream, 5)
    return head + _exactly(stream, struct.unpack("!i", head[1:])[0] - 4)


def test_a_transaction_pooler_is_found_and_nothing_is_set_behind_it(empty_database: DatabaseAddress) -> None:
    pooler = Pooler(empty_database)
    try:
        problem = only(found(empty_database, port=pooler.port))
    finally:
        pooler.close()
    assert "transaction mode" in problem.message
    assert "SET" not in b" ".join(pooler.seen).decode(errors="replace").upper()


def test_two_sessions_of_a_server_are_no_pooler(empty_database: DatabaseAddress) -> None:
    database = world_of(empty_database).database("gitlab")
    assert isinstance(database, ExternalDatabase)
    assert database.pooling() == "none"
