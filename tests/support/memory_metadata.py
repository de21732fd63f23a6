"""GitLab's metadata database as values in memory: the rows that `MetadataCatalog` would yield."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ctl.catalog.digests import pack
from ctl.catalog.metadata_database import DatabaseLink, DatabaseTag, ImportRecord, MetadataCounts
from ctl.catalog.model import Blob, Role
from ctl.catalog.parse import parse_manifest

THEN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class MemoryRepository:
    """One repository's rows."""

    tags: dict[str, str] = field(default_factory=dict)
    manifests: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)


@dataclass
class MemoryMetadata:
    """The rows of a registry; `payloads` and `blobs` are contents by digest."""

    repositories: dict[str, MemoryRepository] = field(default_factory=dict)
    payloads: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    imported: ImportRecord = field(default_factory=ImportRecord)

    def counts(self) -> MetadataCounts:
        """Count the rows."""
        repositories = self.repositories.values()
        return MetadataCounts(
            len(self.repositories),
            sum(len(one.tags) for one in repositories),
            sum(len(one.manifests) for one in repositories),
            sum(len(one.links) for one in repositories),
            len(self.sizes),
            sum(self.sizes.values()),
        )

    def last_import(self) -> ImportRecord:
        """What the statistics say."""
        return self.imported

    def tags(self) -> Iterator[DatabaseTag]:
        """By repository and name."""
        for name, one in sorted(self.repositories.items()):
            for tag, digest in sorted(one.tags.items()):
                yield DatabaseTag(name, tag, digest, THEN, None)

    def manifest_links(self) -> Iterator[DatabaseLink]:
        """By repository and digest."""
        for name, one in sorted(self.repositories.items()):
            for digest in sorted(one.manifests, key=pack):
                yield DatabaseLink(name, digest, THEN, len(self.payloads[digest]))

    def blob_links(self) -> Iterator[DatabaseLink]:
        """By repository and digest."""
        for name, one in sorted(self.repositories.items()):
            for digest in sorted(one.links, key=pack):
                yield DatabaseLink(name, digest, THEN)

    def used_blobs(self) -> Iterator[tuple[str, str]]:
        """By repository and digest."""
        for name, one in sorted(self.repositories.items()):
            used = {digest for manifest in one.manifests for digest in self._used(manifest)}
            yield from ((name, digest) for digest in sorted(used, key=pack))

    def used_sizes(self) -> Iterator[tuple[str, int]]:
        """By digest."""
        every = {m for one in self.repositories.values() for m in one.manifests}
        used = {digest for manifest in every for digest in self._used(manifest)}
        yield from ((digest, self.sizes[digest]) for digest in sorted(used, key=pack))

    def needed_blobs(self) -> Iterator[str]:
        """By digest."""
        yield from (digest for digest, _ in self.used_sizes())

    def indexes(self) -> Iterator[tuple[str, str, bytes]]:
        """By repository and digest."""
        for name, one in sorted(self.repositories.items()):
            for digest in sorted(one.manifests, key=pack):
                if parse_manifest(digest, self.payloads[digest]).kind == "index":
                    yield name, digest, self.payloads[digest]

    def payload_sizes(self) -> Iterator[tuple[str, int]]:
        """By digest."""
        for digest in self.digests():
            yield digest, len(self.payloads[digest])

    def payloads_of(self, digests: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Of those named."""
        yield from ((digest, self.payloads[digest]) for digest in digests)

    def digests(self) -> Iterator[str]:
        """By digest."""
        yield from sorted({m for one in self.repositories.values() for m in one.manifests}, key=pack)

    def blobs(self) -> Iterator[Blob]:
        """By digest."""
        yield from (
            Blob(digest, size, 0) for digest, size in sorted(self.sizes.items(), key=lambda i: pack(i[0]))
        )

    def altered(self) -> Iterator[tuple[str, str, str]]:
        """None is."""
        return iter(())

    def without_rows(self) -> Iterator[tuple[str, str, str, int]]:
        """None is."""
        return iter(())

    def holders(self, digest: str) -> list[str]:
        """The repositories with a manifest."""
        return sorted(name for name, one in self.repositories.items() if digest in one.manifests)

    def users_of(self, digest: str) -> list[tuple[str, str]]:
        """The manifests that use a blob."""
        return sorted(
            (name, manifest)
            for name, one in self.repositories.items()
            for manifest in one.manifests
            if digest in self._used(manifest)
        )

    def tags_reaching(self, repository: str, digest: str) -> list[str]:
        """The tags straight on a manifest."""
        return sorted(tag for tag, one in self.repositories[repository].tags.items() if one == digest)

    def _used(self, manifest: str) -> set[str]:
        parsed = parse_manifest(manifest, self.payloads[manifest])
        return {one.digest for one in parsed.references if one.role in (Role.CONFIG, Role.LAYER)}
