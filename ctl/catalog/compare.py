"""Compare a storage tree with the catalog database, in one streaming merge: nothing is trusted from before.

Every link is listed and read again; a print or an mtime proves nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ctl.catalog.digests import blob_path, revision_path, unpack
from ctl.catalog.links import Drop, changed_links, listed_blobs, listed_links, listed_tags
from ctl.catalog.merge import merged, together
from ctl.catalog.model import Finding
from ctl.catalog.tree import LAYERS, REVISIONS, TAGS, RepositoryListing, Tree
from ctl.storage.base import Entry

if TYPE_CHECKING:
    from ctl.catalog.store import CatalogReader, StoredRepository

MISSING, EXTRA, DIFFERENT, BROKEN = "missing", "extra", "different", "broken"
_NO_LIMIT_NS = 0  # no stored mtime is sure: read everything
_WORD = {REVISIONS: "manifest", LAYERS: "layer", TAGS: "tag"}


@dataclass(frozen=True)
class Difference:
    """One thing about which tree and catalog disagree. `expected` is what the tree says."""

    kind: str  # missing (from the catalog) | extra (in the catalog) | different | broken (in the tree)
    what: str  # repository | tag | manifest | layer | blob
    repository: str
    name: str
    expected: str
    found: str


@dataclass
class Comparison:
    """What a comparison found. `differences` holds the first `limit`; the counts are complete."""

    limit: int = 1000
    repositories: int = 0
    tags: int = 0
    manifests: int = 0
    blobs: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    broken: int = 0
    differences: list[Difference] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)  # entries of the tree that are not usable

    @property
    def agree(self) -> bool:
        """Say whether the tree is whole and the catalog its copy."""
        return not (self.missing or self.extra or self.different or self.broken)

    def add(self, difference: Difference, *, count: bool = True) -> None:
        """Count a difference and keep it where there is room."""
        if count:
            setattr(self, difference.kind, getattr(self, difference.kind) + 1)
        if len(self.differences) < self.limit:
            self.differences.append(difference)

    def note(self, found: Finding) -> None:
        """Keep an unusable entry where there is room."""
        if len(self.problems) < self.limit:
            self.problems.append(found)


class Comparing:
    """One comparison. `advance` is told how many links and blobs have been compared."""

    def __init__(
        self,
        tree: Tree,
        reader: CatalogReader,
        *,
        checksums: bool = False,
        advance: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.tree = tree
        self.reader = reader
        self.checksums = checksums
        self.advance = advance
        self.result = Comparison()
        self._mismatched: set[str] = set()  # blobs on disk whose bytes hash to something else

    def run(self) -> Comparison:
        """Compare everything."""
        layout = self.tree.layout()
        for found in layout.findings:
            self.result.note(found)
        listings = self.tree.links(layout.repositories)
        for listing, stored in merged(
            listings, self.reader.repositories(), lambda one: one.folder.name, lambda one: one.name
        ):
            self._repository(listing, stored)
        self._unparsed()
        self._blobs(layout.shards)
        return self.result

    def _repository(self, listing: RepositoryListing | None, stored: StoredRepository | None) -> None:
        if listing is None:
            if stored is not None:
                gone = Difference(EXTRA, "repository", stored.name, stored.name, "not there", "catalogued")
                self.result.add(gone)
            return
        name = listing.folder.name
        self.result.repositories += 1
        if stored is None:
            new = Difference(MISSING, "repository", name, name, "stored", "not catalogued")
            self.result.add(new)
        for found in listing.folder.findings:
            self.result.note(found)
        for kind, part in listing.parts.items():
            rows = self.reader.links(kind, stored.id) if stored else iter(())
            known = {key: bytes(digest) for key, digest, _, _ in rows}
            listed: Iterator[Any]
            if kind == TAGS:
                listed = listed_tags(name, part, self.result.note)
            else:
                listed = listed_links(name, kind, part, self.result.note)
            self._links(name, kind, listed, known)
            self.advance(len(part))

    def _links(self, repository: str, kind: str, listed: Iterable[Any], known: dict[Any, bytes]) -> None:
        """Compare one kind of links of a repository: the tree's contents against the catalog's rows."""
        word = _WORD[kind]
        usable = changed_links(
            self.tree.storage, listed, (), sure_before_ns=_NO_LIMIT_NS, note=self.result.note
        )
        for one in usable:
            if isinstance(one, Drop):
                continue  # broken in the tree: noted, and extra where the catalog still has it
            if kind != LAYERS:
                setattr(self.result, f"{word}s", getattr(self.result, f"{word}s") + 1)
            name = one.key if kind == TAGS else unpack(one.key)
            was = known.pop(one.key, None)
            if was is None:
                expected = unpack(one.digest)
                self.result.add(Difference(MISSING, word, repository, name, expected, "not catalogued"))
            elif was != one.digest:
                difference = Difference(DIFFERENT, word, repository, name, unpack(one.digest), unpack(was))
                self.result.add(difference)
        for key, digest in known.items():
            name = key if kind == TAGS else unpack(key)
            self.result.add(Difference(EXTRA, word, repository, name, "not there", unpack(digest)))

    def _unparsed(self) -> None:
        for repository, digest in self.reader.unparsed_links(self.result.limit):
            name = unpack(digest)
            self.result.add(Difference(MISSING, "manifest", repository, name, name, "never parsed"))

    def _blobs(self, shards: list[str]) -> None:
        """Compare stored blobs with the catalogued ones and with what manifests need, by digest."""
        stored, catalogued = self._stored(shards), self.reader.blobs()
        for digest, on_disk, row, need in together(stored, catalogued, self.reader.needed_blobs()):
            self.result.blobs += on_disk is not None
            wrong = self._wrong(digest, on_disk, need)
            if wrong and self._break(digest, wrong[0], wrong[1]):
                continue
            name = unpack(digest)
            if on_disk is None and row is not None:
                self.result.add(Difference(EXTRA, "blob", "", name, "not there", f"{row[1]} bytes"))
            elif on_disk is not None and row is None:
                expected = f"{on_disk[1]} bytes"
                self.result.add(Difference(MISSING, "blob", "", name, expected, "not catalogued"))
            elif on_disk is not None and row is not None and on_disk[1] != row[1]:
                expected, found = f"{on_disk[1]} bytes", f"{row[1]} bytes"
                self.result.add(Difference(DIFFERENT, "blob", "", name, expected, found))

    def _wrong(self, digest: bytes, on_disk: Any, need: Any) -> tuple[str, str] | None:
        """Return (what manifests need, what there is) of a blob that is not as they need it."""
        text = unpack(digest)
        if on_disk is not None and text in self._mismatched:
            return text, "bytes of another digest"
        if need is None:
            return None
        sizes = [size for size in need[1:3] if size is not None and size >= 0]
        expected = f"{text} ({sizes[0]} bytes)" if sizes else text
        if on_disk is None:
            return expected, "not stored"
        wrong = [size for size in sizes if size != on_disk[1]]
        return (f"{text} ({wrong[0]} bytes)", f"{on_disk[1]} bytes") if wrong else None

    def _break(self, digest: bytes, expected: str, found: str) -> bool:
        """Report a broken blob with all that use it; False where nothing in the tree does any more."""
        result = self.result
        users = self._present(self.reader.users_of(unpack(digest)))
        if not users and unpack(digest) not in self._mismatched:
            return False
        result.broken += 1
        for repository, manifest in users:
            tags = self.reader.tags_reaching(repository, manifest)
            for name in tags or [unpack(manifest)]:
                if len(result.differences) >= result.limit:
                    return True
                difference = Difference(BROKEN, "blob", repository, name, expected, found)
                result.add(difference, count=False)
        if not users:
            result.add(Difference(BROKEN, "blob", "", unpack(digest), expected, found), count=False)
        return True

    def _present(self, users: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Leave out manifests whose link is gone from the tree: what they needed is needed no more."""
        paths = [revision_path(repository, unpack(manifest)) for repository, manifest in users]
        found = self.tree.storage.stat_many(paths)
        return [user for user, one in zip(users, found, strict=True) if isinstance(one, Entry)]

    def _stored(self, shards: list[str]) -> Iterator[tuple[bytes, int, int]]:
        for listing in self.tree.blobs(shards):
            found = list(listed_blobs(listing.shard, listing.part, self.result.note))
            if self.checksums:
                digests = [unpack(digest) for digest, _, _ in found]
                hashes = self.tree.storage.hash_many((blob_path(d), d.partition(":")[0]) for d in digests)
                wrong = (d for d, one in zip(digests, hashes, strict=True) if one != d.partition(":")[2])
                self._mismatched.update(wrong)
            yield from found
            self.advance(len(listing.part))
