"""GitLab's metadata database as a catalog: what it holds, sorted, as streams in bounded memory. Reads only.

Every stream comes in the order in which bytes compare (repository paths and tags as ASCII, digests as they
are stored), so that it can be merged with what the storage tree says. Tables and columns: registry 4.32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, LiteralString

from ctl.catalog.digests import pack, unpack
from ctl.catalog.model import Blob, Descriptor, Role
from ctl.catalog.parse import ManifestError, parse_manifest
from ctl.errors import RefusedError

if TYPE_CHECKING:
    from datetime import datetime

    from ctl.database.base import Database, Row, Session

_BATCH = 5000  # rows fetched at once
_PAYLOADS = 200  # rows fetched at once that carry a manifest: at most 4 MiB each, usually about 2 KiB


@dataclass(frozen=True)
class MetadataCounts:
    """How much the database holds. A repository without any manifest is not counted: nobody can list it."""

    repositories: int = 0
    tags: int = 0
    manifests: int = 0  # once for each repository that holds it
    blob_links: int = 0
    blobs: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class DatabaseRepository:
    """A repository; also one that only stands above others and holds nothing itself."""

    name: str
    created_at: datetime
    updated_at: datetime | None
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class DatabaseTag:
    """A tag. Imported ones were created at the time of the import."""

    repository: str
    name: str
    digest: str
    created_at: datetime
    updated_at: datetime | None

    @property
    def written_at(self) -> datetime:
        """When it was last pointed somewhere."""
        return max(self.created_at, self.updated_at) if self.updated_at else self.created_at


@dataclass(frozen=True, slots=True)
class DatabaseManifest:
    """A manifest of a repository; `payload` is exactly what the registry serves."""

    repository: str
    digest: str
    created_at: datetime
    media_type: str
    config: str  # digest of its configuration, "" for none
    subject: str  # digest of the manifest that it is about, "" for none (the importer never fills it in)
    payload: bytes


@dataclass(frozen=True, slots=True)
class DatabaseLink:
    """A manifest or a blob that belongs to a repository. `size` is a manifest's payload, -1 for a blob."""

    repository: str
    digest: str
    created_at: datetime
    size: int = -1


@dataclass(frozen=True, slots=True)
class DatabaseReference:
    """What a manifest of a repository uses."""

    repository: str
    manifest: str
    to: Descriptor


@dataclass(frozen=True)
class ImportRecord:
    """What the database itself says about the last complete import. None where it has no record of one."""

    tags_started_at: datetime | None = None
    tags_finished_at: datetime | None = None
    tags: int | None = None  # how many it imported
    blobs_started_at: datetime | None = None  # of step three; None: it never came to its end


