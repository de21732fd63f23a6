"""The catalog database of one registry: what it holds, asked by name. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, LiteralString

from ctl.catalog.digests import pack, prefix
from ctl.catalog.model import Counts, Finding
from ctl.catalog.tree import LAYERS, PARTS, REVISIONS, TAGS
from ctl.errors import RefusedError

if TYPE_CHECKING:
    import datetime

    from ctl.database.base import Database, Session


@dataclass(frozen=True)
class CatalogState:
    """What can be said of the copy as a whole. `id` is 0 where the registry was never imported."""

    id: int = 0
    root: str = ""
    generation: int = 0  # of the last complete import; 0: none was ever complete
    epoch: int = 0
    imported_at: datetime.datetime | None = None
    counts: Counts = field(default_factory=Counts)
    missing: str = ""  # why there is no copy to read: "stopped", "not migrated", ...; "" where there is


@dataclass(frozen=True, slots=True)
class StoredRepository:
    """A repository as the copy knows it, with the prints of its links (None: read the tree again)."""

    id: int
    name: str
    prints: Mapping[str, bytes | None]
    scanned_ns: int


class CatalogStore:
    """The copy of one registry's catalog in a database of the site."""

    def __init__(self, database: Database, registry: str) -> None:
        self.database = database
        self.registry = registry

    def state(self) -> CatalogState:
        """Look whether there is a copy and how it stands; starts and writes nothing."""
        status = self.database.status()
        if not status.reachable:
            return CatalogState(missing=status.detail or f"the database is {status.state}")
        with self.database.connect(read_only=True) as session:
            return CatalogReader(session, self.registry).state

    @contextmanager
    def open(self) -> Iterator[CatalogReader]:
        """Open a reader; UnreachableError if the database is stopped or does not answer."""
        with self.database.connect(read_only=True) as session:
            yield CatalogReader(session, self.registry)

    def require(self) -> CatalogState:
        """Return the state of a copy that can be read; RefusedError says what to run first."""
        state = self.state()
        if state.missing or not state.generation:
            why = state.missing or "no import of it was ever complete"
            raise RefusedError(
                f"there is no catalog of {self.registry} to read: {why}",
                hint=next_command(self.database.name, self.registry, why),
            )
        return state


def next_command(database: str, registry: str, why: str) -> str:
    """Say what to run where the copy cannot be read."""
    first = ""
    if "not migrated" in why:
        first = f"`regctl database migrate up --database {database}`, then "
    elif "stopped" in why or "missing" in why or "never created" in why:
        first = f"`regctl database start --database {database}`, then "
    return f"run {first}`regctl registry import {registry}`"


class CatalogReader:
    """One session's view of a registry's copy. Digests are in their stored form (`ctl.catalog.digests`)."""

    def __init__(self, session: Session, registry: str) -> None:
        self.session = session
        self.registry = registry

    @cached_property
    def state(self) -> CatalogState:
        """How the copy stands."""
        migrated = self.session.one(self._sql("has_schema"))
        if not migrated or not migrated[0]:
            return CatalogState(missing="the database is not migrated")
        row = self.session.one(self._sql("registry"), [self.registry])
        if row is None:
            return CatalogState(missing="it was never imported")
        number, root, generation, epoch, imported_at, counts = row
        return CatalogState(number, root, generation, epoch, imported_at, Counts(**counts))

    def repositories(self) -> Iterator[StoredRepository]:
        """Every repository by name."""
        for name, number, *rest in self.session.stream(self._sql("repositories"), [self.state.id]):
            prints = {part: _bytes(value) for part, value in zip(PARTS, rest, strict=False)}
            yield StoredRepository(number, name, prints, rest[-1])

    def shards(self) -> dict[str, tuple[bytes | None, bytes | None]]:
        """Map each folder of blobs to the prints of (names, names with sizes and mtimes)."""
        rows = self.session.rows(self._sql("shards"), [self.state.id])
        return {shard: (_bytes(names), _bytes(stats)) for shard, names, stats in rows}

    def links(self, part: str, repository: int) -> Iterator[tuple[Any, bytes, int, int]]:
        """(key, digest, link size, mtime) of a repository's revisions, layers or tags, by key."""
        queries = {REVISIONS: "revisions", LAYERS: "layers", TAGS: "tags"}
        yield from self.session.stream(self._sql(queries[part]), [self.state.id, repository])

    def blobs(self, shard: str = "") -> Iterator[tuple[bytes, int, int]]:
        """(digest, size, mtime) of the blobs in one folder such as "sha256/ab", or of all, by digest."""
        low, high = digest_range(shard)
        query = self._sql("blobs_between")
        yield from self.session.stream(query, [self.state.id, low, high])

    def needed_blobs(self) -> Iterator[tuple[bytes, int, int]]:
        """(digest, least and greatest size claimed) of all that linked manifests need, by digest."""
        yield from self.session.stream(self._sql("needed_blobs"), [self.state.id] * 3)

    def users_of(self, digest: str) -> list[tuple[str, bytes]]:
        """Return the (repository, linked manifest) pairs that need a blob or are it."""
        packed, number = pack(digest), self.state.id
        rows = self.session.rows(self._sql("users_of"), [number, packed, number, packed, packed, number])
        return [(name, bytes(manifest)) for name, manifest in rows]

    def tags_reaching(self, repository: str, manifest: bytes) -> list[str]:
        """Return the tags of a repository on a manifest, or on an index that has it as a child."""
        number = self.state.id
        rows = self.session.rows(self._sql("tags_reaching"), [manifest, number, number, repository])
        return [str(row[0]) for row in rows]

    def unparsed_links(self, limit: int) -> list[tuple[str, bytes]]:
        """Return (repository, digest) of manifest links whose manifest no import has read."""
        rows = self.session.rows(self._sql("unparsed_links"), [self.state.id, limit])
        return [(name, bytes(digest)) for name, digest in rows]

    def findings(self, limit: int) -> tuple[list[Finding], int]:
        """Return the first findings by path, and how many there are."""
        rows = self.session.rows(self._sql("findings"), [self.state.id, limit])
        count = self.session.one(self._sql("findings_count"), [self.state.id])
        return [Finding(path, kind, reason) for path, kind, reason in rows], count[0] if count else 0

    def _sql(self, name: str) -> LiteralString:
        return self._queries[name]

    @cached_property
    def _queries(self) -> Mapping[str, LiteralString]:
        from ctl.database.queries import load_queries

        return load_queries("ctl.catalog.sql")


def digest_range(shard: str) -> tuple[bytes, bytes]:
    """Return the stored digests [from, to) of one folder of blobs; "" is all of them."""
    if not shard:
        return b"", b"\xff"
    algorithm, _, digits = shard.partition("/")
    low = prefix(algorithm, digits)
    return low, (int.from_bytes(low, "big") + 1).to_bytes(len(low), "big")


def _bytes(value: object) -> bytes | None:
    return None if value is None else bytes(value)  # type: ignore[call-overload]
