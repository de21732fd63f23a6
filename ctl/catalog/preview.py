"""Say what an import would do. Reads the tree and, where it runs, the catalog database; writes nothing."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.catalog.delta import Delta, blob_operations, find_changes, link_operations, listings
from ctl.catalog.import_ import Meter, demand_tree
from ctl.catalog.links import Put
from ctl.catalog.model import Finding
from ctl.catalog.tree import LAYERS, REVISIONS, TAGS, Tree
from ctl.report.model import Block, Table, Text

if TYPE_CHECKING:
    from ctl.catalog.store import CatalogReader, CatalogStore
    from ctl.report.events import EventSink
    from ctl.report.model import Json
    from ctl.storage.base import Storage

FINDINGS_SHOWN = 1000


@dataclass(frozen=True)
class ImportPreview:
    """What an import would change: for people, and as figures."""

    changes: bool
    blocks: tuple[Block, ...]
    data: dict[str, Json]


def preview_import(storage: Storage, store: CatalogStore, emit: EventSink) -> ImportPreview:
    """Compare the tree with the copy and count what an import would put, drop and report."""
    tree = Tree(storage)
    state = store.state()
    with ExitStack() as stack:
        reader = None
        if not state.missing:
            reader = stack.enter_context(store.open())
        demand_tree(tree, state.counts.repositories)
        meter = Meter(emit)
        delta = find_changes(tree, reader)
        meter.total = delta.entries
        counted, found = _counted(tree, reader, delta, meter)
    data: dict[str, Json] = {
        "repositories": delta.repository_count,
        "tags": delta.seen.get(TAGS, 0),
        "manifests": delta.seen.get(REVISIONS, 0),
        "blobs": delta.seen.get("blobs", 0),
        "bytes": delta.bytes,
        "problems": len(found),
        "problem_list": [
            {"path": f.path, "kind": f.kind, "reason": f.reason} for f in found[:FINDINGS_SHOWN]
        ],
        "generation": state.generation,
        "changes": dict(counted),
        "catalog": state.missing or "present",
    }
    changes = bool(counted) or bool(delta) or not state.generation
    return ImportPreview(changes, tuple(_blocks(state.missing, counted)), data)


def _counted(
    tree: Tree, reader: CatalogReader | None, delta: Delta, meter: Meter
) -> tuple[Counter[str], list[Finding]]:
    counted: Counter[str] = Counter()
    found = list(delta.findings)
    for blobs in tree.blobs(delta.shards):
        for one in blob_operations(reader, blobs.shard, blobs.part, found):
            counted["blobs_put" if isinstance(one, Put) else "blobs_dropped"] += 1
        meter.add(len(blobs.part))
    present = [change for change in delta.repositories if change.folder is not None]
    for change, listing in zip(present, listings(tree, present), strict=True):
        found.extend(listing.folder.findings)
        counted["repositories_new"] += change.stored is None
        for kind in change.parts:
            for one in link_operations(tree, reader, change, listing.parts[kind], kind, found):
                counted[f"{_WORDS[kind]}_{'put' if isinstance(one, Put) else 'dropped'}"] += 1
            meter.add(len(listing.parts[kind]))
    counted["repositories_gone"] += len(delta.repositories) - len(present)
    meter.end()
    return +counted, found


_WORDS = {REVISIONS: "manifest_links", TAGS: "tags", LAYERS: "layer_links"}


def _blocks(missing: str, counted: Counter[str]) -> list[Block]:
    blocks: list[Block] = []
    if missing:
        blocks.append(Text(f"No catalog to compare with ({missing}): everything counts as new."))
    rows = tuple((name.replace("_", " "), f"{count:,}") for name, count in sorted(counted.items()))
    if rows:
        blocks.append(Table(("what", "count"), rows, "An import would change", frozenset({"count"})))
    else:
        blocks.append(Text("The catalog has all that the tree's names and times show."))
    return blocks
