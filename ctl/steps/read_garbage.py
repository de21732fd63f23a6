"""Read what a registry holds at this moment and plan its garbage: from the catalog where there is one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ctl.catalog.digests import revision_path, unpack
from ctl.catalog.fresh import hiding, parse_stored, read_links
from ctl.catalog.links import listed_blobs
from ctl.catalog.surveyed import SAMPLE, Look
from ctl.catalog.tree import PARTS, Tree
from ctl.engines.metadata import metadata_of
from ctl.errors import RefusedError, UnreachableError
from ctl.plans.collection_time import Workload
from ctl.plans.garbage import GarbagePlan, Holdings, plan_garbage
from ctl.steps.plan_file import PlannedCollection

if TYPE_CHECKING:
    from ctl.catalog.model import Manifest
    from ctl.catalog.store import CatalogState
    from ctl.catalog.tree import Layout
    from ctl.storage.base import Storage
    from ctl.world import World


def catalog_is_ready(world: World, registry: str) -> bool:
    """Say whether the registry's catalog database runs and holds a complete import; only looks."""
    if not _has_catalog(world, registry):
        return False
    return usable(world.catalog(registry).state(), world.storage(registry))


def _has_catalog(world: World, registry: str) -> bool:
    """Say whether the site's database of a registry is regctl's own copy, and not the engine's record."""
    return world.registry(registry).database is not None and metadata_of(world.engine(registry)) is None


def usable(state: CatalogState, storage: Storage) -> bool:
    """Say whether a copy can be planned from: complete, and of this storage."""
    return not state.missing and state.generation > 0 and state.root == storage.root


def read_plan(
    world: World,
    registry: str,
    *,
    delete_untagged: bool,
    storage: Storage | None = None,
    look: Look | None = None,
) -> PlannedCollection:
    """Plan from the catalog and what the tree says anew, or from the tree alone; writes nothing.

    `storage` is the registry's own, where the caller wants to read it in a way of its own; `look` is one
    over its tree that the caller has begun already.
    Raises UnreachableError if the storage is not there, RefusedError if part of it cannot be seen.
    """
    started = time.monotonic()
    storage = storage or world.storage(registry)
    found = _from_catalog(world, registry, storage, look, delete_untagged=delete_untagged)
    source = "catalog" if found else "tree"
    if found is None:
        holdings, sample = holdings_of_tree(storage)
        garbage = plan_garbage(holdings, delete_untagged=delete_untagged)
        found = garbage, workload_of(holdings), sample
    garbage, workload, sample = found
    if garbage.hidden:
        raise RefusedError(
            f"{garbage.hidden[0]}: a symbolic link, or not readable: what is in use behind it cannot be seen",
            hint="put the real one in its place, or make it readable; until then nothing is collected",
            details=garbage.hidden[1:20],
        )
    seconds = time.monotonic() - started
    latency = measure_latency(storage, sample)
    return PlannedCollection(registry, delete_untagged, source, seconds, latency, garbage, workload)


def _from_catalog(
    world: World, registry: str, storage: Storage, look: Look | None, *, delete_untagged: bool
) -> tuple[GarbagePlan, Workload, list[str]] | None:
    """Plan from the catalog database; None where it does not run or holds no complete import."""
    if not _has_catalog(world, registry):
        return None
    catalog = world.catalog(registry)
    # The tree is looked over by processes of its own, so it costs nothing to begin before the database
    # driver is even loaded.
    with look or Look(storage) as look, ExitStack() as stack:
        try:
            reader = stack.enter_context(catalog.open())
        except UnreachableError:  # stopped, never created, or not answering: the tree says it all too
            return None
        if not usable(reader.state, storage):
            return None
        from ctl.steps.read_catalog import plan_from_catalog

        return plan_from_catalog(reader, storage, look.result, delete_untagged=delete_untagged)


