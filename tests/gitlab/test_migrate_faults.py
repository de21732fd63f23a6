"""What goes wrong with migrations, each time with a clear word before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest

from tests.gitlab.test_database_checks import standby_of
from tests.support.gitlab import GitlabSite
from tests.support.migrating import (
    ALL,
    FUTURE,
    LAST_PRE,
    Sites,
    applied,
    bare_down,
    blocked_builds,
    broken,
    objects,
    rows,
    server_of,
    written,
)
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.waiting import free_port

UP = ("database", "migrate", "up")


def test_a_program_that_is_ended_in_its_index_work_leaves_indexes_that_are_found_and_repaired(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    """Also fault 2: the service is what it was, whatever becomes of the migration."""
    site = gitlab_site(database=migrated_database)
    with site:
        before = site.ok("service", "status")
        bare_down(server_of(site), "--post-deploy-limit", "2")
        with blocked_builds(migrated_database, "partitions.blobs_p_50"):
            ended = site.regctl(*UP, "--timeout", "2")
        assert ended.exit_code == 1, str(ended)
        assert "was ended after 2 s" in ended.stderr
        assert "partitions.index_blobs_p_50_on_null_id" in ended.stderr
        assert broken(migrated_database) == ["partitions.index_blobs_p_50_on_null_id"]
        assert not [line for line, _ in site.processes() if "migrate up" in line]
        assert site.ok("service", "status") == before

    status = site.regctl("database", "migrate", "status")
    assert (status.exit_code, status.json["result"]) == (3, "warning")
    assert "REINDEX INDEX CONCURRENTLY partitions.index_blobs_p_50_on_null_id" in status.stderr
    refused = site.regctl(*UP)
    assert refused.exit_code == 6, str(refused)
    assert "repair-indexes --database gitlab" in refused.stderr
    # Passed over, the program takes the half-built index for a whole one: the proof afterwards says no.
    passed = site.regctl(*UP, "--skip", "invalid-indexes", "--skip-reason", "test")
    assert passed.exit_code == 3, str(passed)
    assert broken(migrated_database) == [
        "index_blobs_on_null_id",
        "partitions.index_blobs_p_50_on_null_id",
    ]

    repaired = site.ok("database", "repair-indexes")

    assert repaired["databases"]["gitlab"]["repaired"][0] == "partitions.index_blobs_p_50_on_null_id"
    assert broken(migrated_database) == []
    assert site.ok(*UP)["result"] == "nothing-to-do"
    assert applied(migrated_database) == ALL


def test_what_an_interrupted_rebuild_left_is_dropped(
    gitlab_site: Sites, migrated_database: DatabaseAddress, postgres_server: PostgresServer
) -> None:
    site = written(gitlab_site, migrated_database)
    rows(migrated_database, "CREATE INDEX index_tags_x_ccnew ON repositories (id)")
    with closing(postgres_server.connect(migrated_database.name)) as connection:
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'index_tags_x_ccnew'::regclass"
        )
    dry = site.ok("--dry-run", "database", "repair-indexes")
    assert dry["databases"]["gitlab"]["invalid_indexes"] == ["public.index_tags_x_ccnew"]
    site.ok("database", "repair-indexes", "--registry", "main")
    assert rows(migrated_database, "SELECT to_regclass('index_tags_x_ccnew') IS NULL") == [(True,)]


def test_a_newer_database_is_explained(gitlab_site: Sites, migrated_database: DatabaseAddress) -> None:
    site = written(gitlab_site, migrated_database)
    rows(migrated_database, f"INSERT INTO schema_migrations VALUES ('{FUTURE}', now())")
    status = site.regctl("database", "migrate", "status")
    assert status.exit_code == 3
    assert status.json["databases"]["gitlab"]["unknown"] == [FUTURE]
    refused = site.regctl(*UP)
    assert refused.exit_code == 6, str(refused)
    assert FUTURE in refused.stderr
    assert "install the version that did" in refused.stderr
    assert applied(migrated_database) == (ALL[0] + 1, ALL[1])


def test_a_gap_is_found_before_the_program_stumbles_over_it(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    lost = "20250925151900_add_docker_compose_media_types"
    rows(migrated_database, f"DELETE FROM schema_migrations WHERE id = '{lost}'")
    plan = site.regctl("database", "migrate", "plan")
    assert plan.exit_code == 3, str(plan)
    assert plan.json["databases"]["gitlab"]["gaps"] == [lost]
    refused = site.regctl(*UP)
    assert (refused.exit_code, lost in refused.stderr) == (6, True)
    # The bare program has the same plan and dies of it: that is what we spare the operator.
    bare = server_of(site).run("database", "migrate", "up")
    assert bare.returncode == 1
    assert "unknown migration with version id" in bare.stderr


def _wrong_password(site: GitlabSite) -> None:
    (site.folder / "db.password").write_text("wrong\n")


def _wrong_in_the_file(site: GitlabSite) -> None:
    server = server_of(site)
    server.config_file.write_text(server.config_file.read_text().replace("a-word-of-the-tests", "wrong"))


def _other_database_in_the_file(site: GitlabSite) -> None:
    server = server_of(site)
    assert server.database is not None
    text = server.config_file.read_text().replace(f"dbname: {server.database.name}", "dbname: another")
    server.config_file.write_text(text)


def _no_section(site: GitlabSite) -> None:
    server = server_of(site)
    server.database = None
    server.write_config()


@pytest.mark.parametrize(
    ("spoil", "exit_code", "word"),
    [
        (_wrong_password, 7, "password authentication failed"),
        (_wrong_in_the_file, 6, "refuses the login"),
        (_other_database_in_the_file, 10, "database.dbname another"),
        (_no_section, 10, "names no metadata database"),
    ],
)
def test_a_wrong_description_is_a_clear_error(
    gitlab_site: Sites,
    migrated_database: DatabaseAddress,
    spoil: Callable[[GitlabSite], None],
    exit_code: int,
    word: str,
) -> None:
    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "1")
    spoil(site)
    done = site.regctl(*UP)
    assert (done.exit_code, word in done.stderr) == (exit_code, True), str(done)
    assert "Traceback" not in done.stderr
    assert applied(migrated_database) == (ALL[0], ALL[1] - 1)
    assert not (site.state_dir / "runs").exists()


def test_a_database_that_takes_no_writes_is_not_asked_to(
    gitlab_site: Sites, migrated_database: DatabaseAddress, postgres_server: PostgresServer
) -> None:
    site = written(gitlab_site, migrated_database)
    with closing(postgres_server.connect()) as connection:
        connection.execute(
            f'ALTER DATABASE "{migrated_database.name}" SET default_transaction_read_only = on'.encode()
        )
    refused = site.regctl(*UP)
    assert (refused.exit_code, "default_transaction_read_only" in refused.stderr) == (6, True), str(refused)
    # What can be read, is: by SQL, where the program itself fails.
    version = site.ok("database", "migrate", "version")["databases"]["gitlab"]
    assert version["post"].startswith("20251015074500")
    status = site.ok("database", "migrate", "status")["databases"]["gitlab"]
    assert (status["known"], len(status["applied"])) == (False, sum(ALL))
    assert site.ok("database", "background", "status")["databases"]["gitlab"]["total"] == 65


def test_a_hot_standby_is_read_by_sql_and_never_migrated(
    gitlab_site: Sites, migrated_database: DatabaseAddress, postgres_server: PostgresServer
) -> None:
    with standby_of(postgres_server) as port:
        site = written(gitlab_site, replace(migrated_database, port=port))
        bare = server_of(site).run("database", "migrate", "version")
        assert (bare.returncode, "read-only transaction" in bare.stderr) == (1, True)  # the program cannot
        version = site.ok("database", "migrate", "version")["databases"]["gitlab"]
        assert version["pre"] == LAST_PRE
        status = site.ok("database", "migrate", "status")["databases"]["gitlab"]
        assert (status["read_only"], status["up_to_date"], len(status["applied"])) == (True, None, sum(ALL))
        assert site.ok("database", "background", "status")["databases"]["gitlab"]["active"] == 65
        refused = site.regctl(*UP)
        assert (refused.exit_code, "it is a replica" in refused.stderr) == (6, True), str(refused)


def test_a_database_of_another_owner_is_refused(
    gitlab_site: Sites, empty_database: DatabaseAddress, postgres_server: PostgresServer
) -> None:
    with closing(postgres_server.connect()) as connection:
        connection.execute(f'ALTER DATABASE "{empty_database.name}" OWNER TO tester'.encode())
    site = written(gitlab_site, empty_database)
    refused = site.regctl(*UP)
    assert (refused.exit_code, "belongs to tester" in refused.stderr) == (6, True), str(refused)
    assert objects(empty_database) == 0


def test_a_database_that_is_not_there_or_does_not_answer_is_named(
    gitlab_site: Sites, empty_database: DatabaseAddress
) -> None:
    missing = written(gitlab_site, replace(empty_database, name="not_there"), "missing")
    done = missing.regctl(*UP)
    assert (done.exit_code, '"not_there" does not exist' in done.stderr) == (7, True), str(done)
    silent = written(gitlab_site, replace(empty_database, port=free_port()), "silent")
    done = silent.regctl(*UP)
    assert (done.exit_code, "refused" in done.stderr) == (7, True), str(done)
    assert silent.regctl("database", "migrate", "status").exit_code == 7


def test_fault_01_reading_commands_neither_start_nor_stop_a_registry(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = gitlab_site(database=migrated_database)
    reading = [
        ("database", "migrate", "status"),
        ("database", "migrate", "plan"),
        ("database", "migrate", "version"),
        ("database", "background", "status"),
        ("--dry-run", *UP),
    ]
    with site:
        running = site.ok("service", "status")
        before = _fingerprint(migrated_database)
        for command in reading:
            site.ok(*command)
        assert site.ok("service", "status") == running  # the same process, by its pid and start time
        site.ok("service", "stop", "--yes")
        stopped = site.regctl("service", "status").json
        for command in reading:
            site.ok(*command)
        assert site.regctl("service", "status").json == stopped
        assert stopped["services"][0]["state"] == "stopped"
        assert not [line for line, _ in site.processes() if " serve " in line]
        assert _fingerprint(migrated_database) == before


def _fingerprint(address: DatabaseAddress) -> tuple[object, ...]:
    """What the first write of anybody changes: the next transaction id, and how many objects there are."""
    found = rows(address, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
    return found[0][0], objects(address)


def test_fault_08_without_a_terminal_nothing_crashes_and_outcomes_stay_apart(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    down = ("database", "migrate", "down", "--registry", "main", "--post-limit", "1")
    unasked = site.regctl(*down, "--accept-data-loss")
    assert unasked.exit_code == 2, str(unasked)  # the bare program would fail on its prompt: EOF
    assert "there is no terminal" in unasked.stderr
    assert applied(migrated_database) == ALL
    refused = site.regctl("--yes", *down)
    done = site.regctl("--yes", *down, "--accept-data-loss")
    again = site.regctl(*UP)
    nothing = site.regctl(*UP)
    misspelt = site.regctl("database", "migrate", "upp")
    unknown = site.regctl(*UP, "--registry", "nobody")
    codes = [one.exit_code for one in (refused, done, again, nothing, misspelt, unknown)]
    assert codes == [6, 0, 0, 0, 2, 2]
    results = [one.json["result"] for one in (refused, done, again, nothing)]
    assert results == ["refused", "changed", "changed", "nothing-to-do"]


def test_fault_09_a_migration_is_json_journaled_and_locked(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "1")
    done = site.ok(*UP)
    assert done["schema"] == "regctl/database-migrate-up/1"
    assert done["applied"] == ["20251015074500_post_create_blobs_null_id_index"]
    run = site.ok("run", "show", done["run"])
    assert (run["state"], run["steps"][0]["step"]) == ("done", "MigrateMetadata")
    lines = site.regctl("database", "migrate", "plan", output="jsonl").stdout.splitlines()
    assert '"schema": "regctl/database-migrate-plan/1"' in lines[-1] or "database-migrate-plan" in lines[-1]


def test_fault_10_status_is_computed_from_both_kinds(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "10")
    lie = server_of(site).run("database", "migrate", "status", "--up-to-date")
    assert (lie.stdout.strip(), lie.returncode) == ("true", 0)  # ten are pending
    status = site.regctl("database", "migrate", "status", "--detailed-exitcode")
    assert (status.exit_code, status.json["result"]) == (4, "pending")
    found = status.json["databases"]["gitlab"]
    assert (found["up_to_date"], len(found["phases"]["post"])) == (False, 10)
