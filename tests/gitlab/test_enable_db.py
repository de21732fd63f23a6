"""enable-db on the real program: new and existing registries, in one step and in three."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.support.enabling import ENABLE, EnablingSite, PlainServer, header
from tests.support.gitlab import drop_owned
from tests.support.images import image, multi_arch
from tests.support.postgres import PASSWORD, SUPERUSER, DatabaseAddress, PostgresServer
from tests.support.transfer import Client, RefusedByRegistryError
from tests.support.two_nodes import TwoNodes

pytestmark = [pytest.mark.postgres]
Make = Callable[..., EnablingSite]


def in_database_mode(site: EnablingSite, *, closed_to_others: bool = True) -> None:
    assert site.header() == "true"
    assert site.locks() == ["database-in-use"]
    assert [name for name in site.snapshot()["beside"] if "regctl" in name] == []
    config = yaml.safe_load(site.server.config_file.read_text())
    assert config["database"]["enabled"] is True
    assert config["database"]["pool"]["maxidle"] > 0
    assert config["gc"]["disabled"] is True
    assert (site.server.config_file.stat().st_mode & 0o037 == 0) is closed_to_others
    remembered = yaml.safe_load((site.folder / "site.d" / "50-regctl.yml").read_text())
    said = remembered["registries"]["main"]["config"]
    assert said["database"]["enabled"] is True
    assert said["database"]["pool"]["maxidle"] > 0
    assert "password" not in said["database"]


def test_a_new_installation(enabling: Make, migrated_database: DatabaseAddress) -> None:
    with enabling(migrated_database) as site:
        done = site.ok(*ENABLE, timeout=300)
        assert (done["result"], done["import"], done["online_gc"]) == ("changed", "nothing", "off")
        in_database_mode(site)
        assert site.mode() == "writable"
        with site.client() as client:
            client.push("team/app", "one", image("one"))
            client.push("team/app", "two", multi_arch("two"))
            assert len(client.pull_everything()) == 2
        again = site.ok(*ENABLE)
        assert (again["result"], again["online_gc"]) == ("nothing-to-do", "off")


def administer(server: PostgresServer, database: str, statement: str) -> int:
    with closing(server.connect(database)) as connection:
        return connection.execute(statement.encode()).rowcount


def test_an_existing_registry_by_one_command_and_its_end(
    enabling: Make, migrated_database: DatabaseAddress, postgres_server: PostgresServer
) -> None:
    site = enabling(migrated_database)
    site.seeded(20, 5)
    with site:
        before = site.pull_everything()
        assert len(before) >= 100
        done = site.regctl(*ENABLE, "--import", "one-step", timeout=300)
        assert done.exit_code in (0, 3), str(done)
        assert done.json["tags"] == len(before)
        assert done.json["window_seconds"] > 0
        assert "backup of the storage and of the database" in done.stderr  # fault 14
        in_database_mode(site)
        assert site.pull_everything() == before
        with site.client() as client:
            client.push("team/new", "one", image("one"))
        name = migrated_database.name
        renamed = "UPDATE tags SET name = name || '-x' WHERE id = (SELECT min(id) FROM tags)"
        assert administer(postgres_server, name, renamed) == 1
        unverified = site.regctl("enable-db", "--finish", "--yes", timeout=300)
        assert unverified.exit_code == 1, str(unverified)
        assert "is not verified" in unverified.stderr
        in_database_mode(site)  # and collection is still off
        administer(
            postgres_server,
            name,
            "UPDATE tags SET name = left(name, -2) WHERE id = (SELECT min(id) FROM tags)",
        )
        finished = site.ok("enable-db", "--finish", "--yes", timeout=300)
        assert finished["online_gc"] == "on"
        assert yaml.safe_load(site.server.config_file.read_text())["gc"]["disabled"] is False
        assert len(site.pull_everything()) == len(before) + 1
        assert site.ok(*ENABLE)["online_gc"] == "on"


class Pusher(threading.Thread):
    """Pushes one image after the other and remembers which were accepted, and when one was refused."""

    def __init__(self, site: EnablingSite) -> None:
        super().__init__(daemon=True)
        self.site, self.over = site, threading.Event()
        self.accepted: list[str] = []
        self.answers: list[tuple[float, int]] = []

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            number += 1
            try:
                with self.site.client() as client:
                    client.push(f"pushed/app{number % 3}", f"v{number}", image(f"v{number}", layers=1))
                self.accepted.append(f"v{number}")
                self.answers.append((time.monotonic(), 201))
            except RefusedByRegistryError as error:
                self.answers.append((time.monotonic(), error.status))
            except OSError:
                self.answers.append((time.monotonic(), 0))  # restarting
            time.sleep(0.05)

    def stop(self) -> None:
        self.over.set()
        self.join(30)


def test_in_three_steps_with_pushes_nothing_accepted_is_lost(
    enabling: Make, migrated_database: DatabaseAddress
) -> None:
    site = enabling(migrated_database)
    site.seeded(6, 4)
    with site:
        before = site.pull_everything()
        pusher = Pusher(site)
        pusher.start()
        try:
            done = site.regctl(*ENABLE, "--import", "three-step", timeout=300)
            assert done.exit_code in (0, 3), str(done)
            time.sleep(0.5)
        finally:
            pusher.stop()
        in_database_mode(site)
        after = site.pull_everything()
        assert {key: after[key] for key in before} == before
        tags = {tag for _, tag in after}
        lost = [tag for tag in pusher.accepted if tag not in tags]
        assert lost == []
        assert [status for _, status in pusher.answers].count(405) > 0, "no push met the window"
        assert pusher.answers[0][1] == pusher.answers[-1][1] == 201
        steps = [(one["step"], one["phase"]) for one in done.json["steps"]]
        assert steps.count(("ImportMetadata", "apply")) == 2
        finished = site.ok("enable-db", "--finish", "--yes", timeout=300)
        assert ("ImportMetadata", "apply") in [(one["step"], one["phase"]) for one in finished["steps"]]


def test_fault_01_what_was_stopped_stays_stopped(enabling: Make, migrated_database: DatabaseAddress) -> None:
    site = enabling(migrated_database)
    site.seeded()
    with site:
        before = site.pull_everything()
        site.ok("service", "stop", "--yes")
        done = site.regctl(*ENABLE, "--import", "one-step", timeout=300)
        assert done.exit_code in (0, 3), str(done)
        assert site.mode() == "stopped"
        assert site.locks() == ["database-in-use"]
        site.ok("service", "start")
        in_database_mode(site)
        assert site.pull_everything() == before


def test_what_was_read_only_by_its_own_file_stays_so(
    enabling: Make, migrated_database: DatabaseAddress
) -> None:
    site = enabling(migrated_database, read_only=True)
    site.seeded()
    with site:
        before = site.pull_everything()
        done = site.regctl(*ENABLE, "--import", "one-step", timeout=300)
        assert done.exit_code in (0, 3), str(done)
        assert site.mode() == "read-only"
        in_database_mode(site)
        assert site.pull_everything() == before


def test_what_an_import_has_kept_closed_is_switched_and_opened(
    enabling: Make, migrated_database: DatabaseAddress
) -> None:
    site = enabling(migrated_database, connected=True)
    site.seeded()
    with site:
        before = site.pull_everything()
        imported = site.regctl("registry", "import", "--stay-closed", "--yes", timeout=300)
        assert imported.exit_code in (0, 3), str(imported)
        assert (site.mode(), site.header(), site.locks()) == ("read-only", "false", ["database-in-use"])
        site.ok(*ENABLE, timeout=300)
        assert site.mode() == "writable"
        in_database_mode(site, closed_to_others=False)  # the password stood in the operator's file before
        assert site.pull_everything() == before
        status = site.ok("read-only", "status")
        assert (status["nodes"][0]["since"], status["nodes"][0]["config"]) == (None, "writable")


def test_an_import_that_was_not_kept_closed_is_not_switched_to(
    enabling: Make, migrated_database: DatabaseAddress
) -> None:
    """A lock file that says database, and a registry that accepts pushes on its tree."""
    site = enabling(migrated_database, connected=True)
    site.seeded()
    with site:
        folder = site.server.storage / "docker/registry/lockfiles"
        for lock in folder.iterdir():
            lock.unlink()
        (folder / "database-in-use").write_text('{"version":1}')
        before = site.snapshot()
        done = site.regctl(*ENABLE, "--import", "one-step")
        assert done.exit_code == 6, str(done)
        assert "not kept closed since" in done.stderr
        assert site.snapshot() == before


def test_a_managed_file_stays_managed(enabling: Make, migrated_database: DatabaseAddress) -> None:
    site = enabling(migrated_database)
    site.seeded()
    with site:
        site.ok("config", "adopt", "--yes")
        site.ok("config", "apply", "--yes")
        before = site.pull_everything()
        done = site.regctl(*ENABLE, "--import", "one-step", timeout=300)
        assert done.exit_code in (0, 3), str(done)
        in_database_mode(site)
        diff = site.ok("config", "diff")
        assert diff["nodes"][0]["state"] == "managed"
        assert diff["changes"] is False
        assert site.pull_everything() == before


def test_role_and_database_are_made_on_the_way(
    enabling: Make, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    name = f"made_{tmp_path.name[-8:]}".replace("-", "_").lower()
    address = DatabaseAddress(name, str(postgres_server.folder), postgres_server.port, name, "a-word-of-ours")
    site = enabling(address)
    admin = tmp_path / "admin.password"
    admin.write_text(PASSWORD + "\n")
    admin.chmod(0o600)
    site.admin = {
        "host": "127.0.0.1",
        "port": postgres_server.port,
        "dbname": "postgres",
        "user": SUPERUSER,
        "password": f"file:{admin}",
        "sslmode": "disable",
    }
    site.seeded()
    try:
        with site:
            refused = site.regctl(*ENABLE, "--import", "one-step")
            assert refused.exit_code == 7, str(refused)
            shown = site.regctl("enable-db", "--import", "one-step", "--provision", "admin", "--dry-run")
            assert shown.json["result"] == "pending", str(shown)
            done = site.regctl(*ENABLE, "--import", "one-step", "--provision", "admin", timeout=300)
            assert done.exit_code in (0, 3), str(done)
            in_database_mode(site)
    finally:
        drop_owned(postgres_server, address)


# -- two nodes ---------------------------------------------------------------------------------


class TwoEnablingNodes(TwoNodes, EnablingSite):
    """Both of GitLab's registry, over the same database too."""


@pytest.fixture
def two_nodes(tmp_path: Path, migrated_database: DatabaseAddress) -> Iterator[TwoEnablingNodes]:
    server = PlainServer(tmp_path / "registry", database=migrated_database)
    site = TwoEnablingNodes(tmp_path / "site", server)
    site.seeded()
    with site:
        yield site


def test_fault_15_every_node_is_closed_switched_and_proved(two_nodes: TwoEnablingNodes) -> None:
    site = two_nodes
    before = site.pull_everything()
    done = site.regctl(*ENABLE, "--import", "one-step", timeout=300)
    assert done.exit_code in (0, 3), str(done)
    assert done.json["nodes_proved"] == 2
    in_database_mode(site)
    assert header(site.other) == "true"
    with Client(site.other.url) as client:
        assert client.pull_everything() == before