def holdings_of_tree(storage: Storage) -> tuple[Holdings, list[str]]:
    """Read everything from the tree: what it holds, and paths of a few links to measure with."""
    tree = Tree(storage)
    layout = tree.layout()
    links = read_links(storage, tree.links(layout.repositories, PARTS))
    blobs = stored_sizes(tree, layout)
    roots = {d for digests in (*links.revisions.values(), *links.tags.values()) for d in digests}
    manifests, unreadable = parse_all(storage, roots, blobs)
    unreadable |= set(using_manifests(unreadable, manifests))
    opaque = links.opaque | {
        name
        for name, digests in links.revisions.items()
        if digests & unreadable or links.tags[name] & unreadable
    }
    holdings = Holdings(
        blobs,
        links.revisions,
        links.tags,
        links.layers,
        manifests,
        opaque=frozenset(opaque),
        hidden=frozenset(links.hidden | hiding(layout.findings)),
    )
    return holdings, sample_of(links.revisions)


def parse_all(
    storage: Storage, roots: Iterable[str], stored: Iterable[str]
) -> tuple[dict[str, Manifest], set[str]]:
    """Parse manifests and, level by level, the stored children of their indexes; also what is unreadable."""
    from ctl.catalog.model import Role

    stored = stored if isinstance(stored, dict | set) else set(stored)
    manifests: dict[str, Manifest] = {}
    unreadable: set[str] = set()
    todo = set(roots)
    while todo:
        parsed = parse_stored(storage, todo)
        manifests |= parsed.manifests
        unreadable |= parsed.unreadable
        children = {
            reference.digest
            for manifest in parsed.manifests.values()
            for reference in manifest.references
            if reference.role is Role.MANIFEST and reference.digest in stored
        }
        todo = children - manifests.keys() - unreadable
    return manifests, unreadable


def using_manifests(unreadable: set[str], manifests: Mapping[str, Manifest]) -> Iterator[str]:
    """Yield the manifests that refer, at any distance, to an unreadable one as their child."""
    from ctl.catalog.model import Role

    lost = set(unreadable)
    found = True
    while found:
        found = False
        for digest, manifest in manifests.items():
            children = (r.digest for r in manifest.references if r.role is Role.MANIFEST)
            if digest not in lost and any(child in lost for child in children):
                lost.add(digest)
                found = True
                yield digest


def stored_sizes(tree: Tree, layout: Layout) -> dict[str, int]:
    """Map every stored blob to its size in bytes; what stands in the wrong folder or is empty is none."""
    return {
        unpack(digest): size
        for listing in tree.blobs(layout.shards)
        for digest, size, _mtime in listed_blobs(listing.shard, listing.part, lambda finding: None)
    }


def workload_of(holdings: Holdings) -> Workload:
    """Count what a collector has to look at."""
    return Workload(
        manifests=sum(map(len, holdings.revisions.values())),
        blobs=len(holdings.blobs),
        layer_links=sum(map(len, holdings.layers.values())),
        manifests_times_tags=sum(
            len(digests) * len(holdings.tags.get(name, ())) for name, digests in holdings.revisions.items()
        ),
    )


def sample_of(revisions: dict[str, set[str]]) -> list[str]:
    """Return the paths of a few links, of as many repositories as there are."""
    names = sorted(revisions)
    step = max(1, len(names) // SAMPLE)
    return [revision_path(n, min(revisions[n])) for n in names[::step][:SAMPLE] if revisions[n]]


def measure_latency(storage: Storage, paths: list[str]) -> float:
    """Return the seconds that opening and reading one small file takes, on average; 0 with no files.

    A collector works beside its storage: what asking another host takes is not counted.
    """
    if not paths:
        return 0.0
    started = time.perf_counter()
    storage.exists()
    asked = time.perf_counter()
    for _ in storage.read_many(paths, 256):
        pass
    read = time.perf_counter() - asked
    return max(read - (asked - started), read / 10) / len(paths)
