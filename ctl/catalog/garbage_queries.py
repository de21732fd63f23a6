"""What the catalog database answers to a plan of garbage; only reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.catalog.digests import pack, unpack
from ctl.catalog.fresh import HARMLESS
from ctl.catalog.model import Descriptor, Manifest, Role
from ctl.database.queries import load_queries

if TYPE_CHECKING:
    from ctl.catalog.store import CatalogReader, StoredRepository


@dataclass(frozen=True)
class Overlay:
    """What the tree says anew: repositories not to be believed, roots instead, blobs added."""

    changed: Sequence[int] = ()
    roots: Sequence[bytes] = ()  # digests, stored form
    new_blobs: Sequence[tuple[bytes, int]] = ()


class GarbageQueries:
    """Ask one registry's catalog through one session."""

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader
        self._session = session = reader.session
        self._id = reader.state.id
        self._sql = load_queries("ctl.catalog.sql")
        # The joins are over all there is: they belong in memory, and a loop over an index is never better.
        for setting in ("SET work_mem = '128MB'", "SET enable_nestloop = off", "SET jit = off"):
            session.execute(setting)

    def repositories(self) -> dict[str, StoredRepository]:
        """Map the name of every repository to what is known of it, with the prints of its links."""
        return {repository.name: repository for repository in self._reader.repositories()}

    def shards(self) -> dict[str, bytes | None]:
        """Map each folder of blobs, such as "sha256/ab", to the print of its names."""
        return {shard: names for shard, (names, _stats) in self._reader.shards().items()}

    def shard_blobs(self, shard: str) -> set[str]:
        """Return the digests that the catalog has in one folder of blobs."""
        return {unpack(bytes(digest)) for digest, _size, _mtime in self._reader.blobs(shard)}

    def opaque(self) -> list[int]:
        """Return the repositories with an entry that the import could not read or make sense of."""
        from ctl.catalog.findings import KINDS

        kinds = sorted(KINDS.keys() - HARMLESS)
        rows = self._session.rows(self._sql["garbage_opaque"], [self._id, kinds, self._id])
        return [int(row[0]) for row in rows]

    def unparsed(self) -> set[str]:
        """Return manifests of which no import knows for sure what they need."""
        rows = self._session.rows(self._sql["garbage_unparsed"], [self._id] * 4)
        return {unpack(bytes(row[0])) for row in rows}

    def users_of(self, digests: Iterable[str]) -> list[int]:
        """Return the repositories that link or tag one of these manifests, or one that refers to it."""
        packed = [pack(digest) for digest in digests]
        if not packed:
            return []
        rows = self._session.rows(self._sql["garbage_users"], [self._id, packed] * 3)
        return [int(row[0]) for row in rows]

    def known(self, digests: Iterable[str]) -> set[str]:
        """Return those of the manifests of which it is known for sure what they need."""
        packed = [pack(digest) for digest in digests]
        rows = self._session.rows(self._sql["garbage_known_manifests"], [self._id, packed])
        return {unpack(bytes(row[0])) for row in rows}

    def unlinked_children(self, changed: Sequence[int]) -> list[tuple[str, str]]:
        """Return (parent, child) of index children that no link keeps, the changed repositories aside."""
        rows = self._session.rows(self._sql["garbage_unlinked_children"], [self._id, list(changed)])
        return [(unpack(bytes(parent)), unpack(bytes(child))) for parent, child in rows]

    def linked(self, digests: Iterable[str], changed: Sequence[int]) -> set[str]:
        """Return those of the manifests that a repository links or tags, the changed ones aside."""
        part = [self._id, [pack(digest) for digest in digests], list(changed)]
        return {unpack(bytes(row[0])) for row in self._session.rows(self._sql["garbage_linked"], part * 2)}

    def garbage(self, overlay: Overlay) -> dict[str, int]:
        """Return what is stored and not reachable, with sizes; what vanished since is still in it."""
        changed = list(overlay.changed)
        parameters: list[object] = [self._id, changed, self._id, changed, list(overlay.roots), self._id]
        parameters += map(list, zip(*overlay.new_blobs, strict=True)) if overlay.new_blobs else ([], [])
        rows = self._session.rows(self._sql["garbage_blobs"], [*parameters, self._id])
        return {unpack(bytes(digest)): int(size) for digest, size in rows}

    def stored(self) -> tuple[int, int]:
        """Return how many blobs the catalog has, and their bytes."""
        row = self._session.one(self._sql["garbage_stored"], [self._id])
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def sizes(self, digests: Iterable[str]) -> int:
        """Return the bytes of those blobs."""
        row = self._session.one(self._sql["garbage_sizes"], [self._id, [pack(d) for d in digests]])
        return int(row[0]) if row else 0

    def links(self, digests: Iterable[str], changed: Sequence[int]) -> dict[str, set[str]]:
        """Map blobs to the repositories (the changed ones aside) that link them as a layer."""
        found: dict[str, set[str]] = {}
        packed = [pack(digest) for digest in digests]
        for digest, name in self._session.rows(self._sql["garbage_links"], [self._id, packed, list(changed)]):
            found.setdefault(unpack(bytes(digest)), set()).add(name)
        return found

    def workload(self) -> tuple[int, int, int]:
        """Return manifest links, layer links, and manifests x tags summed over the repositories."""
        row = self._session.one(self._sql["garbage_workload"], [self._id] * 4)
        return (int(row[0]), int(row[1]), int(row[2])) if row else (0, 0, 0)

    def all_links(self, kind: str, changed: Sequence[int]) -> dict[str, set[str]]:
        """Map each repository (the changed ones aside) to its digests; `kind`: revisions, tags, layers."""
        found: dict[str, set[str]] = {}
        query = self._sql[f"garbage_all_{kind}"]
        for name, digest in self._session.stream(query, [self._id, list(changed)]):
            found.setdefault(name, set()).add(unpack(bytes(digest)))
        return found

    def all_manifests(self) -> dict[str, Manifest]:
        """Return what every manifest refers to; media types and sizes are left out."""
        references: dict[str, list[Descriptor]] = {}
        for manifest, digest, role in self._session.stream(self._sql["garbage_all_references"], [self._id]):
            parts = references.setdefault(unpack(bytes(manifest)), [])
            parts.append(Descriptor(unpack(bytes(digest)), Role(role), "", -1))
        return {d: Manifest(d, "", 0, "", "", "", tuple(parts)) for d, parts in references.items()}

    def all_blobs(self) -> dict[str, int]:
        """Map every stored blob to its size."""
        rows = self._session.stream(self._sql["garbage_all_blobs"], [self._id])
        return {unpack(bytes(digest)): int(size) for digest, size in rows}
