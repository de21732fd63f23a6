"""The one gate: no step changes a storage tree while a metadata database is in use, or may be.

The positive control is the program itself: put to `enabled: false` and without a lock file it deletes every
blob that the database needs, and exits 0.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.images import image
from tests.support.postgres import DatabaseAddress, PostgresServer

COLLECT = ("gc", "--read-only", "--yes")


def fill(site: GitlabSite, count: int = 3) -> list[str]:
    """Push a few images; return the tags."""
    with closing(site.client()) as client:
        for number in range(count):
            client.push("group/app", f"v{number}", image(f"gate-{number}"))
    return [f"v{number}" for number in range(count)]


def blobs(site: GitlabSite) -> int:
    """Count the blobs in storage."""
    return sum(1 for _ in site.server.storage.glob("docker/registry/v2/blobs/*/*/*/data"))


def lock_files(site: GitlabSite) -> Path:
    """The folder of the lock files."""
    return site.server.storage / "docker/registry/lockfiles"


def put_to(site: GitlabSite, **section: object) -> None:
    """Change the database section of the file that the service loads."""
    config = yaml.safe_load(site.server.config_file.read_text())
    config["database"].update(section)
    site.server.config_file.write_text(yaml.safe_dump(config))


def refusal(site: GitlabSite, *command: str) -> str:
    """Demand that a command is refused with exit 6, that nothing went, and that no service was touched."""
    before, running = blobs(site), site.processes()
    done = site.regctl(*(command or COLLECT))
    assert done.exit_code == 6, str(done)
    assert blobs(site) == before
    assert site.processes() == running
    return done.stderr


@pytest.fixture
def on_database(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> Callable[..., GitlabSite]:
    """Make sites whose registry keeps its content in the database."""
    return lambda **more: gitlab_site(database=migrated_database, enabled=True, **more)


def test_the_bare_collector_deletes_every_blob_that_the_database_needs_and_regctl_refuses(
    on_database: Callable[..., GitlabSite],
) -> None:
    with on_database() as site:
        fill(site)
        assert isinstance(site.server, GitlabServer)
        assert not lock_files(site).exists()  # 4.32 writes none without its feature flag
        site.ok("service", "stop", "--yes")
        put_to(site, enabled=False)
        text = refusal(site)
        assert "the registry's metadata database holds 3 tags" in text
        had = blobs(site)
        assert had > 3
        # the control: the same storage, the same file, the program alone
        site.server.enabled = False
        done = site.server.run("garbage-collect")
        assert done.returncode == 0, done.stderr
        assert blobs(site) == 0


def test_fault_06_a_collection_that_cannot_be_is_refused_before_any_service_is_touched(
    on_database: Callable[..., GitlabSite],
) -> None:
    with on_database() as site:
        fill(site)
        for mode in ("--read-only", "--stopped"):
            text = refusal(site, "gc", mode, "--yes")
            assert "says database.enabled: true" in text
            assert "says that it serves from its metadata database" in text
        assert "holds 3 tags" in refusal(site, "--dry-run", "gc")


def test_each_piece_of_evidence_alone_refuses(gitlab_site: Callable[..., GitlabSite]) -> None:
    with gitlab_site() as site:  # a registry that never saw a database
        fill(site)
        lock_files(site).mkdir(parents=True)
        lock = lock_files(site) / "database-in-use"
        lock.write_text('{"version":1}')
        assert "lock file database-in-use" in refusal(site)
        lock.unlink()
        text = site.server.config_file.read_text()
        site.server.config_file.write_text(text + "database: {enabled: prefer}\n")
        assert "database.enabled: prefer" in refusal(site)
        site.server.config_file.write_text(text + "database: {enabled: false, host: db, dbname: r}\n")
        assert "names a metadata database that the site does not know" in refusal(site)


def test_a_registry_that_serves_the_database_is_not_collected_whatever_its_file_says_now(
    on_database: Callable[..., GitlabSite], postgres_server: PostgresServer
) -> None:
    with on_database() as site:
        fill(site)
        assert site.server.database is not None  # type: ignore[attr-defined]
        put_to(site, enabled=False)
        with closing(postgres_server.connect(site.server.database.name)) as connection:  # type: ignore[attr-defined]
            connection.execute("TRUNCATE repositories, tags, manifests CASCADE")
        text = refusal(site)
        assert "serves from its metadata database" in text
        assert "metadata database holds" not in text


def test_a_database_that_does_not_answer_excludes_nothing(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    with gitlab_site(database=migrated_database) as site:
        fill(site)
        wrong = site.folder / "db.password"
        wrong.write_text("not-the-password\n")
        text = refusal(site)
        assert "cannot be excluded: what the database holds" in text
        assert "password authentication failed" in text
        assert "not-the-password" not in text


def test_the_engine_of_the_site_does_not_decide(
    on_database: Callable[..., GitlabSite],
) -> None:
    with on_database() as site:
        fill(site)
        site.engine = "distribution"
        description = site.description()
        description["registries"]["main"].pop("database")
        site.site_file.write_text(yaml.safe_dump(description))
        text = refusal(site)
        assert "says database.enabled: true" in text
        assert "serves from its metadata database" in text
        site.engine = "gitlab"
        site.write()


def test_a_registry_on_the_tree_is_collected(gitlab_site: Callable[..., GitlabSite]) -> None:
    with gitlab_site() as site:
        tags = fill(site)
        with closing(site.client()) as client:
            client.push("group/app", "v0", image("gate-again"))  # v0 before is untagged now
        had = blobs(site)
        done = site.ok("gc", "--read-only", "--delete-untagged", "--yes")
        assert done["blobs"] > 0
        assert blobs(site) == had - done["blobs"]
        with closing(site.client()) as client:
            for tag in tags:
                client.pull("group/app", tag)
