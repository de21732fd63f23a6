"""GitLab's own import as the judge of what a pre-flight foretold."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.support.gitlab import GitlabServer
from tests.support.postgres import SUPERUSER

_CONTENT = [
    "tags",
    "manifest_references",
    "layers",
    "manifests",
    "repository_blobs",
    "repositories",
    "top_level_namespaces",
    "blobs",
    "gc_blob_review_queue",
    "gc_manifest_review_queue",
    "gc_blobs_layers",
    "gc_blobs_configurations",
    "gc_tmp_blobs_manifests",
    "import_statistics",
]
_DIGEST = "CASE get_byte(m.digest, 0) WHEN 1 THEN 'sha256:' ELSE 'sha512:' END"


@dataclass
class Imported:
    """What an import left: its exit code, its words, and the rows."""

    exit_code: int
    stderr: str
    records: list[dict[str, Any]] = field(default_factory=list)
    tags: set[tuple[str, str, str]] = field(default_factory=set)
    manifests: set[tuple[str, str]] = field(default_factory=set)
    children: set[tuple[str, str, str]] = field(default_factory=set)  # repository, parent, child

    @property
    def complete(self) -> bool:
        """Exit code 0 and the closing record."""
        done = any(record.get("msg") == "metadata import complete" for record in self.records)
        return self.exit_code == 0 and done

    @property
    def stopped(self) -> bool:
        """Begun, and ended with an error that is the tree's and not the database's."""
        begun = any(record.get("msg") == "starting metadata import" for record in self.records)
        return begun and self.exit_code != 0 and "database connection" not in self.stderr

    def warnings(self) -> list[tuple[str, str]]:
        """What was skipped: (message, error)."""
        return [
            (str(r.get("msg")), str(r.get("error", ""))) for r in self.records if r.get("level") == "warning"
        ]


@dataclass
class Oracle:
    """Runs the real import of a server's storage into its database, from an empty database each time."""

    server: GitlabServer

    def run(self, *flags: str) -> Imported:
        """Import everything; what an earlier run left is deleted first."""
        assert self.server.database is not None
        address = self.server.database
        dsn = f"host={address.socket_folder} port={address.port} dbname={address.name} user={SUPERUSER}"
        with closing(psycopg.connect(dsn, autocommit=True)) as connection:
            self._empty(connection)
            done = self.server.run("database", "import", "--log-to-stdout", *flags)
            found = Imported(done.returncode, done.stderr, _records(done.stdout))
            self._read(connection, found)
        return found

    def trial(self) -> Imported:
        """Import everything in one transaction that is rolled back: it stops where the real one does."""
        done = self.server.run("database", "import", "--log-to-stdout", "--dry-run")
        return Imported(done.returncode, done.stderr, _records(done.stdout))

    def _empty(self, connection: psycopg.Connection) -> None:
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
            for table in _CONTENT:
                connection.execute(f"DELETE FROM {table}".encode())

    def _read(self, connection: psycopg.Connection, found: Imported) -> None:
        hexed = "encode(substring(m.digest FROM 2), 'hex')"
        join = "JOIN repositories r ON r.id = m.repository_id"
        for repository, digest in connection.execute(
            f"SELECT r.path, {_DIGEST} || {hexed} FROM manifests m {join}".encode()
        ):
            found.manifests.add((repository, digest))
        for repository, tag, digest in connection.execute(
            f"SELECT r.path, t.name, {_DIGEST} || {hexed} FROM tags t"
            f" JOIN manifests m ON m.id = t.manifest_id {join}".encode()
        ):
            found.tags.add((repository, tag, digest))
        child = _DIGEST.replace("m.", "c.") + " || " + hexed.replace("m.", "c.")
        for row in connection.execute(
            f"SELECT r.path, {_DIGEST} || {hexed}, {child} FROM manifest_references x"
            f" JOIN manifests m ON m.id = x.parent_id JOIN manifests c ON c.id = x.child_id {join}".encode()
        ):
            found.children.add(tuple(row))


def _records(stdout: str) -> list[dict[str, Any]]:
    records = []
    for line in stdout.splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
