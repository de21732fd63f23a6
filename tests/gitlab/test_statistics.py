"""regctl status for a GitLab registry: figures for a service ping, whatever is broken."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing

from tests.support.gitlab import PASSWORD, GitlabSite
from tests.support.gitlab_state import push_some
from tests.support.postgres import DatabaseAddress, PostgresServer


def test_the_figures_of_a_database_registry(
    gitlab_site: Callable[..., GitlabSite],
    migrated_database: DatabaseAddress,
    postgres_server: PostgresServer,
) -> None:
    with gitlab_site(database=migrated_database, enabled=True) as site:
        push_some(site, 3)
        with closing(postgres_server.connect(migrated_database.name)) as connection:
            connection.execute(
                "INSERT INTO import_statistics (started_at, finished_at, pre_import, tag_import,"
                " tag_import_error, repositories_count, tags_count) VALUES (now() - interval '1 minute',"
                f" now(), true, true, 'cannot reach 127.0.0.1 as {migrated_database.user}', 4, 5)".encode()
            )
        found = site.ok("status")
        assert found["healthy"] is True
        main = found["registries"]["main"]
        assert main["nodes"][0]["backend"] == "database"
        assert main["nodes"][0]["version"] == "4.32.0"
        assert main["catalog"]["generation"] is None  # its database is no copy of ours
        metadata = main["metadata"]
        assert (metadata["mode"], metadata["uses_database"]) == ("database", True)
        assert metadata["asked"] == {"here": "database"}
        assert metadata["served"] == {"here": "database"}
        assert metadata["lock_files"] == {"database_in_use": True, "filesystem_in_use": False}
        assert metadata["rows"]["repositories"] == {"rows": 1, "exact": True}
        assert metadata["rows"]["tags"] == {"rows": 3, "exact": True}
        assert metadata["rows"]["manifests"] == {"rows": 3, "exact": True}
        assert metadata["rows"]["blobs"]["rows"] > 3
        migrations = metadata["migrations"]
        assert migrations["pre"] == "20251021070732_bbm_backfill_blobs_id_column"
        assert migrations["post"] == "20251015074500_post_create_blobs_null_id_index"
        assert (migrations["pending_pre"], migrations["pending_post"]) == (0, 0)
        assert migrations["background_unfinished"] == 65
        last = metadata["last_import"]
        assert (last["repositories"], last["tags"], last["steps"]) == (4, 5, ["one", "two"])
        assert last["failed_steps"] == ["two"]
        assert metadata["silent"] == []
        text = json.dumps(metadata)
        for private in (PASSWORD, "127.0.0.1", str(migrated_database.port), migrated_database.name):
            assert private not in text
        screen = site.regctl("status", output="table").stdout
        assert "database in use" in screen

        site.ok("service", "stop", "--yes")
        stopped = site.regctl("status").json["registries"]["main"]
        assert stopped["nodes"][0]["backend"] == "database"  # by its file
        assert stopped["metadata"]["served"] == {}
        assert stopped["metadata"]["uses_database"] is True


def test_a_broken_database_makes_status_neither_fail_nor_wait(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    with gitlab_site(database=migrated_database, enabled=True) as site:
        push_some(site, 1)
        (site.folder / "db.password").write_text("wrong\n")
        started = time.monotonic()
        done = site.regctl("status")
        assert time.monotonic() - started < 30  # 5 s of questions, and a loaded machine
        assert done.exit_code == 3, str(done)
        main = done.json["registries"]["main"]
        metadata = main["metadata"]
        assert metadata["uses_database"] is True  # header, lock file and configuration say so
        assert set(metadata["rows"].values()) == {None}
        assert metadata["migrations"]["pending_pre"] is None
        assert metadata["silent"] == ["rows", "migrations", "database"]
        assert "127.0.0.1" not in json.dumps(metadata)
        assert any("password authentication failed" in problem for problem in done.json["problems"])


def test_a_registry_on_the_tree_and_an_unmigrated_database(
    gitlab_site: Callable[..., GitlabSite], empty_database: DatabaseAddress
) -> None:
    with gitlab_site(database=empty_database) as site:
        push_some(site, 1)
        found = site.ok("status")
        main = found["registries"]["main"]
        assert main["nodes"][0]["backend"] == "filesystem"
        metadata = main["metadata"]
        assert (metadata["mode"], metadata["uses_database"]) == ("filesystem", False)
        assert metadata["schema"] is False
        assert metadata["migrations"] == {
            "pre": "",
            "post": "",
            "pending_pre": None,
            "pending_post": None,
            "background_unfinished": None,
        }
    with gitlab_site("alone") as site:
        metadata = site.ok("status")["registries"]["main"]["metadata"]
        assert (metadata["uses_database"], metadata["last_import"], metadata["silent"]) == (False, None, [])
