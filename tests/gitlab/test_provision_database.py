"""The role and the database are made once, belong together, and go again only while they are empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from ctl.config.models import Database
from ctl.database import open_database
from ctl.errors import RegctlError
from ctl.recipes.model import Target
from ctl.steps.provision_database import ProvisionDatabase
from ctl.testing.world import MemoryRun, MemoryWorld
from tests.gitlab.test_database_checks import no_program
from tests.support.postgres import PASSWORD, SUPERUSER, PostgresServer

pytestmark = [pytest.mark.postgres]

SECRET = "a-secret-of-4711"
NAME = 'odd "name"; DROP TABLE x'  # quoted, or it does not work at all


@pytest.fixture
def here(postgres_server: PostgresServer) -> Iterator[Target]:
    yield target(postgres_server)
    with closing(postgres_server.connect()) as connection:
        for name in ("plain_registry", NAME):
            quoted = name.replace('"', '""')
            connection.execute(f'DROP DATABASE IF EXISTS "{quoted}" WITH (FORCE)'.encode())
            connection.execute(f'DROP ROLE IF EXISTS "{quoted}"'.encode())


def target(server: PostgresServer, name: str = "plain_registry", **admin: Any) -> Target:
    login = {"user": SUPERUSER, "password": "file:/admin", "dbname": "postgres", **admin}
    place = {"host": "127.0.0.1", "port": server.port, "sslmode": "disable"}
    described = {
        "gitlab": Database.model_validate(
            {**place, "dbname": name, "user": name, "password": "file:/registry"}
        ),
        "admin": Database.model_validate({**place, **login}),
    }
    world = MemoryWorld(SimpleNamespace(databases=described))
    world.secrets.update({"file:/registry": SECRET, "file:/admin": PASSWORD, "file:/other": "other"})
    for key, one in described.items():
        world.databases[key] = open_database(
            key, one, state_dir="/nonexistent", run=no_program, resolve_secret=world.resolve_secret
        )
    return Target(world, MemoryRun())


STEP = ProvisionDatabase(database="gitlab", admin="admin")


def look(server: PostgresServer, name: str = "plain_registry") -> Any:
    with closing(server.connect()) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = %(n)s),"
            " (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %(n)s),"
            " (SELECT count(*) FROM pg_db_role_setting s WHERE 'bytea_output=hex' = ANY(setconfig) AND"
            "  (setrole = (SELECT oid FROM pg_roles WHERE rolname = %(n)s)"
            "   OR setdatabase = (SELECT oid FROM pg_database WHERE datname = %(n)s)))",
            {"n": name},
        ).fetchone()


@pytest.mark.parametrize("name", ["plain_registry", NAME])
def test_it_is_made_and_found_good_and_made_no_second_time(
    postgres_server: PostgresServer, here: Target, name: str
) -> None:
    here = target(postgres_server, name)
    if name == "plain_registry":
        assert list(STEP.check(here)) == []
    before = STEP.observe(here)
    assert STEP.preview(here).changes
    report = STEP.apply(here, before)
    assert len(report.data["made"]) == 4  # type: ignore[arg-type]
    if name == "plain_registry":  # a space in a name is a problem of its own
        assert list(STEP.verify(here)) == []
    assert look(postgres_server, name) == (1, name, 2)
    assert not STEP.preview(here).changes
    assert STEP.apply(here, STEP.observe(here)).changed is False
    if name == "plain_registry":
        assert list(STEP.check(here)) == []


def test_the_password_is_in_no_log_of_the_server(postgres_server: PostgresServer, here: Target) -> None:
    with closing(postgres_server.connect()) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
        try:
            STEP.apply(here, STEP.observe(here))
        finally:
            connection.execute("ALTER SYSTEM RESET log_statement")
            connection.execute("SELECT pg_reload_conf()")
    log = (postgres_server.folder / "postgres.log").read_text()
    assert "SCRAM-SHA-256$4096" in log, "the statement was not logged, so this proves nothing"
    assert SECRET not in log


def test_undone_nothing_is_left(postgres_server: PostgresServer, here: Target) -> None:
    before = STEP.observe(here)
    STEP.apply(here, before)
    STEP.undo(here, before)
    assert look(postgres_server) == (0, None, 0)
    STEP.undo(here, before)  # again, after a crash in its middle


def test_a_database_that_is_used_is_kept(postgres_server: PostgresServer, here: Target) -> None:
    before = STEP.observe(here)
    STEP.apply(here, before)
    with here.world.database("gitlab").connect() as session:
        session.execute("CREATE TABLE kept (id int)")
    with pytest.raises(RegctlError, match="no longer empty; it is kept"):
        STEP.undo(here, before)
    assert look(postgres_server)[:2] == (1, "plain_registry")


def test_what_was_there_before_stays_when_it_is_undone(postgres_server: PostgresServer, here: Target) -> None:
    with closing(postgres_server.connect()) as connection:
        connection.execute(f"CREATE ROLE plain_registry LOGIN PASSWORD '{SECRET}'".encode())
        connection.execute("CREATE DATABASE plain_registry OWNER plain_registry")
        connection.execute("ALTER ROLE plain_registry SET bytea_output = 'escape'")
    assert list(STEP.check(here)) == []
    before = STEP.observe(here)
    STEP.apply(here, before)
    assert look(postgres_server) == (1, "plain_registry", 2)
    STEP.undo(here, before)
    assert look(postgres_server) == (1, "plain_registry", 0)
    assert STEP.observe(here) == before


def test_a_role_with_another_password_is_not_changed(postgres_server: PostgresServer, here: Target) -> None:
    with closing(postgres_server.connect()) as connection:
        connection.execute("CREATE ROLE plain_registry LOGIN PASSWORD 'another'")
    (problem,) = STEP.check(here)
    assert "cannot log in as the site says" in problem.message
    assert SECRET not in problem.message + problem.hint


def test_a_database_of_somebody_else_is_not_taken(postgres_server: PostgresServer, here: Target) -> None:
    with closing(postgres_server.connect()) as connection:
        connection.execute("CREATE DATABASE plain_registry")
    (problem,) = STEP.check(here)
    assert "belongs to tester" in problem.message


def test_an_administrator_without_rights_is_refused(postgres_server: PostgresServer, here: Target) -> None:
    with closing(postgres_server.connect()) as connection:
        connection.execute("CREATE ROLE weak_admin LOGIN PASSWORD 'other'")
        try:
            weak = target(postgres_server, user="weak_admin", password="file:/other")
            (problem,) = STEP.check(weak)
            assert "may not create roles and databases" in problem.message
        finally:
            connection.execute("DROP ROLE weak_admin")


def test_an_administrator_who_is_no_superuser_is_enough(
    postgres_server: PostgresServer, here: Target
) -> None:
    with closing(postgres_server.connect()) as connection:
        connection.execute("CREATE ROLE cloud_admin LOGIN CREATEROLE CREATEDB PASSWORD 'other'")
        try:
            cloud = target(postgres_server, user="cloud_admin", password="file:/other")
            assert list(STEP.check(cloud)) == []
            before = STEP.observe(cloud)
            STEP.apply(cloud, before)
            assert list(STEP.verify(cloud)) == []
            assert look(postgres_server) == (1, "plain_registry", 2)
            members = "SELECT count(*) FROM pg_auth_members WHERE roleid = 'plain_registry'::regrole"
            assert connection.execute(members.encode()).fetchone() == (0,)
            STEP.undo(cloud, before)
            assert look(postgres_server) == (0, None, 0)
        finally:
            connection.execute("DROP ROLE cloud_admin")
