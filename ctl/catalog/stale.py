"""Say whether a registry's tree changed since its last import. Only looks, and stops at the first change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctl.catalog.delta import blob_operations, find_changes, link_operations, listings
from ctl.catalog.tree import Tree

if TYPE_CHECKING:
    from ctl.catalog.store import CatalogStore
    from ctl.storage.base import Storage


def is_stale(storage: Storage, store: CatalogStore) -> bool:
    """Compare every link and blob in the tree with the copy, by name, size and time.

    A print that must not be trusted (the tree was written moments before the import) is settled entry by
    entry, so that an import is not called stale at once.
    """
    tree = Tree(storage)
    with store.open() as reader:
        delta = find_changes(tree, reader)
        if delta.vanished_shards or any(None in (one.stored, one.folder) for one in delta.repositories):
            return True
        for shard in tree.blobs(delta.shards):
            if next(blob_operations(reader, shard.shard, shard.part, []), None) is not None:
                return True
        changes = list(delta.repositories)
        for change, listing in zip(changes, listings(tree, changes), strict=True):
            for kind in change.parts:
                operations = link_operations(tree, reader, change, listing.parts[kind], kind, [])
                if next(operations, None) is not None:
                    return True
    return False
