"""`auto_migrate: true`: pending pre-deployment migrations come with `config apply`, or are left out."""

from __future__ import annotations

from typing import Any

import psycopg

from ctl.database.advisory import METADATA_LOCK
from tests.support.gitlab import GitlabSite
from tests.support.migrating import ALL, Sites, applied, bare_down, server_of, waiting, written
from tests.support.postgres import DatabaseAddress
from tests.support.waiting import wait_until

APPLY = ("config", "apply", "--yes")


def steps(data: dict[str, Any]) -> dict[str, str]:
    """{step: result} of a run."""
    return {str(step["step"]): str(step["result"]) for step in data["steps"]}


def asking(gitlab_site: Sites, database: DatabaseAddress, **settings: Any) -> GitlabSite:
    """A site whose file regctl has adopted, on a database that lacks one migration."""
    site = written(gitlab_site, database, enabled=True, settings={"auto_migrate": True, **settings})
    bare_down(server_of(site), "--limit", "1")
    return site


def test_pending_migrations_come_before_the_restart_and_only_once(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = asking(gitlab_site, migrated_database)
    site.ok("config", "adopt", "--yes")
    dry = site.ok("--dry-run", "config", "apply")
    planned = [one for one in dry["previews"] if "auto_migrate" in one["title"]]
    assert planned[0]["pending"] == ["20251021070732_bbm_backfill_blobs_id_column"]
    assert applied(migrated_database) == (ALL[0] - 1, ALL[1])

    left_out = site.regctl(*APPLY, "--skip", "auto-migrate", "--skip-reason", "the DBA does it")
    assert left_out.exit_code in (0, 3), str(left_out)
    assert "are not applied" in left_out.stderr
    assert "the DBA does it" in left_out.stderr
    assert steps(left_out.json)["AutoMigrate"] in ("not-applicable", "warned")
    assert applied(migrated_database) == (ALL[0] - 1, ALL[1])
    unreasoned = site.regctl(*APPLY, "--skip", "auto-migrate")
    assert unreasoned.exit_code == 2

    done = site.ok(*APPLY)  # the file is as it should be: what is left is the migration

    assert steps(done)["AutoMigrate"] == "changed"
    assert applied(migrated_database) == ALL
    assert site.ok(*APPLY)["result"] == "nothing-to-do"
    site.ok("service", "start")  # which it would refuse with a pending one
    shown = site.ok("run", "show", done["run"])
    assert "AutoMigrate" in [step["step"] for step in shown["steps"]]


def test_a_file_that_does_not_name_the_database_yet_is_written_first(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = asking(gitlab_site, migrated_database, config={"database": {"enabled": True}})
    server = server_of(site)
    server.database = None
    server.write_config()  # the site file still says what the database is
    done = site.ok(*APPLY, "--take-over")
    order = [step["step"] for step in done["steps"]]
    assert order.index("WriteConfig") < order.index("AutoMigrate") < order.index("RestartNode")
    assert applied(migrated_database) == ALL


def test_a_failed_migration_leaves_the_file_as_it_was(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    """Fault 2 once more: whatever fails, the file and the service are what they were."""
    site = asking(gitlab_site, migrated_database, config={"database": {"enabled": True}})
    before = server_of(site).config_file.read_bytes()
    with psycopg.connect(migrated_database.tcp_dsn, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s, %s)", METADATA_LOCK)
        holder.execute("SELECT set_config('application_name', 'somebody', false)")
        process = site.start(*APPLY, "--take-over")
        wait_until(lambda: waiting(migrated_database), what="a look at the lock", timeout=90)
        process.send_signal(2)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr.decode()
    assert b"somebody" in stderr
    assert server_of(site).config_file.read_bytes() == before
    assert applied(migrated_database) == (ALL[0] - 1, ALL[1])


def test_a_registry_on_its_storage_tree_is_not_migrated(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database, settings={"auto_migrate": True})
    bare_down(server_of(site), "--limit", "1")
    done = site.ok(*APPLY, "--take-over")
    assert "AutoMigrate" not in steps(done)
    assert applied(migrated_database) == (ALL[0] - 1, ALL[1])
