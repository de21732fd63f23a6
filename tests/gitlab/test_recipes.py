"""The recipes that ship, on the real program: each run to its end, and refused where it is not meant."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import closing

import pytest
import yaml

from tests.support.enabling import EnablingSite
from tests.support.images import image
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.site import Done
from tests.support.waiting import clean_environment

pytestmark = [pytest.mark.postgres]
Make = Callable[..., EnablingSite]


def run(site: EnablingSite, name: str, *arguments: str) -> Done:
    return site.regctl("recipe", "run", name, "--yes", *arguments, timeout=300)


def took_part(done: Done) -> list[str]:
    """The steps that were applied, in their order."""
    return [one["step"] for one in done.json["steps"] if one["phase"] == "apply"]


def online_gc(site: EnablingSite) -> str:
    config = yaml.safe_load(site.server.config_file.read_text())
    return "off" if config["gc"]["disabled"] else "on"


def test_a_new_registry_and_its_end(enabling: Make, migrated_database: DatabaseAddress) -> None:
    with enabling(migrated_database) as site:
        before = site.snapshot()
        looked = site.regctl("recipe", "run", "enable-db-new", "--dry-run")
        assert (looked.exit_code, looked.json["result"], looked.json["run"]) == (0, "pending", "")
        reasons = [one.get("because", "") for one in looked.json["previews"]]
        assert any("images in the storage" in reason for reason in reasons)
        assert site.snapshot() == before, "a dry run writes nothing"

        done = run(site, "enable-db-new")
        assert (done.exit_code, done.json["result"]) == (0, "changed"), str(done)
        assert done.json["parameters"] == {"registry": "main", "admin": None, "finish": False}
        assert (site.header(), site.locks(), online_gc(site)) == ("true", ["database-in-use"], "off")
        with site.client() as client:
            client.push("team/app", "one", image("one"))
        again = run(site, "enable-db-new")
        assert again.exit_code == 6, str(again)
        assert "is not plainly on its storage tree" in again.stderr

        layer = next(site.server.storage.glob("docker/registry/v2/blobs/*/*/*/data"))
        layer.rename(layer.with_name("gone"))
        stopped = run(site, "enable-db-new", "--set", "finish=true")
        assert (stopped.exit_code, online_gc(site)) == (1, "off"), (
            "the control: something is not as it should be"
        )
        layer.with_name("gone").rename(layer)

        finished = run(site, "enable-db-new", "--set", "finish=true")
        assert finished.exit_code == 0, str(finished)
        assert took_part(finished)[:3] == ["RequireEngine", "OnlyCheck", "DemandVerified"]
        assert online_gc(site) == "on"
        runs = [one["recipe"] for one in site.ok("run", "list")["runs"]]
        assert runs.count("enable-db-new") == 3


def test_one_step(enabling: Make, migrated_database: DatabaseAddress) -> None:
    site = enabling(migrated_database)
    site.seeded()
    with site:
        before = site.pull_everything()
        wrong = run(site, "enable-db-new")
        assert wrong.exit_code == 6, str(wrong)
        assert "recipe show import-one-step" in wrong.stderr
        assert (site.header(), site.locks()) == ("false", ["filesystem-in-use"])

        done = run(site, "import-one-step")
        assert done.exit_code in (0, 3), str(done)
        assert took_part(done).count("ImportMetadata") == 1
        assert (site.header(), site.locks()) == ("true", ["database-in-use"])
        assert site.pull_everything() == before
        assert run(site, "import-one-step", "--set", "finish=true").exit_code == 0
        assert online_gc(site) == "on"


def test_three_steps_and_the_way_back(
    enabling: Make, migrated_database: DatabaseAddress, postgres_server: PostgresServer
) -> None:
    site = enabling(migrated_database)
    site.seeded()
    with site:
        before = site.pull_everything()
        done = run(site, "import-three-step", "--set", "recent=0s")
        assert done.exit_code in (0, 3), str(done)
        assert took_part(done).count("ImportMetadata") == 2
        finished = run(site, "import-three-step", "--set", "finish=true")
        assert finished.exit_code == 0, str(finished)
        assert took_part(finished).count("ImportMetadata") == 1
        assert online_gc(site) == "on"
        with closing(postgres_server.connect(migrated_database.name)) as connection:
            row = connection.execute("SELECT count(*) FROM import_statistics").fetchone()
        assert row == (3,)

        with site.client() as client:
            client.push("team/new", "one", image("one"))
        now = site.pull_everything()
        assert len(now) == len(before) + 1
        back = run(site, "revert-to-filesystem", "--set", "pull=3")
        assert back.exit_code == 0, str(back)
        assert (site.header(), site.locks()) == ("false", ["filesystem-in-use"])
        assert site.pull_everything() == now
        again = run(site, "revert-to-filesystem")
        assert again.exit_code == 6, str(again)
        assert "is not on the database, but on its storage tree" in again.stderr


def test_an_upgrade_in_two_phases(
    enabling: Make, migrated_database: DatabaseAddress, postgres_server: PostgresServer
) -> None:
    with enabling(migrated_database) as site:
        assert run(site, "upgrade-two-phase").exit_code == 6, "a registry on its storage tree"
        site.ok("enable-db", "--yes", timeout=300)
        with site.client() as client:
            client.push("team/app", "one", image("one"))
        pids = site.processes()
        newest = newest_post_deployment(postgres_server, migrated_database)
        take_back_post_deployment(site)
        assert newest_post_deployment(postgres_server, migrated_database) != newest
        done = run(site, "upgrade-two-phase")
        assert done.exit_code == 0, str(done)
        assert took_part(done) == [
            "RequireEngine",
            "OnlyCheck",
            "MigrateMetadata",
            "RestartNode",
            "MigrateMetadata",
            "DemandBackend",
        ]
        assert site.processes() != pids
        assert len(site.pull_everything()) == 1
        assert newest_post_deployment(postgres_server, migrated_database) == newest


def take_back_post_deployment(site: EnablingSite) -> None:
    """Make the newest post-deployment migration pending again, as before an upgrade."""
    done = subprocess.run(
        [site.server.binary, "database", "migrate", "down", "-f", "-p", "1", str(site.server.config_file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(PGCONNECT_TIMEOUT="5"),
    )
    assert "OK: applied 1 post-deployment" in done.stdout, done.stderr


def newest_post_deployment(server: PostgresServer, address: DatabaseAddress) -> str:
    with closing(server.connect(address.name)) as connection:
        row = connection.execute("SELECT max(id) FROM post_deploy_schema_migrations").fetchone()
    assert row is not None
    return str(row[0])
