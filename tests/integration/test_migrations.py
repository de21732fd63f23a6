"""Migrations on a real PostgreSQL: whole or not at all, one at a time, bounded in their waiting."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import LiteralString

import pytest

from ctl.config.models import Database as DatabaseConfig
from ctl.database import open_database
from ctl.database.advisory import MIGRATION_LOCK, Ladder
from ctl.database.base import Database, Session
from ctl.database.migrations import Migration, load_migrations, parse_migrations, read_state
from ctl.database.migrator import Migrator, losses, taken_back
from ctl.errors import LockedError, RefusedError, RegctlError
from ctl.secret import Secret
from tests.support.children import forked, kill
from tests.support.embedded import run_program
from tests.support.migrations import ids, made, state, tables, whole
from tests.support.postgres import PASSWORD, DatabaseAddress, PostgresServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.postgres

SHORT = Ladder(first=0.05, last=0.1, attempts=4)


@pytest.fixture
def database(database_address: DatabaseAddress) -> Database:
    """An external database of the test's own, over TCP with a password."""
    config = DatabaseConfig(
        host="127.0.0.1",
        port=database_address.port,
        dbname=database_address.name,
        user=database_address.user,
        password="env:DATABASE_PASSWORD",
        sslmode="disable",
    )
    return open_database(
        "outside",
        config,
        state_dir="/nonexistent",
        run=run_program,
        resolve_secret=lambda _: Secret(PASSWORD),
    )


def migrate(database: Database, migrations: tuple[Migration, ...]) -> list[str]:
    return Migrator(database, migrations, "1.2.3", SHORT).up(ids(migrations))


