"""The one gate: no step changes a storage tree while a metadata database is in use, or may be.

The positive control is the program itself: put to `enabled: false` and without a lock file it deletes every
blob that the database needs, and exits 0.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest
import yaml

from tests.support.gitlab import GitlabSite
from tests.support.gitlab_state import UNLOCKED, blobs, lock_folder, push_some, put_to, server_of
from tests.support.images import image
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.site import SiteUnderTest

COLLECT = ("gc", "--read-only", "--yes")


def refusal(site: SiteUnderTest, *command: str) -> str:
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
    with on_database(settings=UNLOCKED) as site:
        push_some(site)
        assert not lock_folder(site).exists()  # 4.32 writes none without its feature flag
        site.ok("service", "stop", "--yes")
        put_to(site, enabled=False)
        text = refusal(site)
        assert "the registry's metadata database holds 3 tags" in text
        had = blobs(site)
        assert had > 3
        # the control: the same storage, the same file, the program alone
        server_of(site).enabled = False
        done = server_of(site).run("garbage-collect")
        assert done.returncode == 0, done.stderr
        assert blobs(site) == 0


def test_fault_06_a_collection_that_cannot_be_is_refused_before_any_service_is_touched(
    on_database: Callable[..., GitlabSite],
) -> None:
    with on_database() as site:
        push_some(site)
        for mode in ("--read-only", "--stopped"):
            text = refusal(site, "gc", mode, "--yes")
            assert "says database.enabled: true" in text
            assert "says that it serves from its metadata database" in text
        assert "holds 3 tags" in refusal(site, "--dry-run", "gc")


def test_each_piece_of_evidence_alone_refuses(gitlab_site: Callable[..., GitlabSite]) -> None:
    with gitlab_site() as site:  # a registry that never saw a database
        push_some(site)
        lock_folder(site).mkdir(parents=True)
        lock = lock_folder(site) / "database-in-use"
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
        push_some(site)
        database = server_of(site).database
        assert database is not None
        put_to(site, enabled=False)
        with closing(postgres_server.connect(database.name)) as connection:
            for table in (b"tags", b"manifests", b"repositories"):
                connection.execute(b"DELETE FROM " + table)
        text = refusal(site)
        assert "serves from its metadata database" in text
        assert "metadata database holds" not in text


def test_a_database_that_does_not_answer_excludes_nothing(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    with gitlab_site(database=migrated_database) as site:
        push_some(site)
        wrong = site.folder / "db.password"
        wrong.write_text("not-the-password\n")
        text = refusal(site)
        assert "cannot be excluded: what the database holds" in text
        assert "password authentication failed" in text
        assert "not-the-password" not in text


def test_a_database_that_is_still_to_be_made_holds_nothing(
    gitlab_site: Callable[..., GitlabSite], empty_database: DatabaseAddress
) -> None:
    with gitlab_site(database=replace(empty_database, name="still_to_be_made")) as site:
        push_some(site)
        assert site.ok("gc", "--dry-run")["blobs"] == 0
        assert site.ok("lockfiles", "show")["mode"] == "filesystem"


def test_the_engine_of_the_site_does_not_decide(
    on_database: Callable[..., GitlabSite],
) -> None:
    with on_database() as site:
        push_some(site)
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
        tags = push_some(site)
        with closing(site.client()) as client:
            client.push("group/app", "v0", image("again"))  # v0 before is untagged now
        had = blobs(site)
        done = site.ok("gc", "--read-only", "--delete-untagged", "--yes")
        assert done["blobs"] > 0
        assert blobs(site) == had - done["blobs"]
        with closing(site.client()) as client:
            for tag in tags:
                client.pull("group/app", tag)
