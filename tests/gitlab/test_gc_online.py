"""Online collection: how it stands, faster for a while and back, on and off for good."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml

from tests.support.gitlab import GitlabSite
from tests.support.gitlab_online_gc import review_now
from tests.support.gitlab_state import push_some, put_to, server_of
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.site import SiteUnderTest

PATIENCE = 240.0  # seconds, for a machine with much else to do


@pytest.fixture
def site(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> Iterator[SiteUnderTest]:
    """A registry on its database with a few images."""
    with gitlab_site(database=migrated_database, enabled=True) as made:
        push_some(made, 2)
        yield made


def config(site: SiteUnderTest) -> dict[str, Any]:
    """What the file says of collection."""
    found = yaml.safe_load(site.server.config_file.read_text()).get("gc", {})
    assert isinstance(found, dict)
    return found


def run_sql(server: PostgresServer, site: SiteUnderTest, statement: str) -> list[tuple[Any, ...]]:
    database = server_of(site).database
    assert database is not None
    with closing(server.connect(database.name)) as connection:
        cursor = connection.execute(statement.encode())
        return list(cursor.fetchall()) if cursor.description else []


def test_status_counts_what_waits_and_says_when_it_will_be_done(
    site: SiteUnderTest, postgres_server: PostgresServer
) -> None:
    found = site.ok("gc", "status")
    assert found["kind"] == "online"
    assert found["disabled"] is False
    blobs, manifests = found["queues"]["blobs"], found["queues"]["manifests"]
    expected = run_sql(postgres_server, site, "SELECT count(*) FROM gc_blob_review_queue")[0][0]
    assert blobs["depth"] == {"rows": expected, "exact": True}
    assert blobs["overdue"] == {"rows": 0, "exact": True}
    assert blobs["events"] == {"blob_upload": expected}
    assert manifests["events"] == {"manifest_upload": 2}
    assert blobs["stuck"] == 0
    assert blobs["forecast"]["tasks_per_second"] == 0.2  # one in 5 s
    assert blobs["forecast"]["empty_at"] >= blobs["last_review_at"]  # not before the last one is due
    assert found["review_after_seconds"]["blob_upload"] == 86400
    node = found["nodes"][0]
    assert node["max_backoff_seconds"] == 86400
    assert node["workers"]["blobs"]["interval_seconds"] == 5
    assert node["workers"]["blobs"]["started_at"] is not None  # by its log

    run_sql(
        postgres_server,
        site,
        "UPDATE gc_blob_review_queue SET review_count = 4, review_after = now() - interval '3 days'",
    )
    done = site.regctl("gc", "status")
    assert done.exit_code == 3, str(done)
    blobs = done.json["queues"]["blobs"]
    assert expected - 3 <= blobs["stuck"] <= expected  # a worker may have had its first turn by now
    assert blobs["most_reviews"] == 4
    assert 3 * 86400 <= blobs["oldest_overdue_seconds"] < 3 * 86400 + 60
    assert any("failed 3 times or more" in problem for problem in done.json["problems"])
    assert any("is too slow, or fails" in problem for problem in done.json["problems"])
    measured = site.regctl("gc", "status", "--measure", "1s").json["queues"]["blobs"]["forecast"]
    assert measured["measured"] is True


def test_status_says_what_cannot_be_known_and_never_fails(
    site: SiteUnderTest, gitlab_site: Callable[..., GitlabSite]
) -> None:
    (site.folder / "db.password").write_text("wrong\n")
    done = site.regctl("gc", "status")
    assert done.exit_code == 3, str(done)
    assert done.json["queues"] is None
    assert any("password authentication failed" in problem for problem in done.json["problems"])
    with gitlab_site("tree") as other:
        push_some(other, 1)
        push_some(other, 1, "another")  # the first is untagged now
        found = other.ok("gc", "status")
        assert (found["kind"], found["last_collection"]) == ("offline", None)
        ran = other.ok("gc", "--read-only", "--delete-untagged", "--yes")
        assert ran["blobs"] > 0
        last = other.ok("gc", "status")["last_collection"]
        assert last["run"] == ran["run"]
        assert last["blobs"] == ran["blobs"]


def test_drain_is_faster_for_a_while_and_brings_the_very_bytes_back(site: SiteUnderTest) -> None:
    before = site.server.config_file.read_bytes()
    stat = site.server.config_file.stat()
    dry = site.ok("--dry-run", "gc", "drain", "--for", "1s")
    assert dry["tasks"] > 0
    assert site.server.config_file.read_bytes() == before
    running = site.start("gc", "drain", "--for", "3s", "--interval", "100ms", "--yes")
    fast: dict[str, Any] = {}
    until = time.monotonic() + PATIENCE
    while running.poll() is None and time.monotonic() < until:
        now = config(site)
        fast = now or fast
        time.sleep(0.05)
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err.decode()
    assert fast["blobs"] == {"interval": "100ms"}
    assert fast["manifests"] == {"interval": "100ms"}
    assert fast["noidlebackoff"] is True
    assert b'"tasks_before"' in out
    after = site.server.config_file.stat()
    assert site.server.config_file.read_bytes() == before
    assert (after.st_mode, after.st_uid, round(after.st_mtime, 3)) == (
        stat.st_mode,
        stat.st_uid,
        round(stat.st_mtime, 3),
    )
    assert not list(site.server.folder.glob(".config.yml.regctl*"))
    assert site.ok("status")["healthy"] is True


def test_a_drain_that_was_killed_is_taken_back_by_resume(site: SiteUnderTest) -> None:
    before = site.server.config_file.read_bytes()
    running = site.start("gc", "drain", "--for", "1h", "--yes")
    until = time.monotonic() + PATIENCE
    while not config(site) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1)
    running.kill()
    running.communicate(timeout=PATIENCE)
    assert config(site)["noidlebackoff"] is True
    done = site.regctl("run", "resume", "--leave-only", "--yes")
    assert site.server.config_file.read_bytes() == before, str(done)
    assert site.ok("status")["healthy"] is True


def test_drain_is_refused_where_nothing_collects(
    site: SiteUnderTest, gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    assert site.regctl("gc", "drain", "--yes").exit_code == 2
    assert site.regctl("gc", "drain", "--for", "nonsense", "--yes").exit_code == 2
    assert site.regctl("gc", "drain", "--until-idle", "--interval", "1ns", "--yes").exit_code == 2
    put_to(site, "gc", disabled=True)
    refused = site.regctl(
        "gc", "drain", "--for", "1s", "--yes", "--skip", "config-newer", "--skip-reason", "t"
    )
    assert refused.exit_code == 6, str(refused)
    assert "online garbage collection is off" in refused.stderr


def test_review_now_moves_only_what_was_queued_an_hour_ago(
    site: SiteUnderTest, postgres_server: PostgresServer
) -> None:
    fresh = "SELECT count(*) FROM gc_blob_review_queue WHERE review_after > now()"
    all_of_them = run_sql(postgres_server, site, fresh)[0][0]
    run_sql(
        postgres_server,
        site,
        "UPDATE gc_blob_review_queue SET review_after = review_after - interval '2 hours',"
        " created_at = created_at - interval '2 hours' WHERE digest IN"
        " (SELECT digest FROM gc_blob_review_queue ORDER BY digest LIMIT 2)",
    )
    for number, half in enumerate(
        ("review_after", "created_at")
    ):  # as if the delay was changed, or it was queued anew
        run_sql(
            postgres_server,
            site,
            f"UPDATE gc_blob_review_queue SET {half} = {half} - interval '2 hours' WHERE digest IN (SELECT"
            f" digest FROM gc_blob_review_queue ORDER BY digest DESC LIMIT 1 OFFSET {number})",
        )
    done = site.ok("gc", "drain", "--for", "1s", "--review-now", "--yes")
    assert done["reviewed_now"] == 2
    left = run_sql(postgres_server, site, fresh)[0][0]
    assert left == all_of_them - 2  # a push may still be going on


def test_online_off_and_on_are_proved_by_file_and_log_and_remembered(site: SiteUnderTest) -> None:
    site.ok("--dry-run", "gc", "online", "off")
    assert config(site) == {}
    done = site.ok("gc", "online", "off", "--yes")
    assert done["proved_by_log"] == ["here"]
    assert config(site)["disabled"] is True
    assert site.ok("gc", "status")["disabled"] is True
    assert site.ok("gc", "online", "off", "--yes")["result"] == "nothing-to-do"
    done = site.ok("gc", "online", "on", "--yes")
    assert done["proved_by_log"] == ["here"]
    assert config(site)["disabled"] is False
    assert site.ok("gc", "status")["disabled"] is False


def test_online_on_is_refused_until_the_import_is_verified(
    site: SiteUnderTest, postgres_server: PostgresServer
) -> None:
    site.ok("gc", "online", "off", "--yes")
    run_sql(
        postgres_server,
        site,
        "INSERT INTO import_statistics (started_at, finished_at, pre_import, tag_import, blob_import)"
        " VALUES (now(), now(), true, true, false)",
    )
    refused = site.regctl("gc", "online", "on", "--yes")
    assert refused.exit_code == 6, str(refused)
    assert "enable-db main --finish" in refused.stderr
    assert config(site)["disabled"] is True


@pytest.mark.soak  # a worker sleeps up to 60 s before its first task
def test_drain_until_idle_reviews_everything_that_is_due(
    site: SiteUnderTest, postgres_server: PostgresServer
) -> None:
    push_some(site, 12, "drain")  # two of them over the first two: their manifests are garbage now
    database = server_of(site).database
    assert database is not None
    review_now(postgres_server, database)
    due = site.ok("gc", "status")["queues"]
    assert due["blobs"]["overdue"]["rows"] + due["manifests"]["overdue"]["rows"] == 56
    done = site.ok("gc", "drain", "--until-idle", "--interval", "100ms", "--yes", timeout=240)
    assert done["tasks_before"] == 56
    assert done["due_after"] == 0
    assert done["tasks_after"] == 6  # the blobs of the two, queued anew for tomorrow
    assert done["next_due_at"] is not None
    again = site.ok("gc", "drain", "--until-idle", "--yes")
    assert again["result"] == "nothing-to-do"


def test_a_drain_that_is_interrupted_puts_everything_back(site: SiteUnderTest) -> None:
    before = site.server.config_file.read_bytes()
    running = site.start("gc", "drain", "--for", "1h", "--yes", output="jsonl")
    until = time.monotonic() + PATIENCE
    while not config(site) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(3)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130, err.decode()
    assert site.server.config_file.read_bytes() == before
    status = site.ok("status")
    assert (status["healthy"], status["open_runs"]) == (True, [])


def test_a_file_that_is_regctls_own_is_drained_and_toggled_too(site: SiteUnderTest) -> None:
    site.ok("config", "adopt", "--yes")
    site.ok("config", "apply", "--yes")
    before = site.server.config_file.read_bytes()
    assert before.startswith(b"# managed by regctl")
    site.ok("gc", "drain", "--for", "1s", "--yes")
    assert site.server.config_file.read_bytes() == before
    site.ok("gc", "online", "off", "--yes")
    assert config(site)["disabled"] is True
    remembered = yaml.safe_load((site.folder / "site.d/50-regctl.yml").read_text())
    assert remembered["registries"]["main"]["config"]["gc"] == {"disabled": True}
    diff = site.ok("config", "diff")
    assert diff["changes"] is False  # the site and the file agree
