"""Plan from the catalog database, with what the tree says anew laid over its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ctl.catalog.digests import HEX, blob_path, pack
from ctl.catalog.fresh import FreshLinks, hiding, read_links
from ctl.catalog.garbage_queries import GarbageQueries, Overlay
from ctl.catalog.model import Role
from ctl.catalog.tree import PARTS, REVISIONS, TAGS, Tree
from ctl.plans.collection_time import Workload
from ctl.plans.garbage import GarbagePlan, Holdings, by_repository, plan_garbage
from ctl.steps.read_garbage import parse_all, using_manifests
from ctl.storage.base import Entry

if TYPE_CHECKING:
    from ctl.catalog.model import Manifest
    from ctl.catalog.store import CatalogReader, StoredRepository
    from ctl.catalog.surveyed import Prints, Surveyed
    from ctl.catalog.tree import ShardListing
    from ctl.storage.base import Storage


@dataclass
class Changes:
    """What the tree says anew: links of changed repositories, blobs that came and went, new manifests."""

    changed: list[int] = field(default_factory=list)  # repositories not to be believed, also those gone
    links: FreshLinks = field(default_factory=FreshLinks)
    new_blobs: dict[str, int] = field(default_factory=dict)
    gone_blobs: set[str] = field(default_factory=set)
    manifests: dict[str, Manifest] = field(default_factory=dict)

    def __bool__(self) -> bool:
        links = self.links
        seen = (self.changed, links.revisions, links.opaque, links.hidden, self.manifests)
        return any(map(bool, (*seen, self.new_blobs, self.gone_blobs)))


def plan_from_catalog(
    reader: CatalogReader, storage: Storage, survey: Callable[[], Surveyed], *, delete_untagged: bool
) -> tuple[GarbagePlan, Workload, list[str]]:
    """Return the plan, the collector's workload, and paths of a few links to measure with.

    `survey` returns the look over the tree; while it is still being taken, the database already answers
    for the case that nothing changed since the import, which is the usual one. All its answers are of one
    moment, so an import that ends meanwhile cannot have its prints taken for those of older rows.
    """
    with reader.session.transaction():
        reader.session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.session.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # a look takes its time
        return _plan_from_snapshot(GarbageQueries(reader), storage, survey, delete_untagged=delete_untagged)


def _plan_from_snapshot(
    queries: GarbageQueries, storage: Storage, survey: Callable[[], Surveyed], *, delete_untagged: bool
) -> tuple[GarbagePlan, Workload, list[str]]:
    manifests, layer_links, product = queries.workload()
    count, size = queries.stored()
    workload = Workload(manifests, count, layer_links, product)
    unchanged = None if delete_untagged else _plan(queries, Changes(), count, size)
    surveyed = survey()
    changes = find_changes(queries, storage, surveyed)
    if delete_untagged:
        return plan_garbage(_holdings(queries, changes), delete_untagged=True), workload, surveyed.sample
    plan = unchanged if unchanged and not changes else _plan(queries, changes, count, size)
    return plan, workload, surveyed.sample


def _plan(queries: GarbageQueries, changes: Changes, count: int, size: int) -> GarbagePlan:
    """Let the database subtract what is reachable from what is stored."""
    overlay = Overlay(
        changed=changes.changed,
        roots=[pack(digest) for digest in _with_children(queries, changes, _roots(changes))],
        new_blobs=[(pack(digest), length) for digest, length in changes.new_blobs.items()],
    )
    garbage = {d: s for d, s in queries.garbage(overlay).items() if d not in changes.gone_blobs}
    links = queries.links(garbage, changes.changed)
    for name, layers in changes.links.layers.items():
        for digest in layers & garbage.keys():
            links.setdefault(digest, set()).add(name)
    stored = count + len(changes.new_blobs) - len(changes.gone_blobs)
    bytes_stored = size + sum(changes.new_blobs.values()) - queries.sizes(changes.gone_blobs)
    return GarbagePlan(
        blobs=garbage,
        manifests=frozenset(),
        repositories=by_repository(garbage, links, ()),
        kept_blobs=stored - len(garbage),
        kept_bytes=bytes_stored - sum(garbage.values()),
        opaque=tuple(sorted(changes.links.opaque)),
        hidden=tuple(sorted(changes.links.hidden)),
        links={digest: sorted(names) for digest, names in links.items()},
    )


def _roots(changes: Changes) -> set[str]:
    """Every digest that the changed repositories keep, and what newly read manifests need."""
    roots: set[str] = set()
    for digests in (*changes.links.revisions.values(), *changes.links.tags.values()):
        roots |= digests
    for name in changes.links.opaque:
        roots |= changes.links.layers[name]
    for manifest in changes.manifests.values():
        roots.add(manifest.digest)
        roots |= {r.digest for r in manifest.references if r.role is not Role.SUBJECT}
    return roots


def _with_children(queries: GarbageQueries, changes: Changes, roots: set[str]) -> set[str]:
    """Return the roots and the index children that are kept by their parent alone."""
    pairs = queries.unlinked_children(changes.changed)
    kept = roots | queries.linked({parent for parent, _child in pairs}, changes.changed) if pairs else roots
    found = bool(pairs)
    while found:
        more = {child for parent, child in pairs if parent in kept} - kept
        kept = kept | more
        found = bool(more)
    return kept


def _holdings(queries: GarbageQueries, changes: Changes) -> Holdings:
    """Everything as values: what the database knows, and over it what the tree says anew."""
    fresh, changed = changes.links, changes.changed
    blobs = {d: s for d, s in queries.all_blobs().items() if d not in changes.gone_blobs}
    return Holdings(
        blobs=blobs | changes.new_blobs,
        revisions=queries.all_links("revisions", changed) | fresh.revisions,
        tags=queries.all_links("tags", changed) | fresh.tags,
        layers=queries.all_links("layers", changed) | fresh.layers,
        manifests=queries.all_manifests() | changes.manifests,
        opaque=frozenset(changes.links.opaque),
        hidden=frozenset(changes.links.hidden),
    )


def find_changes(queries: GarbageQueries, storage: Storage, surveyed: Surveyed) -> Changes:
    """Compare the look over the tree with the prints that the import left; read what differs."""
    tree, layout = Tree(storage), surveyed.layout
    changes = Changes()
    known = queries.repositories()
    unclear = set(queries.opaque())
    suspects = [
        folder
        for folder, prints in surveyed.repositories
        if folder.name not in known
        or known[folder.name].id in unclear
        or not _same(known[folder.name], prints)
    ]
    changes.links = read_links(storage, tree.links(suspects, PARTS))
    changes.links.hidden |= hiding(layout.findings)
    present = {folder.name for folder in layout.repositories}
    changes.changed = [known[folder.name].id for folder in suspects if folder.name in known]
    changes.changed += [r.id for name, r in known.items() if name not in present]
    _find_blobs(queries, storage, surveyed, changes)
    unreadable = _parse_new(queries, storage, changes)
    hit = set(queries.users_of(unreadable)) - set(changes.changed)
    if hit:
        folders = [f for f in layout.repositories if f.name in known and known[f.name].id in hit]
        more = read_links(storage, tree.links(folders, PARTS))
        changes.links.add(more, opaque={folder.name for folder in folders})
        changes.changed += sorted(hit)
    return changes


def _same(before: StoredRepository, prints: Prints) -> bool:
    """Say whether a repository's revisions and tags are what the import saw; None is never the same."""
    pairs = ((prints[part], before.prints[part]) for part in (REVISIONS, TAGS))
    return all(now is not None and now == then for now, then in pairs)


