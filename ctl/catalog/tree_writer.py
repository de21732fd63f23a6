"""Write from GitLab's metadata database what a storage tree lacks, and take out of it what was deleted since.

On the database nothing is linked in the tree any more, and online collection deletes manifest files. The
database has all of it: payloads, and which repository holds what under which tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from ctl.catalog.digests import blob_path, is_digest, layer_path, pack, revision_path, tag_path, unpack
from ctl.catalog.fresh import parse_stored
from ctl.catalog.links import listed_blobs
from ctl.catalog.merge import together
from ctl.catalog.model import Role
from ctl.catalog.parse import MANIFEST_LIMIT, matches
from ctl.catalog.sides import BothSides, Sides, reached_by_tags
from ctl.catalog.tree import REPOSITORIES
from ctl.storage.base import Entry

if TYPE_CHECKING:
    from ctl.catalog.metadata_database import MetadataCatalog
    from ctl.catalog.model import Finding
    from ctl.catalog.tree import Tree
    from ctl.storage.base import Storage
    from ctl.storage.tree_files import TreeFiles

Item = TypeVar("Item")
_AT_ONCE = 500  # payloads held in memory: at most 4 MiB each, usually about 2 KiB
_STATS_AT_ONCE = 5000
Link = tuple[str, str]  # (path, the digest that it holds)
Whole = Callable[[set[str]], Mapping[str, set[str]]]


@dataclass(frozen=True)
class RepositoryPlan:
    """What has to happen in one repository, in this order; each part of it may be empty."""

    name: str
    manifests: tuple[Link, ...] = ()
    layers: tuple[Link, ...] = ()
    out: tuple[str, ...] = ()  # revisions and layer links that were deleted since, or the whole repository
    out_tags: tuple[str, ...] = ()
    tags: tuple[tuple[Link, Link], ...] = ()  # (history, current) of each tag that is new or points elsewhere
    new_tags: tuple[tuple[Link, Link], ...] = ()  # those among them that replace nothing
    kept: frozenset[str] = frozenset()  # untagged manifests that the importer never took: they stay

    def __bool__(self) -> bool:
        return bool(self.manifests or self.layers or self.out or self.out_tags or self.tags)


@dataclass
class Written:
    """What was written and taken out; in a survey, what would be."""

    payloads: int = 0
    payload_bytes: int = 0
    manifests: int = 0
    layers: int = 0
    tags: int = 0
    taken_out: int = 0
    taken_out_tags: int = 0
    kept_untagged: int = 0
    examples: list[str] = field(default_factory=list)  # the first paths

    @property
    def work(self) -> int:
        """How many changes there were: 0 where tree and database say the same."""
        return self.payloads + self.manifests + self.layers + self.tags + self.taken_out + self.taken_out_tags

    def data(self) -> dict[str, int]:
        """Return the figures for a report."""
        return {name: value for name, value in vars(self).items() if name != "examples"}


def plan_repository(sides: Sides, reached: Mapping[str, object], whole: Whole) -> RepositoryPlan:
    """Say what makes a repository's tree be what the database says.

    `reached` are the manifests that the tree's tags lead to among those that the database lacks. Such a one
    was imported, so it was deleted since and goes. One that no tag leads to was never imported: it stays as
    long as it is whole, which `whole` tells with the blobs that it needs. So does a child that an index of
    the database names: the importer drops some.
    """
    name, tree, database = sides.name, sides.tree, sides.database
    missing = tree.manifests.keys() - database.manifests.keys()
    named = {child for children in database.indexes.values() for child in children}
    kept = whole({digest for digest in missing if digest not in reached or digest in named})
    if tree.present and not (database.tags or database.manifests or database.links or kept):
        base = f"{REPOSITORIES}/{name}"
        return RepositoryPlan(name, out=(f"{base}/_manifests", f"{base}/_layers"))
    needed = database.used | {blob for blobs in kept.values() for blob in blobs}
    gone = [_folder(revision_path(name, one)) for one in sorted(missing - kept.keys())]
    loose = tree.layers.keys() - database.links.keys() - needed
    gone += [_folder(layer_path(name, one)) for one in sorted(loose)]
    tags = [
        (tag, one.digest)
        for tag, one in sorted(database.tags.items())
        if tree.tags.get(tag, ("", 0))[0] != one.digest
    ]
    return RepositoryPlan(
        name,
        tuple((revision_path(name, d), d) for d in sorted(database.manifests.keys() - tree.manifests.keys())),
        tuple((layer_path(name, d), d) for d in sorted(database.links.keys() - tree.layers.keys())),
        tuple(gone),
        tuple(
            f"{REPOSITORIES}/{name}/_manifests/tags/{entry}"
            for entry in tree.tag_entries
            if entry not in database.tags
        ),
        tuple(_tag_links(name, tag, digest) for tag, digest in tags),
        tuple(_tag_links(name, tag, digest) for tag, digest in tags if tag not in tree.tag_entries),
        frozenset(kept),
    )


class TreeWriting:
    """Bring a storage tree in line with a metadata database; without `files` it only says what would be done.

    `take_out` False adds only, and replaces no tag: that is harmless while the registry serves from the
    database, which looks at none of these links. `careful` reads every link and every manifest's file; once
    that was done it is enough to look at their sizes, since nobody but us writes them. `guard` is called
    before each repository's writes. A crash at any point leaves what the next run goes on from: of a
    repository, tags change last.
    """

    def __init__(
        self,
        tree: Tree,
        catalog: MetadataCatalog,
        files: TreeFiles | None,
        *,
        take_out: bool = True,
        careful: bool = False,
        guard: Callable[[], None] = lambda: None,
        advance: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.tree, self.catalog, self.files = tree, catalog, files
        self.take_out, self.careful, self.guard, self.advance = take_out, careful, guard, advance
        self.done = Written()
        self.problems: list[Finding] = []

    def run(self) -> Written:
        """Do it all: payloads first, so that no link ever leads to nothing."""
        self._payloads()
        layout = self.tree.layout()
        for sides in BothSides(self.tree, self.catalog, self.problems.append, thorough=self.careful).read(
            layout
        ):
            missing = sides.tree.manifests.keys() - sides.database.manifests.keys()
            reached = reached_by_tags(self.tree.storage, sides, set(missing)) if missing else {}
            plan = plan_repository(sides, reached, self._whole)
            self.done.kept_untagged += len(plan.kept)
            if plan:
                self.guard()
                self._apply(plan)
            self.advance(len(sides.database.tags) + len(sides.database.manifests) + len(sides.database.links))
            self.problems.clear()
        if self.files is not None:
            self.files.flush()
        return self.done

    def _payloads(self) -> None:
        for batch in _batches(self.catalog.payload_sizes(), _STATS_AT_ONCE):
            for some in _batches(self._without_file(batch), _AT_ONCE):
                self.guard()
                for digest, payload in self.catalog.payloads_of(some):
                    if self._put(blob_path(digest), payload):
                        self.done.payloads += 1
                        self.done.payload_bytes += len(payload)
            self.advance(len(batch))

    def _without_file(self, batch: list[tuple[str, int]]) -> Iterator[str]:
        """Yield the manifests that have no file, or one with other bytes than its digest says.

        A `careful` one reads every file; else only those of another size than the database's payload.
        """
        storage = self.tree.storage
        doubtful = [digest for digest, _ in batch]
        if not self.careful:
            stats = storage.stat_many(blob_path(digest) for digest in doubtful)
            doubtful = [
                digest
                for (digest, size), stat in zip(batch, stats, strict=True)
                if not isinstance(stat, Entry) or stat.size != size
            ]
        contents = storage.read_many((blob_path(digest) for digest in doubtful), MANIFEST_LIMIT)
        for digest, content in zip(doubtful, contents, strict=True):
            if not isinstance(content, tuple) or not matches(digest, content[1]):
                yield digest

    def _apply(self, plan: RepositoryPlan) -> None:
        done = self.done
        done.manifests += sum(self._put(path, digest.encode()) for path, digest in plan.manifests)
        done.layers += sum(self._put(path, digest.encode()) for path, digest in plan.layers)
        if self.take_out:
            # the tags say which manifests were imported: they change when the manifests have gone
            done.taken_out += sum(self._take_out(path) for path in plan.out)
            done.taken_out_tags += sum(self._take_out(path) for path in plan.out_tags)
        for history, current in plan.tags if self.take_out else plan.new_tags:
            self._put(history[0], history[1].encode())
            done.tags += self._put(current[0], current[1].encode())

    def _put(self, path: str, data: bytes) -> bool:
        changed = self.files is None or self.files.put(path, data)
        self._show(path, changed)
        return changed

    def _take_out(self, path: str) -> bool:
        if self.files is not None:
            changed = self.files.take_out(path)
        else:
            parent, _, name = path.rpartition("/")
            survey = next(iter(self.tree.storage.survey([(parent, None)])))
            changed = name in survey.names or name in dict(survey.others)
        self._show(path, changed)
        return changed

    def _show(self, path: str, changed: bool) -> None:
        if changed and len(self.done.examples) < 20:
            self.done.examples.append(path)

    def _whole(self, digests: set[str]) -> dict[str, set[str]]:
        return whole_manifests(self.tree.storage, digests)


def whole_manifests(storage: Storage, digests: set[str]) -> dict[str, set[str]]:
    """Return those manifests of which everything is stored, each with the configs and layers it needs."""
    if not digests:
        return {}
    parsed = parse_stored(storage, digests)
    needs: dict[str, set[str]] = {}
    files: dict[str, set[str]] = {}
    for digest, manifest in parsed.manifests.items():
        if digest in parsed.unreadable:
            continue
        wanted = {r.digest: r.role for r in manifest.references if r.role not in (Role.SUBJECT, Role.FOREIGN)}
        files[digest] = set(wanted)
        needs[digest] = {one for one, role in wanted.items() if role is not Role.MANIFEST}
    all_files = sorted({one for some in files.values() for one in some})
    stats = storage.stat_many(blob_path(one) for one in all_files)
    stored = {one for one, stat in zip(all_files, stats, strict=True) if isinstance(stat, Entry)}
    return {digest: needs[digest] for digest, some in files.items() if some <= stored}


@dataclass(frozen=True)
class Lacking:
    """A blob that manifests in the database need, and the storage has not got as they need it."""

    digest: str
    size: int  # bytes that the database says
    found: int | None  # bytes stored, None for not stored
    users: tuple[str, ...]  # "repository:tag" or "repository@digest", the first of them


def lacking_blobs(tree: Tree, catalog: MetadataCatalog, *, users: int = 5) -> Iterator[Lacking]:
    """Yield every config and layer that some manifest needs and that is not stored, or of another size."""
    used = ((pack(digest), size) for digest, size in catalog.used_sizes())
    for digest, on_disk, need in together(_stored(tree), used):
        if need is None or (on_disk is not None and on_disk[1] == need[1]):
            continue
        text = unpack(digest)
        names: list[str] = []
        for repository, manifest in catalog.users_of(text):
            if _stored_elsewhere(tree.storage, repository, text, need[1]):
                continue
            tags = catalog.tags_reaching(repository, manifest)
            names += [f"{repository}:{tag}" for tag in tags] or [f"{repository}@{manifest}"]
        if names:
            yield Lacking(text, need[1], on_disk[1] if on_disk else None, tuple(names[:users]))


def _stored_elsewhere(storage: Storage, repository: str, digest: str, size: int) -> bool:
    """Say whether a layer link leads to the bytes under the digest of another hash, as pushes by sha512 do.

    The tree serves them by that link; the database knows nothing of it and answers 404.
    """
    (content,) = storage.read_many([layer_path(repository, digest)], 512)
    target = content[1].decode("ascii", "replace") if isinstance(content, tuple) else ""
    if not is_digest(target) or target == digest:
        return False
    (stat,) = storage.stat_many([blob_path(target)])
    return isinstance(stat, Entry) and stat.size == size


def _stored(tree: Tree) -> Iterator[tuple[bytes, int, int]]:
    for listing in tree.blobs(tree.layout().shards):
        yield from listed_blobs(listing.shard, listing.part, lambda finding: None)


def _tag_links(repository: str, tag: str, digest: str) -> tuple[Link, Link]:
    current = tag_path(repository, tag)
    algorithm, _, digits = digest.partition(":")
    history = f"{current.removesuffix('current/link')}index/{algorithm}/{digits}/link"
    return (history, digest), (current, digest)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
