"""A GitLab site over a seeded tree, and what its database and its lock files hold after an import."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctl.catalog.lockfiles import DATABASE, FILESYSTEM, lock_path
from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.transfer import Client


def fill(
    server: GitlabServer, repositories: int = 3, tags: int = 3, corrupt: Sequence[str] = (), **shape: Any
) -> None:
    """Seed a server's storage before it starts."""
    plan = SeedPlan(repositories, tags, **{"garbage": 10, **shape})
    seed_tree(str(server.storage), plan, list(corrupt))


@dataclass
class Importing:
    """A site whose registry serves a tree, with a migrated and empty metadata database beside it."""

    site: GitlabSite
    postgres: PostgresServer

    @property
    def address(self) -> DatabaseAddress:
        """The metadata database."""
        database = self.site.server.database  # type: ignore[attr-defined]
        assert isinstance(database, DatabaseAddress)
        return database

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the metadata database, as its superuser."""
        with closing(self.postgres.connect(self.address.name)) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """Take everything out of the database: by DELETE without triggers, as TRUNCATE of all takes long."""
        with closing(self.postgres.connect(self.address.name)) as connection:
            connection.execute("SET session_replication_role = replica")
            for table in _TABLES:
                connection.execute(f"DELETE FROM public.{table}".encode())

    def tags(self) -> set[tuple[str, str, str]]:
        """Every (repository, tag, digest) in the database."""
        found = self.rows(
            "SELECT r.path, t.name, encode(m.digest, 'hex') FROM tags t JOIN repositories r"
            " ON r.id = t.repository_id JOIN manifests m ON m.id = t.manifest_id"
        )
        kinds = {"01": "sha256", "02": "sha512"}
        return {(path, tag, f"{kinds[hexed[:2]]}:{hexed[2:]}") for path, tag, hexed in found}

    def tree_tags(self) -> set[tuple[str, str, str]]:
        """Every (repository, tag, link) in the tree."""
        base = self.site.server.storage / "docker/registry/v2/repositories"
        return {
            (str(link.parents[4].relative_to(base)), link.parents[1].name, link.read_text())
            for link in base.glob("**/_manifests/tags/*/current/link")
        }

    def locks(self) -> set[str]:
        """Which lock files are there."""
        root = self.site.server.storage
        return {name for name in (DATABASE, FILESYSTEM) if (root / lock_path(name)).exists()}

    def lock(self, name: str) -> Path:
        """Write a lock file as the program does."""
        path = self.site.server.storage / lock_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"version":1}')
        return path

    def bare(self, *flags: str) -> Any:
        """Run the program's own import, without regctl."""
        server = self.site.server
        assert isinstance(server, GitlabServer)
        kept = server.config_file.read_bytes(), server.config_file.stat()
        try:
            return server.run("database", "import", "--log-to-stdout", *flags)
        finally:  # it writes the file anew, and a newer one than its process is refused
            server.config_file.write_bytes(kept[0])
            os.utime(server.config_file, ns=(kept[1].st_atime_ns, kept[1].st_mtime_ns))

    def break_tags(self) -> None:
        """Have the database refuse every tag, so that the program fails in its step two."""
        self.rows(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no tag today'; END $$"
        )
        self.rows("CREATE TRIGGER refuse BEFORE INSERT ON tags FOR EACH ROW EXECUTE FUNCTION public.refuse()")

    def mend_tags(self) -> None:
        """Take `break_tags` back."""
        self.rows("DROP TRIGGER refuse ON tags")
        self.rows("DROP FUNCTION public.refuse()")

    def mode(self) -> str:
        """What a write meets now: writable, read-only or stopped."""
        rows = self.site.regctl("read-only", "status").json["nodes"]
        return str(rows[0]["probe"])

    def client(self) -> Client:
        """A client of the registry."""
        return self.site.client()


_TABLES = (
    "tags",
    "manifest_references",
    "layers",
    "manifests",
    "repository_blobs",
    "blobs",
    "repositories",
    "top_level_namespaces",
    "gc_blobs_layers",
    "gc_blobs_configurations",
    "gc_blob_review_queue",
    "gc_manifest_review_queue",
    "import_statistics",
)
ImportingMaker = Callable[..., Importing]
