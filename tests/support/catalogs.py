"""Catalogs under test: a migrated database, imports into it, and what it holds as comparable values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ctl.catalog.compare import Comparing, Comparison
from ctl.catalog.import_ import Hooks, Imported, TreeImport
from ctl.catalog.model import Finding
from ctl.catalog.store import CatalogReader, CatalogStore
from ctl.catalog.tree import Tree
from ctl.catalog.writer import CatalogWriter
from ctl.database.base import DatabaseStatus
from ctl.database.migrations import load_migrations
from ctl.database.session import PostgresSession
from ctl.storage.filesystem import FilesystemStorage
from tests.support.postgres import DatabaseAddress, PostgresServer

if TYPE_CHECKING:
    from ctl.storage.base import Storage

REGISTRY = "main"


def migrated(server: PostgresServer) -> str:
    """Return the name of a template database that has the catalog's schema."""

    def fill(address: DatabaseAddress) -> None:
        with closing(server.connect(address.name)) as connection:
            for one in load_migrations("ctl.catalog.migrations"):
                connection.execute(one.up)

    return server.template(fill, "catalog_template")


@dataclass
class DirectDatabase:
    """A Database that is always there: for tests of what stands on one."""

    address: DatabaseAddress
    name: str = "metadata"
    embedded: bool = False

    def status(self) -> DatabaseStatus:
        return DatabaseStatus(True, "running", "15")

    def ensure_started(self) -> bool:
        return False

    def stop(self) -> bool:
        return False

    def connect(self, *, read_only: bool = False) -> PostgresSession:
        import psycopg

        connection = psycopg.connect(self.address.dsn, autocommit=True)
        if read_only:
            connection.execute("SET default_transaction_read_only = on")
        return PostgresSession(cast(Any, connection), self.name)

    def pooling(self) -> Any:
        raise NotImplementedError

    def client_command(self, *, read_only: bool = False) -> Any:
        raise NotImplementedError


@dataclass
class CatalogUnderTest:
    """One registry's copy of a tree."""

    address: DatabaseAddress
    root: str
    runs: int = 0
    storage: Storage | None = None

    @property
    def store(self) -> CatalogStore:
        return CatalogStore(DirectDatabase(self.address), REGISTRY)

    def tree(self) -> Tree:
        return Tree(self.storage or FilesystemStorage(self.root, workers=0))

    @contextmanager
    def importing(self, hooks: Hooks | None = None, epoch: int | None = None) -> Iterator[TreeImport]:
        """Prepare an import, ready to run."""
        self.runs += 1
        database = DirectDatabase(self.address)
        with database.connect() as writing, database.connect(read_only=True) as reading:
            number = self.runs if epoch is None else epoch
            writer = CatalogWriter(writing, REGISTRY, self.root, run_id=f"run-{self.runs}", epoch=number)
            yield TreeImport(self.tree(), writer, CatalogReader(reading, REGISTRY), hooks or Hooks())

    def bring_in(self, hooks: Hooks | None = None) -> Imported:
        """Import to the end."""
        with self.importing(hooks) as one:
            return one.run()

    def verify(self, *, checksums: bool = False) -> Comparison:
        """Compare the tree with the copy."""
        with self.store.open() as reader:
            return Comparing(self.tree(), reader, checksums=checksums).run()

    def findings(self) -> list[Finding]:
        """Every finding."""
        with self.store.open() as reader:
            return reader.findings(100_000)[0]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with DirectDatabase(self.address).connect() as session:
            return session.rows(cast(Any, query))

    def content(self) -> dict[str, Any]:
        """All that the copy says of the registry, without ids, times of reading and generations."""
        return {name: sorted(self.rows(query)) for name, query in _CONTENT.items()}


_CONTENT = {
    "repositories": "SELECT name FROM regctl.repositories",
    "tags": "SELECT r.name, t.name, regctl.digest_text(t.digest), t.size, t.mtime_ns "
    "FROM regctl.tags t JOIN regctl.repositories r ON r.id = t.repository_id",
    "revisions": "SELECT r.name, regctl.digest_text(t.digest), t.size, t.mtime_ns "
    "FROM regctl.manifest_links t JOIN regctl.repositories r ON r.id = t.repository_id",
    "layers": "SELECT r.name, regctl.digest_text(t.digest), regctl.digest_text(t.target) IS NULL, t.size, "
    "t.mtime_ns FROM regctl.blob_links t JOIN regctl.repositories r ON r.id = t.repository_id",
    "blobs": "SELECT regctl.digest_text(digest), size, mtime_ns FROM regctl.blobs",
    "manifests": "SELECT regctl.digest_text(digest), state, kind, media_type, artifact_type, size, created "
    "FROM regctl.manifests",
    "references": "SELECT regctl.digest_text(manifest), position, role, regctl.digest_text(digest), size, "
    "media_type FROM regctl.manifest_references",
    "findings": "SELECT scope, path, kind, reason FROM regctl.findings",
}


@contextmanager
def catalog_of(server: PostgresServer, root: str) -> Iterator[CatalogUnderTest]:
    """A catalog of a tree in a database of its own."""
    address = server.create_database(template=migrated(server), prefix="catalog")
    try:
        yield CatalogUnderTest(address, root)
    finally:
        server.drop_database(address.name)


def stopping_after(commits: int) -> tuple[Hooks, Callable[[], int]]:
    """Hooks that raise at the n-th safe point, and a counter of the safe points passed."""
    passed = 0

    def guard() -> None:
        nonlocal passed
        if passed == commits:
            raise KeyboardInterrupt
        passed += 1

    return Hooks(guard=guard), lambda: passed
