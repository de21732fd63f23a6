"""Compare a storage tree with GitLab's metadata database: one streaming merge, and a reason for what differs.

The importer takes tagged manifests only, and pushes after the switch reach the database only: most of what
differs is expected. What the comparison can settle by itself it settles here; `ctl.catalog.metadata_explain`
has the reasons for the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from ctl.catalog.compare import BROKEN, DIFFERENT, EXTRA, MISSING
from ctl.catalog.digests import blob_path, pack, unpack
from ctl.catalog.links import listed_blobs
from ctl.catalog.merge import together
from ctl.catalog.metadata_database import ImportRecord, MetadataCounts
from ctl.catalog.parse import MANIFEST_LIMIT, matches
from ctl.catalog.sides import BothSides, closure, reached_by_tags

if TYPE_CHECKING:
    from ctl.catalog.metadata_database import MetadataCatalog
    from ctl.catalog.model import Finding
    from ctl.catalog.sides import Sides
    from ctl.catalog.tree import Tree

LIMIT = 1000  # differences and problems that are kept of each sort; all are counted
_OPEN_LIMIT = 100_000  # differences that wait for their reason
_FILES_AT_ONCE = 2000


@dataclass(frozen=True)
class MetadataDifference:
    """One thing about which tree and database disagree. `expected` is what the tree says.

    `explained_by` is a word of docs/reference/registry-verify.md, "" where nothing explains it.
    """

    kind: (
        str  # missing (from the database) | extra (in it) | different | broken (no pull gives what it should)
    )
    what: str  # tag | manifest | layer | blob
    repository: str
    name: str
    expected: str
    found: str
    explained_by: str = ""


@dataclass(slots=True)
class Open:
    """A difference that still waits for its reason."""

    difference: MetadataDifference
    mtime_ns: int = 0  # of the tree's link
    through: tuple[str, ...] = ()  # tags of the tree that lead to a missing manifest


@dataclass
class MetadataComparison:
    """What a comparison found. `missing`, `extra` and `different` count what nothing explains."""

    limit: int = LIMIT
    repositories: int = 0
    tags: int = 0
    manifests: int = 0
    blobs: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    newer_tags: int = 0  # tags of the tree written after the import had begun with tags
    broken: int = 0  # all that cannot be pulled as it should, explained or not
    database: MetadataCounts = field(default_factory=MetadataCounts)
    imported: ImportRecord = field(default_factory=ImportRecord)
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: list[MetadataDifference] = field(default_factory=list)
    expected: list[MetadataDifference] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)
    open: list[Open] = field(default_factory=list)
    moved: set[tuple[str, str]] = field(default_factory=set)  # (repository, tag) that points elsewhere since

    @property
    def agree(self) -> bool:
        """Say whether everything that differs is explained, and nothing is broken."""
        return not (self.missing or self.extra or self.different or self.broken)

    @property
    def differences(self) -> list[MetadataDifference]:
        """The first differences, those without a reason before the others."""
        return [*self.unexplained, *self.expected][: self.limit]

    def is_newer(self, mtime_ns: int) -> bool:
        """Say whether an entry of the tree was written after the import had begun with the tags."""
        began = self.imported.tags_started_at
        return began is not None and mtime_ns > began.timestamp() * 1_000_000_000

    def settle(self, difference: MetadataDifference) -> None:
        """Count a difference, and keep it where there is room."""
        known = bool(difference.explained_by)
        if known:
            self.explained[difference.explained_by] += 1
        if not known or difference.kind == BROKEN:
            setattr(self, difference.kind, getattr(self, difference.kind) + 1)
        kept = self.expected if known else self.unexplained
        if len(kept) < self.limit:
            kept.append(difference)

    def wait(self, difference: MetadataDifference, mtime_ns: int = 0, through: tuple[str, ...] = ()) -> None:
        """Keep a difference until its reason is looked for."""
        if len(self.open) < _OPEN_LIMIT:
            self.open.append(Open(difference, mtime_ns, through))
        else:
            self.settle(difference)

    def note(self, found: Finding) -> None:
        """Keep an odd entry of the tree where there is room: it may be the reason of a difference."""
        if len(self.problems) < _OPEN_LIMIT:
            self.problems.append(found)


class MetadataComparing:
    """One comparison; `catalog` must hold one moment (`MetadataCatalog.snapshot`).

    `advance` is told how many links and blobs have been compared. `thorough` reads every link.
    """

    def __init__(
        self,
        tree: Tree,
        catalog: MetadataCatalog,
        *,
        thorough: bool = False,
        advance: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.tree, self.catalog, self.thorough, self.advance = tree, catalog, thorough, advance
        self.result = MetadataComparison()
        self._born_on_it = False  # the registry began on its database: no import, and nothing in the tree

    def run(self) -> MetadataComparison:
        """Compare everything; what is left `open` in the result still needs a reason."""
        result = self.result
        result.imported = self.catalog.last_import()
        result.database = self.catalog.counts()
        layout = self.tree.layout()
        in_tree = any(one.has_tags or one.revisions for one in layout.repositories)
        self._born_on_it = result.imported.tags_finished_at is None and not in_tree
        for found in layout.findings:
            result.note(found)
        for sides in BothSides(self.tree, self.catalog, result.note, thorough=self.thorough).read(layout):
            self._repository(sides)
            self.advance(len(sides.tree.tags) + len(sides.tree.manifests) + len(sides.tree.layers))
        self._altered()
        self._without_rows()
        self._files()
        self._blobs(layout.shards)
        return result

    # -- repositories ------------------------------------------------------------------------------

    def _repository(self, sides: Sides) -> None:
        tree = sides.tree
        self.result.repositories += bool(tree.tags or tree.manifests)
        self.result.newer_tags += sum(self.result.is_newer(mtime_ns) for _, mtime_ns in tree.tags.values())
        self.result.tags += len(tree.tags)
        self.result.manifests += len(tree.manifests)
        self._tags(sides)
        self._manifests(sides)
        self._layers(sides)

    def _tags(self, sides: Sides) -> None:
        name, ours, theirs = sides.name, sides.tree.tags, sides.database.tags
        for tag, (digest, mtime_ns) in ours.items():
            other = theirs.get(tag)
            if other is None:
                gone = MetadataDifference(MISSING, "tag", name, tag, digest, "not in the database")
                self.result.wait(gone, mtime_ns)
            elif other.digest != digest:
                why = "moved-since" if self._since(other.written_at) else ""
                self.result.moved.update([(name, tag)] if why else ())
                self.result.settle(MetadataDifference(DIFFERENT, "tag", name, tag, digest, other.digest, why))
        for tag, other in theirs.items():
            if tag not in ours:
                self._extra("tag", name, tag, other.digest, other.created_at)

    def _manifests(self, sides: Sides) -> None:
        name, ours, database = sides.name, sides.tree.manifests, sides.database
        missing = {digest for digest in ours if digest not in database.manifests}
        reached = reached_by_tags(self.tree.storage, sides, missing) if missing else {}
        for digest in sorted(missing):
            through = reached.get(digest, ())
            why = "" if through else "untagged"
            gone = MetadataDifference(MISSING, "manifest", name, digest, digest, "not in the database", why)
            if why:
                self.result.settle(gone)
            else:
                self.result.wait(gone, ours[digest], tuple(through))
        kept = closure((tag.digest for tag in database.tags.values()), database.indexes)
        for digest, other in database.manifests.items():
            if digest in ours:
                continue
            why = "" if digest in kept or self._since(other.created_at) else "untagged-in-database"
            self._extra("manifest", name, digest, digest, other.created_at, why)
        for parent, children in database.indexes.items():
            for child in sorted(set(children) - database.manifests.keys()):
                broken = f"child of {parent}"
                self.result.wait(
                    MetadataDifference(BROKEN, "manifest", name, child, broken, "not in the database")
                )

    def _layers(self, sides: Sides) -> None:
        name, ours, database = sides.name, sides.tree.layers, sides.database
        for digest, mtime_ns in ours.items():
            if digest in database.links:
                continue
            why = "" if digest in database.used else "unused-link"
            gone = MetadataDifference(MISSING, "layer", name, digest, digest, "not in the database", why)
            if why:
                self.result.settle(gone)
            else:
                self.result.wait(gone, mtime_ns)
        for digest, other in database.links.items():
            if digest not in ours:
                self._extra("layer", name, digest, digest, other.created_at)
        for digest in sorted(database.used - database.links.keys() - ours.keys()):
            unlinked = "in the repository"
            self.result.wait(MetadataDifference(BROKEN, "layer", name, digest, unlinked, "not linked"))

    def _extra(
        self, what: str, repository: str, name: str, found: str, created: datetime, why: str = ""
    ) -> None:
        why = "pushed-since" if self._since(created) else why
        extra = MetadataDifference(EXTRA, what, repository, name, "not there", found, why)
        self.result.settle(extra) if why else self.result.wait(extra)

    def _since(self, moment: datetime) -> bool:
        ended = self.result.imported.tags_finished_at
        return self._born_on_it or (ended is not None and moment > ended)

    # -- contents ----------------------------------------------------------------------------------

    def _altered(self) -> None:
        """Find manifests whose bytes in the database hash to something else."""
        for repository, digest, hashed in self.catalog.altered():
            found = f"bytes of {hashed}"
            self.result.settle(
                MetadataDifference(BROKEN, "manifest", repository, digest, digest, found, "altered-manifest")
            )

    def _without_rows(self) -> None:
        """Find layers that a manifest names and the database does not have: a pull of them is a 404."""
        for repository, manifest, layer, size in self.catalog.without_rows():
            for tag in self.catalog.tags_reaching(repository, manifest) or [manifest]:
                needs, found = f"{layer} ({size} bytes)", "not in the database"
                self.result.wait(MetadataDifference(BROKEN, "blob", repository, tag, needs, found))

    def _files(self) -> None:
        """Find manifests whose file, which filesystem mode would serve, has other bytes than it should.

        One that is not there is no difference: online collection removes these files.
        """
        known = {one.name for one in (*self.result.expected, *self.result.unexplained) if one.kind == BROKEN}
        batch: list[str] = []
        for digest in self.catalog.digests():
            batch.append(digest)
            if len(batch) == _FILES_AT_ONCE:
                self._check_files(batch, known)
                batch.clear()
        self._check_files(batch, known)

    def _check_files(self, digests: list[str], known: set[str]) -> None:
        contents = self.tree.storage.read_many((blob_path(digest) for digest in digests), MANIFEST_LIMIT)
        for digest, content in zip(digests, contents, strict=True):
            if isinstance(content, tuple) and not matches(digest, content[1]) and digest not in known:
                for repository in self.catalog.holders(digest):
                    found = f"{blob_path(digest)} has other bytes"
                    self.result.settle(
                        MetadataDifference(BROKEN, "manifest", repository, digest, digest, found)
                    )

    def _blobs(self, shards: list[str]) -> None:
        """Compare the stored blobs with the database's and with what its manifests need, by digest."""
        blobs = ((pack(one.digest), one.size, one.mtime_ns) for one in self.catalog.blobs())
        needed = ((pack(digest),) for digest in self.catalog.needed_blobs())
        third = self.result.imported.blobs_started_at
        third_ns = int(third.timestamp() * 1_000_000_000) if third else None
        for digest, on_disk, row, need in together(self._stored(shards), blobs, needed):
            self.result.blobs += on_disk is not None
            name = unpack(digest)
            if on_disk is None and row is not None:
                self._not_stored(name, row[1], needed=need is not None)
            elif on_disk is not None and row is None:
                why = "step-three" if third_ns is None else "written-since" * (on_disk[2] > third_ns)
                size = f"{on_disk[1]} bytes"
                self.result.settle(
                    MetadataDifference(MISSING, "blob", "", name, size, "not in the database", why)
                )
            elif on_disk is not None and row is not None and on_disk[1] != row[1]:
                sizes = f"{on_disk[1]} bytes", f"{row[1]} bytes"
                if need is None:
                    self.result.wait(MetadataDifference(DIFFERENT, "blob", "", name, *sizes))
                else:
                    self._broken(name, row[1], sizes[0])

    def _not_stored(self, digest: str, size: int, *, needed: bool) -> None:
        if needed:
            self._broken(digest, size, "not stored")
        else:
            self.result.wait(MetadataDifference(EXTRA, "blob", "", digest, "not stored", f"{size} bytes"))

    def _broken(self, digest: str, size: int, found: str) -> None:
        """Report a blob that is not stored as manifests need it, once for every tag that leads to it."""
        for repository, manifest in self.catalog.users_of(digest):
            for tag in self.catalog.tags_reaching(repository, manifest) or [manifest]:
                needs = f"{digest} ({size} bytes)"
                self.result.wait(MetadataDifference(BROKEN, "blob", repository, tag, needs, found))

    def _stored(self, shards: list[str]) -> Iterator[tuple[bytes, int, int]]:
        for listing in self.tree.blobs(shards):
            yield from listed_blobs(listing.shard, listing.part, self.result.note)
            self.advance(len(listing.part))
