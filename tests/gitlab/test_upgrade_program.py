"""An upgrade of GitLab's registry: its database before the nodes and after them, by the new program."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support import programs
from tests.support.gitlab import GitlabSite
from tests.support.migrating import ALL, Sites, applied, bare_down, server_of, written
from tests.support.postgres import DatabaseAddress

APPLY = ("upgrade", "apply", "main", "--yes")


def running(gitlab_site: Sites, database: DatabaseAddress) -> GitlabSite:
    """A site that serves, whose database lacks one migration of each kind: a newer program's, as it were."""
    site = written(gitlab_site, database, enabled=True)
    site.ok("service", "start")
    bare_down(server_of(site), "--limit", "1", "--post-deploy-limit", "1")
    assert applied(database) == (ALL[0] - 1, ALL[1] - 1)
    return site


def test_the_database_goes_first_and_last(
    gitlab_site: Sites, migrated_database: DatabaseAddress, tmp_path: Path
) -> None:
    site = running(gitlab_site, migrated_database)
    newer = Path(shutil.copy2(programs.gitlab_registry(), tmp_path / "registry-next"))
    plan = site.regctl("upgrade", "plan", "main", "--to-binary", str(newer))
    assert plan.exit_code == 0, str(plan)
    rows = {row["component"]: row for row in plan.json["rows"]}
    assert rows["program"]["state"] == "to-do"
    assert rows["configuration"]["state"] == "not-applicable"
    assert rows["database"]["note"] == "1 migrations before the nodes, 1 after them"
    assert applied(migrated_database) == (ALL[0] - 1, ALL[1] - 1)

    done = site.ok(*APPLY, "--to-binary", str(newer))

    order = [step["step"] for step in done["steps"] if step["phase"] == "apply"]
    assert [step for step in order if step in ("MigrateForUpgrade", "SwitchProgram", "StartNode")] == [
        "MigrateForUpgrade", "SwitchProgram", "StartNode", "MigrateForUpgrade",
    ]  # fmt: skip
    assert applied(migrated_database) == ALL
    assert site.ok("status")["registries"]["main"]["nodes"][0]["state"] == "running"
    assert str(newer) in " ".join(line for line, _ in site.processes())
    assert site.regctl("upgrade", "plan", "main", "--to-binary", str(newer)).json["result"] == "nothing-to-do"


def test_a_database_ahead_of_the_target_is_refused(
    gitlab_site: Sites, migrated_database: DatabaseAddress, tmp_path: Path
) -> None:
    import psycopg

    site = written(gitlab_site, migrated_database, enabled=True)
    site.ok("service", "start")
    with psycopg.connect(migrated_database.tcp_dsn) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES ('20991231000000_of_the_future', now())")
    newer = Path(shutil.copy2(programs.gitlab_registry(), tmp_path / "registry-next"))
    before = site.processes()
    refused = site.regctl(*APPLY, "--to-binary", str(newer))
    assert refused.exit_code == 6, str(refused)
    assert "migrated by a newer program than the target: 20991231000000_of_the_future" in refused.stderr
    assert site.processes() == before
