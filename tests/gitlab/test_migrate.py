"""`database migrate` on a GitLab registry's metadata database, with the real program and PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import closing

import pytest

from tests.support.migrating import (
    ALL,
    LAST_POST,
    LAST_PRE,
    Sites,
    applied,
    bare_down,
    blocked_builds,
    broken,
    building,
    locked,
    objects,
    rows,
    server_of,
    written,
)
from tests.support.postgres import DatabaseAddress
from tests.support.waiting import wait_until


def test_of_two_controllers_one_migrates_and_the_other_waits_and_finds_nothing(
    gitlab_site: Sites, empty_database: DatabaseAddress
) -> None:
    one = written(gitlab_site, empty_database, "one")
    other = written(gitlab_site, empty_database, "other")
    looked = one.ok("database", "migrate", "plan")["databases"]["gitlab"]
    assert (looked["known"], looked["up_to_date"]) == (False, False)
    dry = one.ok("--dry-run", "database", "migrate", "up")
    assert dry["result"] == "pending"
    assert objects(empty_database) == 0  # the program would have made its tables: it was not asked

    both = [site.start("database", "migrate", "up") for site in (one, other)]
    ended = [(process, *process.communicate(timeout=120)) for process in both]

    assert [process.returncode for process, _, _ in ended] == [0, 0], [text for _, _, text in ended]
    lists = sorted((json.loads(stdout)["applied"] for _, stdout, _ in ended), key=len)
    assert (len(lists[0]), len(lists[1])) == (0, sum(ALL))
    told = b"".join(stderr for _, _, stderr in ended).decode()
    assert "is being migrated by" in told
    assert "waiting" in told
    assert applied(empty_database) == ALL
    status = one.ok("database", "migrate", "status")["databases"]["gitlab"]
    assert (status["up_to_date"], status["trouble"]) == (True, [])
    assert len(status["applied"]) == sum(ALL)
    assert one.ok("database", "migrate", "up")["result"] == "nothing-to-do"


def test_kill_of_regctl_leaves_the_program_at_work_and_resume_finds_it(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "3")
    with blocked_builds(migrated_database, "partitions.blobs_p_50"):
        process = site.start("database", "migrate", "up")
        wait_until(lambda: building(migrated_database), what="an index build", timeout=60)
        process.kill()
        process.communicate()
        working = [line for line, _ in site.processes() if "database migrate up" in line]
        assert working, "the program died with regctl"
        shown = site.ok("run", "show")
        assert shown["state"] != "done"

    resumed = site.regctl("run", "resume", "--yes")

    assert resumed.exit_code == 0, str(resumed)
    assert applied(migrated_database) == ALL
    assert site.ok("database", "migrate", "plan")["result"] == "ok"
    assert site.ok("run", "show")["state"] == "done"


def test_after_a_kill_the_same_command_waits_for_the_program_that_is_left(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "3")
    with blocked_builds(migrated_database, "partitions.blobs_p_50"):
        process = site.start("database", "migrate", "up")
        wait_until(lambda: building(migrated_database), what="an index build", timeout=60)
        process.kill()
        process.communicate()
        second = site.start("database", "migrate", "up")
        wait_until(lambda: locked(migrated_database), what="the second's lock", timeout=60)
        time.sleep(2.0)
    _, stderr = second.communicate(timeout=60)
    assert second.returncode == 0, stderr.decode()
    assert b"is being migrated by" in stderr
    assert applied(migrated_database) == ALL


def test_post_deployment_migrations_wait_and_limits_count_each_kind(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "4")
    plan = site.regctl("database", "migrate", "plan", "--detailed-exitcode")
    assert (plan.exit_code, plan.json["result"]) == (4, "pending")
    found = plan.json["databases"]["gitlab"]
    assert (len(found["phases"]["pre"]), len(found["phases"]["post"])) == (0, 4)
    assert found["pending"][-1] == LAST_POST

    skipped = site.ok("database", "migrate", "up", "--skip-post-deployment")
    assert (skipped["result"], applied(migrated_database)) == ("nothing-to-do", (ALL[0], 6))
    limited = site.ok("database", "migrate", "up", "--registry", "main", "--post-limit", "1")
    assert limited["applied"] == found["pending"][:1]
    assert applied(migrated_database) == (ALL[0], 7)
    rest = site.ok("database", "migrate", "up", "--database", "gitlab")
    assert rest["applied"] == found["pending"][1:]
    assert (
        site.ok("database", "migrate", "plan", "--detailed-exitcode")["databases"]["gitlab"]["pending"] == []
    )
    version = site.ok("database", "migrate", "version")["databases"]["gitlab"]
    assert (version["pre"], version["post"]) == (LAST_PRE, LAST_POST)
    counted = site.ok("database", "status")["databases"]["gitlab"]
    assert counted["migrations"] == {"applied": sum(ALL), "pending": 0}


def test_a_lock_held_elsewhere_is_waited_for_and_named(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    import psycopg

    from ctl.database.advisory import METADATA_LOCK

    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "1")
    with closing(psycopg.connect(migrated_database.tcp_dsn, autocommit=True)) as holder:
        holder.execute("SELECT pg_advisory_lock(%s, %s)", METADATA_LOCK)
        refused = site.regctl("database", "migrate", "up", "--wait", "1")
        assert (refused.exit_code, refused.json["result"]) == (5, "locked"), str(refused)
        assert f"process {holder.info.backend_pid}" in refused.stderr
        assert applied(migrated_database) == (ALL[0], 9)
    assert len(site.ok("database", "migrate", "up", "--wait", "1")["applied"]) == 1


def test_a_program_that_outlived_its_regctl_is_waited_for_by_another_controller(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    import psycopg

    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "1")
    with closing(psycopg.connect(f"{migrated_database.tcp_dsn} application_name='regctl migrate some-run'")):
        waited = site.regctl("database", "migrate", "up", "--wait", "1")
        assert waited.exit_code == 5, str(waited)
        assert "regctl migrate some-run" in waited.stderr
    assert site.ok("database", "migrate", "up")["result"] == "changed"


def test_taking_back_names_what_is_lost_and_needs_its_own_flag(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    rows(migrated_database, "INSERT INTO top_level_namespaces (name) VALUES ('team'), ('other')")
    nobody_named = site.regctl("--yes", "database", "migrate", "down", "--accept-data-loss")
    assert nobody_named.exit_code == 2, str(nobody_named)
    down = ("database", "migrate", "down", "--registry", "main", "--limit", "2")
    dry = site.ok("--dry-run", *down)["databases"]["gitlab"]
    assert {"what": "public.top_level_namespaces", "rows": 2} in dry["lost"]
    assert dry["ids"] == [LAST_PRE, "20251009082000_add_blobs_table_id_column"]
    refused = site.regctl("--yes", *down)
    assert refused.exit_code == 6
    assert "public.top_level_namespaces (2 rows)" in refused.stderr
    assert "post-deployment" in refused.stderr
    assert applied(migrated_database) == ALL

    taken = site.regctl("--yes", *down, "--accept-data-loss")

    assert (taken.exit_code, taken.json["result"]) == (3, "warning"), str(taken)
    done = taken.json["databases"]["gitlab"]
    assert applied(migrated_database) == (ALL[0] - 2, ALL[1])
    assert done["taken_back"] == dry["ids"]
    # Built by post-deployment migrations that still count as applied: nobody else says that they are gone.
    assert len(done["lost_indexes"]) == 65
    assert len(site.ok("database", "migrate", "up")["applied"]) == 2
    assert site.ok("database", "migrate", "status")["databases"]["gitlab"]["up_to_date"] is True


def test_a_served_database_is_not_taken_back(gitlab_site: Sites, migrated_database: DatabaseAddress) -> None:
    with gitlab_site(database=migrated_database, enabled=True) as site:
        refused = site.regctl(
            "--yes", "database", "migrate", "down", "--database", "gitlab", "--accept-data-loss"
        )
        assert refused.exit_code == 6, str(refused)
        assert "regctl service stop main/here" in refused.stderr
        assert applied(migrated_database) == ALL


def test_a_stop_lets_the_program_finish(gitlab_site: Sites, migrated_database: DatabaseAddress) -> None:
    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "3")
    with blocked_builds(migrated_database, "partitions.blobs_p_50"):
        process = site.start("database", "migrate", "up")
        wait_until(lambda: building(migrated_database), what="an index build", timeout=60)
        os.kill(process.pid, signal.SIGINT)
        time.sleep(1.0)
        assert process.poll() is None
    _, stderr = process.communicate(timeout=60)
    assert b"left to finish" in stderr, stderr.decode()
    assert applied(migrated_database) == ALL
    assert broken(migrated_database) == []


def test_a_database_that_is_not_in_use_yet_stands_in_nobodys_way(
    gitlab_site: Sites, empty_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, empty_database)
    server = server_of(site)
    server.database = None
    server.write_config()  # the site describes the database; `enable-db` has not been there
    text = site.site_file.read_text()
    site.site_file.write_text(text.replace("databases:\n", "databases:\n  metadata:\n    embedded: true\n"))
    planned = site.regctl("--dry-run", "database", "migrate", "up")
    assert planned.exit_code == 0, str(planned)
    assert list(planned.json["databases"]) == ["metadata"]
    assert "gitlab is left out" in planned.stderr
    status = site.ok("database", "migrate", "status", "--database", "gitlab")["databases"]["gitlab"]
    assert (status["up_to_date"], status["known"]) == (None, False)
    named = site.regctl("database", "migrate", "up", "--registry", "main")
    assert (named.exit_code, "enable-db main" in named.stderr) == (10, True), str(named)
    assert objects(empty_database) == 0


@pytest.mark.soak
def test_a_kill_at_every_boundary_is_resumed_to_the_same_end(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "1")
    listed = site.regctl("database", "migrate", "up", REGCTL_FAILPOINT="list")
    assert listed.exit_code == 0, str(listed)
    count = sum(line.startswith("REGCTL_FAILPOINT") for line in listed.stderr.splitlines())
    assert count > 5
    for number in range(1, count + 1):
        for when in ("before", "after"):
            bare_down(server_of(site), "--post-deploy-limit", "1")
            killed = site.regctl("database", "migrate", "up", REGCTL_FAILPOINT=f"{number}:{when}:kill")
            if killed.exit_code == 0:
                continue  # this boundary is of the end, or not passed in this run
            resumed = site.regctl("run", "resume", "--yes")
            again = site.regctl("database", "migrate", "up")
            assert again.exit_code == 0, f"{number} {when}\n{killed}\n{resumed}\n{again}"
            assert applied(migrated_database) == ALL
            assert broken(migrated_database) == []
            assert not [line for line, _ in site.processes() if "migrate up" in line]
