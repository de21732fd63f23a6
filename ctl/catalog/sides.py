"""What storage tree and metadata database say of a repository, side by side, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ctl.catalog.digests import unpack
from ctl.catalog.fresh import parse_stored
from ctl.catalog.links import Put, changed_links, listed_links, listed_tags
from ctl.catalog.merge import Grouped
from ctl.catalog.parse import ManifestError, parse_manifest
from ctl.catalog.tree import LAYERS, PARTS, REVISIONS, TAGS, Part

if TYPE_CHECKING:
    from ctl.catalog.metadata_database import DatabaseLink, DatabaseTag, MetadataCatalog
    from ctl.catalog.model import Finding, Manifest
    from ctl.catalog.tree import Layout, RepositoryListing, Tree
    from ctl.storage.base import Storage

Note = Callable[["Finding"], object]


@dataclass(slots=True)
class TreeSide:
    """A repository as its storage tree has it: only what is usable. Values are mtimes in nanoseconds."""

    tags: dict[str, tuple[str, int]] = field(default_factory=dict)  # name: (digest, mtime)
    manifests: dict[str, int] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)
    tag_entries: tuple[str, ...] = ()  # all that stands in the folder of tags, usable or not
    present: bool = False  # whether the tree has a folder of this repository


@dataclass(slots=True)
class DatabaseSide:
    """A repository as the metadata database has it."""

    tags: dict[str, DatabaseTag] = field(default_factory=dict)
    manifests: dict[str, DatabaseLink] = field(default_factory=dict)
    links: dict[str, DatabaseLink] = field(default_factory=dict)  # blobs that may be read through it
    used: set[str] = field(default_factory=set)  # configs and layers of its manifests
    indexes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # digest: children, as its bytes say


@dataclass(frozen=True, slots=True)
class Sides:
    """One repository on both sides; empty on a side that does not have it."""

    name: str
    tree: TreeSide
    database: DatabaseSide


class BothSides:
    """Read tree and database together; one repository at a time is in memory.

    Without `thorough` a revision or layer link of the right size is taken for the digest of its path: what
    else it may hold shows in the importer's work. With it every link is read.
    """

    def __init__(self, tree: Tree, catalog: MetadataCatalog, note: Note, *, thorough: bool = False) -> None:
        self._tree, self._note, self._thorough = tree, note, thorough
        self._tags = Grouped(catalog.tags(), lambda one: one.repository)
        self._manifests = Grouped(catalog.manifest_links(), lambda one: one.repository)
        self._links = Grouped(catalog.blob_links(), lambda one: one.repository)
        self._used = Grouped(catalog.used_blobs(), lambda one: one[0])
        self._indexes = Grouped(catalog.indexes(), lambda one: one[0])

    def read(self, layout: Layout) -> Iterator[Sides]:
        """Yield every repository of either side, by name."""
        listings = self._tree.links(layout.repositories, PARTS)
        listing = next(listings, None)
        while (name := self._next(listing)) is not None:
            tree = TreeSide()
            if listing is not None and listing.folder.name == name:
                for found in listing.folder.findings:
                    self._note(found)
                tree = read_side(self._tree.storage, listing, self._note, thorough=self._thorough)
                listing = next(listings, None)
            yield Sides(name, tree, self._database(name))

    def _next(self, listing: RepositoryListing | None) -> str | None:
        streams: tuple[Grouped[Any], ...] = (
            self._tags,
            self._manifests,
            self._links,
            self._used,
            self._indexes,
        )
        names = [name for name in (stream.next_name() for stream in streams) if name is not None]
        names += [listing.folder.name] if listing is not None else []
        return min(names, default=None)

    def _database(self, name: str) -> DatabaseSide:
        return DatabaseSide(
            {one.name: one for one in self._tags.take(name)},
            {one.digest: one for one in self._manifests.take(name)},
            {one.digest: one for one in self._links.take(name)},
            {digest for _, digest in self._used.take(name)},
            {digest: children_of(digest, payload) for _, digest, payload in self._indexes.take(name)},
        )


def read_side(storage: Storage, listing: RepositoryListing, note: Note, *, thorough: bool) -> TreeSide:
    """Read the links of one repository."""
    name, parts = listing.folder.name, listing.parts
    side = TreeSide(tag_entries=tuple(_entries(parts[TAGS])), present=True)
    tags: Iterable[Any] = listed_tags(name, parts[TAGS], note)
    for one in changed_links(storage, tags, (), sure_before_ns=0, note=note):
        if isinstance(one, Put):
            side.tags[one.key] = (unpack(one.digest), one.mtime_ns)
    for kind, into in ((REVISIONS, side.manifests), (LAYERS, side.layers)):
        listed = listed_links(name, kind, parts[kind], note)
        doubtful: list[Any] = []
        for link in listed:
            if not thorough and link.size == len(link.digest):
                into[link.digest] = link.mtime_ns
            else:
                doubtful.append(link)
        for one in changed_links(storage, doubtful, (), sure_before_ns=0, note=note):
            if isinstance(one, Put):
                into[unpack(one.key)] = one.mtime_ns
    return side


def _entries(part: Part) -> Iterator[str]:
    for _, survey in part.surveys:
        yield from survey.names
        yield from (name for name, _ in survey.others)


def children_of(digest: str, payload: bytes) -> tuple[str, ...]:
    """Return the children that an index's bytes name; () where they make no sense."""
    parsed = parsed_or_none(digest, payload)
    return tuple(one.digest for one in parsed.references if one.role == "manifest") if parsed else ()


def parsed_or_none(digest: str, payload: bytes) -> Manifest | None:
    """Parse a manifest; None where its bytes make no sense."""
    try:
        return parse_manifest(digest, payload)
    except ManifestError:
        return None


def reached_by_tags(storage: Storage, sides: Sides, wanted: set[str]) -> dict[str, list[str]]:
    """Return which tags of the tree lead to the wanted manifests, directly or through an index.

    Indexes that the database does not hold are read from the storage.
    """
    indexes = dict(sides.database.indexes)
    unknown = {digest for digest, _ in sides.tree.tags.values()} & wanted
    while unknown:
        parsed = parse_stored(storage, unknown).manifests
        for digest in unknown:
            one = parsed.get(digest)
            indexes[digest] = tuple(r.digest for r in one.references if r.role == "manifest") if one else ()
        below = {child for digest in unknown for child in indexes[digest]}
        unknown = (below & wanted) - indexes.keys()
    found: dict[str, list[str]] = {}
    for tag, (digest, _) in sides.tree.tags.items():
        for reached in closure({digest}, indexes) & wanted:
            found.setdefault(reached, []).append(tag)
    return found


def closure(digests: Iterable[str], indexes: Mapping[str, Iterable[str]]) -> set[str]:
    """Return manifests and all that they lead to through indexes."""
    found: set[str] = set()
    todo = list(digests)
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo.extend(indexes.get(one, ()))
    return found
