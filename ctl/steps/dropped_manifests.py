"""Whether a storage holds manifests of a kind that the next version serves no more. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ctl.catalog.read_manifests import ReadManifest
from ctl.errors import RegctlError

if TYPE_CHECKING:
    from ctl.catalog.tree import Tree
    from ctl.world import World

_AT_ONCE = 1000  # manifests that are read in one go


@dataclass(frozen=True)
class Dropped:
    """How many there are (None: nobody could look) and the first of them, as repository@digest."""

    count: int | None
    example: str = ""
    looked_at: int = 0
    reason: str = ""


def dropped_manifests(world: World, registry: str, kinds: tuple[str, ...]) -> Dropped:
    """Read every manifest of a registry's storage once and count those of these kinds."""
    from ctl.catalog.read_manifests import read_manifests
    from ctl.catalog.tree import Tree

    if not kinds:
        return Dropped(0)
    try:
        storage = world.storage(registry)
        if not storage.exists():
            return Dropped(None, reason="the storage is not there")
        found, example, looked_at = 0, "", 0
        links = _links(Tree(storage))
        seen: set[bytes] = set()
        while batch := list(islice(links, _AT_ONCE)):
            names = {digest: repository for repository, digest in batch if digest not in seen}
            seen.update(names)
            looked_at += len(names)
            for one in read_manifests(storage, sorted(names)):
                if _is_of(one, kinds):
                    found += 1
                    example = example or f"{names[one.digest]}@{_text(one)}"
        return Dropped(found, example, looked_at)
    except RegctlError as error:
        return Dropped(None, reason=error.message)


def _links(tree: Tree) -> Iterator[tuple[str, bytes]]:
    from ctl.catalog.digests import HEX, pack
    from ctl.catalog.tree import REVISIONS

    for listing in tree.links(tree.layout().repositories, (REVISIONS,)):
        for algorithm, survey in listing.parts[REVISIONS].surveys:
            for name in survey.names:
                if HEX[algorithm].match(name):
                    yield listing.folder.name, pack(f"{algorithm}:{name}")


def _is_of(one: ReadManifest, kinds: tuple[str, ...]) -> bool:
    return one.manifest is not None and one.manifest.kind in kinds


def _text(one: ReadManifest) -> str:
    from ctl.catalog.digests import unpack

    return unpack(one.digest)