class MetadataCatalog:
    """The content of GitLab's metadata database over one session.

    Read several streams in turns inside one `snapshot()`: they then show the same moment. RefusedError where
    the tables are not there.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @contextmanager
    def snapshot(self) -> Iterator[MetadataCatalog]:
        """Hold one moment of the database for all that is read within; no lock stands in anybody's way."""
        with self._session.transaction():
            self._session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # whole tables are read through cursors: plan for the last row, not for the first
            self._session.execute(
                "SET LOCAL cursor_tuple_fraction = 1.0; SET LOCAL work_mem = '64MB'; SET LOCAL jit = off"
            )
            yield self

    def require(self) -> None:
        """Raise RefusedError unless the tables are there."""
        missing = [str(name) for (name,) in self._session.rows(self._queries["metadata_tables"])]
        if missing:
            raise RefusedError(
                f"this is no migrated database of GitLab's registry: it has no table {missing[0]}",
                hint="name the right database in the site, or run `regctl database migrate up`",
            )

    def counts(self) -> MetadataCounts:
        """Count everything; reads each table once."""
        row = self._session.one(self._queries["metadata_counts"])
        return MetadataCounts(*(int(value) for value in row or ()))

    def has_tags(self) -> bool:
        """Say whether there is any tag: the importer's own criterion of an empty database."""
        return self._session.one("SELECT FROM tags LIMIT 1") is not None

    def repositories(self) -> Iterator[DatabaseRepository]:
        """Yield all repositories by path."""
        for _, path, created, updated, published in self._stream("metadata_repositories"):
            yield DatabaseRepository(path, created, updated, published)

    def listed_repositories(self) -> Iterator[str]:
        """Yield the repositories with at least one manifest, by path: those that the registry lists."""
        for (path,) in self._stream("metadata_listed"):
            yield path

    def tags(self) -> Iterator[DatabaseTag]:
        """Yield all tags by repository and name."""
        for path, name, digest, created, updated in self._stream("metadata_tags"):
            yield DatabaseTag(path, name, unpack(bytes(digest)), created, updated)

    def manifests(self) -> Iterator[DatabaseManifest]:
        """Yield all manifests with their payloads by repository and digest."""
        for path, digest, created, media_type, config, subject, payload in self._stream(
            "metadata_manifests", _PAYLOADS
        ):
            yield DatabaseManifest(
                path,
                unpack(bytes(digest)),
                created,
                media_type,
                unpack(bytes(config)) if config else "",
                unpack(bytes(subject)) if subject else "",
                bytes(payload),
            )

    def manifest_links(self) -> Iterator[DatabaseLink]:
        """Yield which repository holds which manifest, by repository and digest; without payloads."""
        for path, digest, created, size in self._stream("metadata_manifest_links"):
            yield DatabaseLink(path, unpack(bytes(digest)), created, int(size))

    def payload_sizes(self) -> Iterator[tuple[str, int]]:
        """Yield (digest, bytes of its payload) of every manifest once, by digest."""
        for digest, size in self._stream("metadata_payload_sizes"):
            yield unpack(bytes(digest)), int(size)

    def payloads_of(self, digests: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (digest, payload) of the manifests named; of several, the bytes that hash to the digest."""
        for digest, payload in self._session.rows(
            self._queries["metadata_payloads_of"], ([pack(digest) for digest in digests],)
        ):
            yield unpack(bytes(digest)), bytes(payload)

    def blob_links(self) -> Iterator[DatabaseLink]:
        """Yield which repository may read which blob, by repository and digest."""
        for path, digest, created in self._stream("metadata_blob_links"):
            yield DatabaseLink(path, unpack(bytes(digest)), created)

    def references(self) -> Iterator[DatabaseReference]:
        """Yield configs, layers and index children by repository and manifest."""
        for path, parent, role, digest, size, media_type in self._stream("metadata_references"):
            to = Descriptor(unpack(bytes(digest)), Role(role), media_type or "", int(size))
            yield DatabaseReference(path, unpack(bytes(parent)), to)

    def blobs(self) -> Iterator[Blob]:
        """Yield all blobs by digest; `mtime_ns` is when the row was made."""
        for digest, size, created in self._stream("metadata_blobs"):
            yield Blob(unpack(bytes(digest)), int(size), int(created.timestamp() * 1_000_000_000))

    def needed_blobs(self) -> Iterator[str]:
        """Yield the digest of every config and layer that some manifest uses, once each, in order."""
        for digest, _ in self._stream("metadata_needed_blobs"):
            yield unpack(bytes(digest))

    def used_blobs(self) -> Iterator[tuple[str, str]]:
        """Yield (repository, digest) of each config and layer that a repository's manifests use, once."""
        for path, digest in self._stream("metadata_used_blobs"):
            yield path, unpack(bytes(digest))

    def indexes(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield (repository, digest, payload) of every index, by repository and digest."""
        for path, digest, payload in self._stream("metadata_indexes", _PAYLOADS):
            yield path, unpack(bytes(digest)), bytes(payload)

    def altered(self) -> Iterator[tuple[str, str, str]]:
        """Yield (repository, digest, digest of its bytes) where a manifest has other bytes than it should.

        The importer takes such a manifest in, and the registry serves it under the wrong digest.
        """
        for path, digest, hashed in self._stream("metadata_altered"):
            yield path, unpack(bytes(digest)), unpack(bytes(hashed))

    def without_rows(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield (repository, manifest, layer, size) of layers that a manifest names and has no row for.

        The importer leaves out a layer that is not stored, or not linked, and keeps the manifest.
        """
        for path, digest, payload, layers in self._stream("metadata_incomplete", _PAYLOADS):
            text = unpack(bytes(digest))
            try:
                parsed = parse_manifest(text, bytes(payload))
            except ManifestError:
                continue
            there = {unpack(bytes(one)) for one in layers}
            for one in parsed.references:
                if one.role is Role.LAYER and one.digest not in there:
                    there.add(one.digest)
                    yield path, text, one.digest, one.size

    def digests(self) -> Iterator[str]:
        """Yield the digest of every manifest, once each, in order."""
        for (digest,) in self._stream("metadata_digests"):
            yield unpack(bytes(digest))

    def holders(self, digest: str) -> list[str]:
        """Return the repositories that hold a manifest."""
        return [
            str(path) for (path,) in self._session.rows(self._queries["metadata_holders"], (pack(digest),))
        ]

    def last_import(self) -> ImportRecord:
        """Return what the import's own statistics say of the last complete one."""
        found = ImportRecord()
        if (
            self._session.one("SELECT FROM pg_class WHERE oid = to_regclass('public.import_statistics')")
            is None
        ):
            return found
        for tags, began, ended, failed, blobs, third, thirded, failed_3, count in self._session.rows(
            self._queries["metadata_imports"]
        ):
            if tags and ended and not failed and found.tags_finished_at is None:
                found = replace(found, tags_started_at=began, tags_finished_at=ended, tags=int(count))
            if blobs and thirded and not failed_3 and found.blobs_started_at is None:
                found = replace(found, blobs_started_at=third)
        return found

    def used_sizes(self) -> Iterator[tuple[str, int]]:
        """Yield (digest, size) of every blob that some manifest uses, once, by digest."""
        for digest, size in self._stream("metadata_used_sizes"):
            yield unpack(bytes(digest)), int(size)

    def users_of(self, digest: str) -> list[tuple[str, str]]:
        """Return (repository, manifest) of all that use a blob."""
        stored = pack(digest)
        rows = self._session.rows(self._queries["metadata_users_of_blob"], (stored, stored))
        return [(str(path), unpack(bytes(manifest))) for path, manifest in rows]

    def tags_reaching(self, repository: str, digest: str) -> list[str]:
        """Return the tags of a repository that lead to a manifest, also through indexes."""
        rows = self._session.rows(self._queries["metadata_tags_reaching"], (repository, pack(digest)))
        return [str(name) for (name,) in rows]

    @cached_property
    def _queries(self) -> Mapping[str, LiteralString]:
        from ctl.database.queries import load_queries

        return load_queries("ctl.catalog.sql")

    def _stream(self, name: str, batch: int = _BATCH) -> Iterator[Row]:
        return self._session.stream(self._queries[name], batch=batch)


@contextmanager
def metadata_snapshot(database: Database) -> Iterator[MetadataCatalog]:
    """Open a read-only session on a metadata database and hold one moment of it.

    UnreachableError if nobody answers, RefusedError where the tables are not there.
    """
    with database.connect(read_only=True) as session:
        catalog = MetadataCatalog(session)
        with catalog.snapshot():
            catalog.require()
            yield catalog