def schema(server: PostgresServer, address: DatabaseAddress) -> str:
    """The whole schema and the bookkeeping but its times, as pg_dump tells it."""
    dump = subprocess.run(
        [str(server.bin / "pg_dump"), "--schema-only", f"--dbname={address.dsn}"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return "\n".join(line for line in dump.splitlines() if not line.startswith("\\"))


def test_what_ships_goes_up_down_and_up_to_the_same_schema(
    postgres_server: PostgresServer, database_address: DatabaseAddress, database: Database
) -> None:
    shipped = load_migrations("ctl.catalog.migrations")
    migrator = Migrator(database, shipped, "1.2.3", SHORT)
    heights = []
    for one in shipped:
        assert migrator.up([one.id]) == [one.id]
        heights.append(schema(postgres_server, database_address))
    assert len(set(heights)) == len(shipped)
    for number in range(len(shipped) - 1, 0, -1):
        assert migrator.down([shipped[number].id]) == [shipped[number].id]
        assert schema(postgres_server, database_address) == heights[number - 1]
    migrator.down([shipped[0].id])
    with database.connect() as session:
        found = session.rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'regctl'")
        assert found == [("regctl_schema_migrations",)]
        row = session.one("SELECT count(*) FROM pg_proc WHERE pronamespace = 'regctl'::regnamespace")
        assert row == (0,)
    assert migrator.up(ids(shipped)) == ids(shipped)
    assert schema(postgres_server, database_address) == heights[-1]
    assert state(database, shipped).pending == ()


def test_only_what_was_asked_for_is_applied_and_it_is_recorded(database: Database) -> None:
    migrations = tables(3)
    assert Migrator(database, migrations, "1.2.3").up(["0001_step.pre", "0003_step.pre"]) == [
        "0001_step.pre",
        "0003_step.pre",
    ]
    found = state(database, migrations)
    assert [one.id for one in found.applied] == ["0001_step.pre", "0003_step.pre"]
    assert [one.version for one in found.applied] == ["1.2.3"] * 2
    assert all(0 < one.seconds < 60 for one in found.applied)
    assert ids(found.pending) == ["0002_step.pre"]
    assert found.version == "0003_step.pre"
    assert migrate(database, migrations) == ["0002_step.pre"]
    assert migrate(database, migrations) == []


def test_pre_comes_before_post_and_down_is_the_way_back(database: Database) -> None:
    early = made("CREATE TABLE regctl.t1 (n int);", "CREATE TABLE regctl.t2 (n int);")
    late = made("CREATE INDEX ON regctl.t2 (n);", phase="post", first=1)
    late = tuple(replace(one, down="DROP INDEX regctl.t2_n_idx;") for one in late)
    migrations = (*early, *late)
    assert migrate(database, migrations) == ["0001_step.pre", "0002_step.pre", "0001_step.post"]
    found = state(database, migrations)
    back = taken_back(found, migrations, 2)
    assert ids(back) == ["0001_step.post", "0002_step.pre"]
    assert Migrator(database, migrations, "1").down(ids(back)) == ["0001_step.post", "0002_step.pre"]
    assert ids(state(database, migrations).pending) == ["0002_step.pre", "0001_step.post"]


def test_looking_needs_nothing_and_makes_nothing(
    postgres_server: PostgresServer, database_address: DatabaseAddress, database: Database
) -> None:
    before = schema(postgres_server, database_address)
    found = state(database, tables(2))
    assert found.applied == ()
    assert ids(found.pending) == ["0001_step.pre", "0002_step.pre"]
    assert schema(postgres_server, database_address) == before


def test_a_failing_migration_leaves_what_was_before_it(database: Database) -> None:
    migrations = made("CREATE TABLE regctl.t1 (n int);", "CREATE TABLE regctl.t2 (n int); SELECT 1/0;")
    with pytest.raises(RegctlError, match="division by zero"):
        migrate(database, migrations)
    found = state(database, migrations)
    assert [one.id for one in found.applied] == ["0001_step.pre"]
    with database.connect() as session:
        assert session.one("SELECT to_regclass('regctl.t2')") == (None,)


@pytest.mark.parametrize(
    ("make", "who"),
    [
        ("CREATE TABLE media_types (n int); CREATE TABLE repositories (n int)", "GitLab"),
        ("CREATE TABLE top_level_namespaces (n int) PARTITION BY HASH (n)", "GitLab"),
        ("CREATE TABLE core_content (n int)", "Pulp"),
        ("CREATE TABLE schema_migrations (n int)", "another application"),
        ("CREATE SCHEMA theirs; CREATE TABLE theirs.core_repository (n int)", "Pulp"),
    ],
)
def test_a_database_of_others_is_refused_untouched(
    postgres_server: PostgresServer,
    database_address: DatabaseAddress,
    database: Database,
    make: str,
    who: str,
) -> None:
    with database.connect() as session:
        session.execute(make)
    before = schema(postgres_server, database_address)
    with pytest.raises(RefusedError, match=who):
        migrate(database, tables(1))
    assert schema(postgres_server, database_address) == before


def test_names_alone_make_no_other_application(database: Database) -> None:
    with database.connect() as session:
        session.execute("CREATE TABLE repositories (n int)")  # the control: one of two names is nobody's
    assert migrate(database, tables(1)) == ["0001_step.pre"]


def test_a_newer_database_is_refused(database: Database) -> None:
    migrate(database, tables(2))
    with pytest.raises(RefusedError, match=r"newer regctl.*0002_step\.pre"):
        migrate(database, tables(1))
    with pytest.raises(RefusedError, match="newer"):
        Migrator(database, tables(1), "1").down(["0001_step.pre"])
    assert state(database, tables(1)).unknown == ("0002_step.pre",)


def test_a_changed_migration_is_refused(database: Database) -> None:
    migrate(database, tables(1))
    other = made("CREATE TABLE regctl.t1 (other text);", "CREATE TABLE regctl.t2 (n int);")
    with pytest.raises(RefusedError, match=r"0001_step\.pre was applied from a file with other content"):
        migrate(database, other)


def test_two_at_once_apply_each_migration_once(database: Database) -> None:
    migrations = tables(6, sleep=0.02)
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(Migrator(database, migrations, "1").up, ids(migrations)) for _ in range(3)]
        done = [run.result() for run in runs]
    assert sorted(one for run in done for one in run) == ids(migrations)
    assert [] in done  # who waited found nothing left
    whole(database, migrations)


@contextmanager
def held(database: Database, *statements: str) -> Iterator[int]:
    """Another session that stays inside a transaction after these statements; its server process."""
    with database.connect() as session, session.transaction():
        session.execute("SET application_name = 'the other one'")
        row = session.one("SELECT pg_backend_pid()")
        for statement in statements:
            session.execute(statement)
        assert row
        yield int(row[0])


def test_a_lock_held_elsewhere_is_waited_for_only_so_long(database: Database) -> None:
    lock = f"SELECT pg_advisory_lock({MIGRATION_LOCK[0]}, {MIGRATION_LOCK[1]})"
    with held(database, lock) as pid:
        began = time.monotonic()
        with pytest.raises(LockedError) as caught:
            migrate(database, tables(1))
        assert time.monotonic() - began < 3
    shown = str(caught.value)
    assert f"process {pid} (the other one) on 127.0.0.1" in shown
    assert "since 20" in shown
    assert state(database, tables(1)).applied == ()


def test_a_table_that_stays_locked_stops_the_ladder_and_nobody_else(database: Database) -> None:
    first = made("CREATE TABLE regctl.t1 (n int);")
    migrate(database, first)
    both = made("CREATE TABLE regctl.t1 (n int);", "ALTER TABLE regctl.t1 ADD COLUMN more int;")
    waits: list[float] = []
    over = threading.Event()

    def others() -> None:
        with database.connect() as session:
            while not over.is_set():
                began = time.monotonic()
                session.execute("INSERT INTO regctl.t1 VALUES (1)")
                waits.append(time.monotonic() - began)

    thread = threading.Thread(target=others)
    with held(database, "SELECT * FROM regctl.t1") as pid:
        thread.start()
        try:
            with pytest.raises(LockedError, match=rf"0002_step\.pre.*process {pid} \(the other one\)"):
                migrate(database, both)
        finally:
            over.set()
            thread.join()
    assert max(waits) < 1.0  # who came behind us in the queue waited for one rung, not for the table
    assert ids(state(database, both).pending) == ["0002_step.pre"]
    assert migrate(database, both) == ["0002_step.pre"]


def test_the_ladder_gets_there_when_the_lock_is_let_go(database: Database) -> None:
    migrate(database, made("CREATE TABLE regctl.t1 (n int);"))
    both = made("CREATE TABLE regctl.t1 (n int);", "ALTER TABLE regctl.t1 ADD COLUMN more int;")
    patient = Migrator(database, both, "1", Ladder(first=0.05, last=0.2, attempts=30))
    with ThreadPoolExecutor(1) as pool:
        with held(database, "SELECT * FROM regctl.t1"):
            run = pool.submit(patient.up, ids(both))
            time.sleep(0.3)
            assert not run.done()
        assert run.result(20) == ["0002_step.pre"]


# -- killed ---------------------------------------------------------------------------------------------


def free(database: Database) -> bool:
    """Say whether nobody holds the migration lock."""
    with database.connect() as session:
        row = session.one("SELECT pg_try_advisory_lock(%s, %s)", MIGRATION_LOCK)
    return bool(row and row[0])


def kill_loop(database: Database, rounds: int, seed: int) -> set[int]:
    """Kill a migration at random moments, again and again; return how far it had come each time."""
    chance, seen = random.Random(seed), set()
    migrations = tables(5, sleep=0.004)
    migrator = Migrator(database, migrations, "1")
    for _ in range(rounds):
        child = forked(lambda: migrator.up(ids(migrations)))
        time.sleep(chance.uniform(0.01, 0.15))
        kill(child)
        wait_until(lambda: free(database), what="the lock of a killed client", timeout=5)
        seen.add(whole(database, migrations))
        if chance.random() < 0.4 or whole(database, migrations) == len(migrations):
            migrator.down(ids(migrations))
    migrator.up(ids(migrations))
    assert whole(database, migrations) == len(migrations)
    return seen


def test_a_killed_client_leaves_the_old_or_the_new_version_and_no_lock(database: Database) -> None:
    assert len(kill_loop(database, rounds=15, seed=1)) > 1  # it was caught at different heights


@pytest.mark.soak
def test_five_hundred_kills(database: Database) -> None:
    kill_loop(database, rounds=500, seed=2)


class Careless(Migrator):
    """The broken variant: what it does and what it records are two transactions, and it dies in between."""

    def _run(self, session: Session, what: str, sql: LiteralString, record: Callable[[], None]) -> None:
        session.execute(sql)
        os._exit(9)


def test_the_check_for_half_migrations_finds_one(database: Database) -> None:
    migrations = tables(2)
    child = forked(lambda: Careless(database, migrations, "1").up(ids(migrations)))
    os.waitpid(child, 0)
    with pytest.raises(AssertionError, match="half there"):
        whole(database, migrations)


def test_a_stopped_client_is_named_and_frees_the_lock_when_it_goes(database: Database) -> None:
    migrations = tables(1, sleep=30)
    child = forked(lambda: Migrator(database, migrations, "1").up(ids(migrations)))
    try:
        wait_until(lambda: not free(database), what="the child's lock")
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(LockedError, match=r"process \d+ \(regctl\)"):
            migrate(database, tables(1))
    finally:
        kill(child)
    # The statement would sleep on: the server looks after its client every two seconds.
    wait_until(lambda: free(database), what="the lock of a killed client", timeout=8)
    assert migrate(database, tables(1)) == ["0001_step.pre"]


# -- outside a transaction --------------------------------------------------------------------------------

CONCURRENT = "-- no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t1_n ON regctl.t1 (n);\n"


def test_an_index_that_was_left_unusable_is_built_again(database: Database) -> None:
    migrations = made("CREATE TABLE regctl.t1 (n int); INSERT INTO regctl.t1 VALUES (1), (1);", CONCURRENT)
    with pytest.raises(RegctlError, match="could not create unique index"):
        migrate(database, migrations)
    found = state(database, migrations)
    assert found.invalid_indexes == ("t1_n",)
    assert ids(found.pending) == ["0002_step.pre"]
    with database.connect() as session:
        session.execute("DELETE FROM regctl.t1")
    assert migrate(database, migrations) == ["0002_step.pre"]
    assert state(database, migrations).invalid_indexes == ()
    with database.connect() as session:
        assert session.one("SELECT indisvalid FROM pg_index WHERE indexrelid = 'regctl.t1_n'::regclass") == (
            True,
        )


def test_an_index_build_that_waits_for_others_gives_up_and_goes_on_later(database: Database) -> None:
    migrations = made("CREATE TABLE regctl.t1 (n int);", CONCURRENT)
    migrate(database, migrations[:1])
    with held(database, "INSERT INTO regctl.t1 VALUES (1)"), pytest.raises(LockedError, match="0002_step"):
        migrate(database, migrations)
    assert migrate(database, migrations) == ["0002_step.pre"]
    assert state(database, migrations).invalid_indexes == ()


def test_what_is_lost_is_named_with_its_rows(database: Database) -> None:
    migrations = (
        *tables(1),
        *parse_migrations(
            [
                ("0002_more.pre.up.sql", "ALTER TABLE regctl.t1 ADD COLUMN more int;"),
                ("0002_more.pre.down.sql", "ALTER TABLE regctl.t1 DROP COLUMN more;"),
            ]
        ),
    )
    migrate(database, migrations)
    with database.connect(read_only=True) as session:
        found = losses(session, taken_back(read_state(session, migrations), migrations))
    assert [(loss.what, loss.rows) for loss in found] == [("regctl.t1.more", 100), ("regctl.t1", 100)]
