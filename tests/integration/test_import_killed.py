"""An import that is killed anywhere is finished by the same command, and nothing is parsed twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ctl.catalog import import_
from ctl.catalog.import_ import Hooks
from ctl.catalog.seeding import FIRST_PUSH, SeedPlan, TreeWriter, seed_tree
from ctl.database.session import PostgresSession
from ctl.errors import InterruptedRunError, LockedError, RegctlError
from tests.support.catalogs import CatalogUnderTest, catalog_of
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.postgres
PLAN = SeedPlan(repositories=3, tags_per_repository=4, garbage=10)
CASES = ["unlinked-child", "empty-tag-link", "missing-layer"]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many transactions in a small tree."""
    monkeypatch.setattr(import_, "BATCH_ROWS", 40)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    seed_tree(str(folder), PLAN, CASES)
    return folder


@pytest.fixture(scope="module")
def fresh(postgres_server: PostgresServer, root: Path) -> dict[str, Any]:
    with catalog_of(postgres_server, str(root)) as catalog:
        catalog.bring_in()
        return catalog.content()


@pytest.fixture
def catalog(postgres_server: PostgresServer, root: Path) -> Iterator[CatalogUnderTest]:
    with catalog_of(postgres_server, str(root)) as one:
        yield one


def _killed_at(catalog: CatalogUnderTest, statement: int) -> bool:
    """Import in a child that kills itself before its n-th statement; False if it came to its end before."""
    child = os.fork()
    if child == 0:
        seen = 0

        def counting(method: Any) -> Any:
            def counted(self: PostgresSession, *arguments: Any) -> Any:
                nonlocal seen
                if seen == statement:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1
                return method(self, *arguments)

            return counted

        for name in ("execute", "copy_in", "rows"):
            setattr(PostgresSession, name, counting(getattr(PostgresSession, name)))
        try:
            catalog.bring_in()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    catalog.runs += 1
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_killed_before_any_statement_the_next_import_ends_as_a_fresh_one(
    postgres_server: PostgresServer, root: Path, fresh: dict[str, Any]
) -> None:
    landed, statement = 0, 0
    while True:
        with catalog_of(postgres_server, str(root)) as catalog:
            if not _killed_at(catalog, statement):
                break
            landed += 1
            parsed = catalog.rows("SELECT count(*) FROM regctl.manifests")[0][0]
            assert catalog.rows("SELECT coalesce(max(generation), 0) FROM regctl.registries") == [(0,)]
            done = catalog.bring_in()
            assert catalog.content() == fresh
            assert done.parsed == len(fresh["manifests"]) - parsed, "what was committed was parsed again"
            assert done.generation == 1
            states = catalog.rows("SELECT state FROM regctl.imports ORDER BY started_at, run_id")
            assert states[-1] == ("complete",)
            assert ("running",) not in states
        statement += 1 + statement // 3  # every one of the first, then a thinning sample
    assert landed >= 12


def test_killed_again_and_again_it_still_gets_there(catalog: CatalogUnderTest, fresh: dict[str, Any]) -> None:
    known = [0]
    statement = 120
    while _killed_at(catalog, statement):
        known.append(catalog.rows("SELECT count(*) FROM regctl.manifests")[0][0])
        statement += 15
    assert known == sorted(known)
    assert len(known) > 2
    assert known[-1] > 0, "no progress was kept between the kills"
    assert catalog.content() == fresh


def test_a_lost_connection_is_an_error_of_ours_and_the_next_import_goes_on(
    postgres_server: PostgresServer, catalog: CatalogUnderTest, fresh: dict[str, Any]
) -> None:
    for point in (0, 2, 4):
        passed = 0

        def cut(point: int = point) -> None:
            nonlocal passed
            if passed == point:
                with closing(postgres_server.connect()) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                        (catalog.address.name,),
                    )
            passed += 1

        with pytest.raises(RegctlError):
            catalog.bring_in(Hooks(guard=cut))
    catalog.bring_in()
    assert catalog.content() == fresh


def test_asked_to_stop_it_keeps_what_it_read(catalog: CatalogUnderTest, fresh: dict[str, Any]) -> None:
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(InterruptedRunError):
        catalog.bring_in(Hooks(stopping=stopping))
    kept = catalog.rows("SELECT count(*) FROM regctl.blobs")[0][0]
    assert kept > 0
    catalog.bring_in()
    assert catalog.content() == fresh


def test_a_stale_run_can_write_nothing_once_another_has_taken_over(
    catalog: CatalogUnderTest, fresh: dict[str, Any]
) -> None:
    passed = 0

    def overtake() -> None:
        nonlocal passed
        passed += 1
        if passed == 2:
            with catalog.importing(epoch=50) as newer:
                newer.run()

    with catalog.importing(Hooks(guard=overtake), epoch=7) as older, pytest.raises(LockedError):
        older.run()
    assert catalog.content() == fresh
    assert catalog.rows("SELECT epoch, generation FROM regctl.registries") == [(50, 1)]
    with pytest.raises(LockedError), catalog.importing(epoch=49):
        pass


def test_without_its_fence_the_stale_run_would_write(
    catalog: CatalogUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: it must fail on a writer that does not look at the epoch."""
    from ctl.catalog.writer import CatalogWriter

    monkeypatch.setattr(CatalogWriter, "_fence", lambda self: None)
    with catalog.importing(epoch=7) as older:
        with catalog.importing(epoch=50):
            pass
        older.run()
    assert catalog.rows("SELECT count(*) > 0 FROM regctl.blobs") == [(True,)]


def test_an_import_without_changes_reads_no_content_and_writes_no_row(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    seed_tree(str(tmp_path), PLAN)
    with catalog_of(postgres_server, str(tmp_path)) as catalog:
        first = catalog.bring_in()
        assert first.changed
        again = catalog.bring_in()
        assert (again.written, again.parsed, again.changed) == (0, 0, False)
        assert (again.generation, again.counts) == (2, first.counts)


def test_only_new_manifests_are_parsed(tmp_path: Path, postgres_server: PostgresServer) -> None:
    seed_tree(str(tmp_path), PLAN)
    with catalog_of(postgres_server, str(tmp_path)) as catalog:
        catalog.bring_in()
        digest = catalog.content()["revisions"][0][1]
        writer = TreeWriter(str(tmp_path))
        from ctl.catalog.digests import blob_path, revision_path

        payload = (tmp_path / blob_path(digest)).read_bytes()
        writer.put(revision_path("another/home", digest), digest.encode(), FIRST_PUSH)
        writer.manifest("another/home", payload.replace(b"{", b"{ ", 1), FIRST_PUSH)
        again = catalog.bring_in()
        assert again.parsed == 1
        assert catalog.verify().agree


def test_a_tag_moved_within_the_clock_tick_is_seen(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Same size, same mtime, other digest: the link was young when it was read, so it is read again."""
    from ctl.catalog.digests import tag_path

    seed_tree(str(tmp_path), PLAN)
    with catalog_of(postgres_server, str(tmp_path)) as catalog:
        catalog.bring_in()
        rows = catalog.content()["tags"]
        name, tag, old = rows[0][:3]
        new = next(row[2] for row in rows if row[0] == name and row[2] != old)
        link = tmp_path / tag_path(name, tag)
        link.write_text(old)
        stat = link.stat()
        catalog.bring_in()
        link.write_text(new)
        os.utime(link, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
        catalog.bring_in()
        assert next(row[2] for row in catalog.content()["tags"] if row[:2] == (name, tag)) == new
