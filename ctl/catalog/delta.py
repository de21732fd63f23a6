"""What changed in a tree since the catalog database read it: whole repositories and blob folders.

The tree is surveyed once, stats only; a repository whose prints are the stored ones is passed over without
asking the database for a single link. What differs is then compared link by link.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ctl.catalog.links import (
    Drop,
    Put,
    changed_blobs,
    changed_links,
    listed_blobs,
    listed_links,
    listed_tags,
)
from ctl.catalog.model import Finding
from ctl.catalog.tree import PARTS, RACY_NS, TAGS, Part, RepositoryFolder, RepositoryListing, Tree
from ctl.errors import RegctlError

if TYPE_CHECKING:
    from ctl.catalog.store import CatalogReader, StoredRepository

_KEPT_ENTRIES = 100_000  # listings of changed repositories held for the second pass, in links
Operation = Put[Any] | Drop[Any]


@dataclass(slots=True)
class RepositoryChange:
    """A repository that is new, changed or gone. `entries` is how many links are to be compared."""

    name: str
    folder: RepositoryFolder | None  # None: gone
    stored: StoredRepository | None  # None: new
    parts: tuple[str, ...]  # the kinds of links that changed
    entries: int
    listing: RepositoryListing | None = None  # kept where there was room


@dataclass(slots=True)
class Delta:
    """What has to be looked at, in the order of names. Small: nothing here grows with unchanged links."""

    repositories: list[RepositoryChange] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)  # new or changed folders of blobs
    vanished_shards: list[str] = field(default_factory=list)
    shard_entries: int = 0  # blobs in the changed folders
    repository_count: int = 0  # in the tree
    bytes: int = 0  # of all blobs in the tree
    seen: dict[str, int] = field(default_factory=dict)  # links and blobs listed, by kind
    findings: list[Finding] = field(default_factory=list)  # of the tree around the repositories

    @property
    def entries(self) -> int:
        """How many links and blobs are to be compared."""
        return self.shard_entries + sum(change.entries for change in self.repositories)

    def __bool__(self) -> bool:
        return bool(self.repositories or self.shards or self.vanished_shards)


def find_changes(tree: Tree, reader: CatalogReader | None) -> Delta:
    """Survey the whole tree and say what differs; without a reader everything is new."""
    layout = tree.layout()
    delta = Delta(findings=layout.findings, repository_count=len(layout.repositories))
    stored = {one.name: one for one in reader.repositories()} if reader else {}
    kept = 0
    for listing in tree.links(layout.repositories):
        for part, found in listing.parts.items():
            delta.seen[part] = delta.seen.get(part, 0) + len(found)
        change = _repository_change(listing, stored.pop(listing.folder.name, None))
        if change is None:
            continue
        if kept + change.entries <= _KEPT_ENTRIES:
            kept += change.entries
            change.listing = listing
        delta.repositories.append(change)
    gone = [RepositoryChange(one.name, None, one, PARTS, 0) for one in stored.values()]
    delta.repositories.extend(gone)
    _find_shards(tree, reader, layout.shards, delta)
    return delta


def _repository_change(
    listing: RepositoryListing, stored: StoredRepository | None
) -> RepositoryChange | None:
    prints = listing.prints()
    known = stored.prints if stored else dict.fromkeys(PARTS)
    parts = tuple(p for p in PARTS if stored is None or prints[p] is None or prints[p] != known[p])
    if not parts:
        return None
    entries = sum(len(listing.parts[part]) for part in parts)
    return RepositoryChange(listing.folder.name, listing.folder, stored, parts, entries)


def _find_shards(tree: Tree, reader: CatalogReader | None, shards: list[str], delta: Delta) -> None:
    stored = reader.shards() if reader else {}
    for listing in tree.blobs(shards):
        delta.seen["blobs"] = delta.seen.get("blobs", 0) + len(listing.part)
        for _, survey in listing.part.surveys:
            delta.bytes += sum(size for size in survey.sizes if size > 0)
        known = stored.pop(listing.shard, (None, None))[1]
        now = listing.part.print()
        if known is None or known != now:
            delta.shards.append(listing.shard)
            delta.shard_entries += len(listing.part)
    delta.vanished_shards.extend(stored)


def listings(tree: Tree, changes: Iterable[RepositoryChange]) -> Iterator[RepositoryListing]:
    """List the links of changed repositories, in order; the ones kept are not surveyed again."""
    todo = list(changes)
    # A list, not a generator: the kept listings are given up one by one below, while this is being read.
    missing = [c.folder for c in todo if c.listing is None and c.folder is not None]
    again = tree.links(missing)
    for change in todo:
        if change.folder is None:
            continue
        listing = change.listing or next(again)
        change.listing = None
        if listing.folder.name != change.name:
            raise RegctlError(f"the links of {listing.folder.name} were read for those of {change.name}")
        yield listing


def link_operations(
    tree: Tree,
    reader: CatalogReader | None,
    change: RepositoryChange,
    part: Part,
    kind: str,
    found: list[Finding],
) -> Iterator[Operation]:
    """Yield what makes the stored links of one kind the ones in the tree; findings go into `found`.

    A part that cannot be read drops nothing: what cannot be seen is not gone.
    """
    stored: Iterable[tuple[Any, bytes, int, int]] = ()
    sure_before_ns = 0
    if reader is not None and change.stored is not None:
        stored = reader.links(kind, change.stored.id)
        sure_before_ns = change.stored.scanned_ns - RACY_NS
    listed: Iterator[Any]
    if kind == TAGS:
        listed = listed_tags(change.name, part, found.append)
    else:
        listed = listed_links(change.name, kind, part, found.append)
    readable = part.readable()
    for operation in changed_links(
        tree.storage, listed, stored, sure_before_ns=sure_before_ns, note=found.append
    ):
        if readable or isinstance(operation, Put):
            yield operation


def blob_operations(
    reader: CatalogReader | None, shard: str, part: Part, found: list[Finding]
) -> Iterator[Operation]:
    """Yield what makes the stored blobs of one folder the ones in the tree; findings go into `found`."""
    stored = reader.blobs(shard) if reader is not None else ()
    readable = part.readable()
    for operation in changed_blobs(listed_blobs(shard, part, found.append), stored):
        if readable or isinstance(operation, Put):
            yield operation