def _find_blobs(queries: GarbageQueries, storage: Storage, surveyed: Surveyed, changes: Changes) -> None:
    """Find blobs that came or went, by the names alone; only new ones are looked at."""
    before = queries.shards()
    doubtful = [shard for shard, now in surveyed.shards if now is None or before.get(shard) != now]
    new: list[str] = []
    for listing in Tree(storage).blobs(doubtful, stats=False):
        names = set(_blob_names(listing))
        had = queries.shard_blobs(listing.shard)
        new += names - had
        changes.gone_blobs |= had - names
    for shard in before.keys() - {shard for shard, _now in surveyed.shards}:
        changes.gone_blobs |= queries.shard_blobs(shard)
    for digest, entry in zip(new, storage.stat_many(blob_path(d) for d in new), strict=True):
        if isinstance(entry, Entry):
            changes.new_blobs[digest] = entry.size


def _blob_names(listing: ShardListing) -> Iterator[str]:
    """Yield the digests that stand in the right folder; what else stands there is no blob."""
    digits = listing.shard.partition("/")[2]
    for algorithm, survey in listing.part.surveys:
        for name in survey.names:
            if name.startswith(digits) and HEX[algorithm].match(name):
                yield f"{algorithm}:{name}"


def _parse_new(queries: GarbageQueries, storage: Storage, changes: Changes) -> set[str]:
    """Parse manifests that no import has read; return those that something needs and nobody can read."""
    links = changes.links
    needed = {d for digests in (*links.revisions.values(), *links.tags.values()) for d in digests}
    wanted = (needed - queries.known(needed)) | queries.unparsed()
    changes.manifests, unreadable = parse_all(storage, wanted, changes.new_blobs)
    unreadable |= set(using_manifests(unreadable, changes.manifests))
    for name, digests in links.revisions.items():
        if digests & unreadable or links.tags[name] & unreadable:
            links.opaque.add(name)
    return unreadable
