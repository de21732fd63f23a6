"""Which files of a storage a collection must not cost: the paths that are linked aside, and put back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ctl.catalog.digests import layer_path, revision_path
from ctl.catalog.fresh import read_links
from ctl.catalog.tree import BLOBS, LAYERS, PARTS, REPOSITORIES, Tree
from ctl.errors import RegctlError
from ctl.steps.read_garbage import parse_all, stored_sizes

if TYPE_CHECKING:
    from ctl.plans.garbage import GarbagePlan
    from ctl.storage.base import Storage

_ABSENT, _NO_FILE = -1, -3  # what a survey says instead of a size
_LAYER_PART = "/_layers/"


def kept_paths(
    storage: Storage, garbage: GarbagePlan, *, manifests: bool, layer_links: bool
) -> Iterator[str]:
    """Yield the path of every file that the plan keeps and that a collector could take.

    These are blobs; with `manifests` (--delete-untagged) what lies below `_manifests`; with `layer_links`
    (3.x) the links of layers. Raises RegctlError where a folder cannot be read.
    """
    yield from _blobs(storage, garbage)
    if manifests:
        yield from _manifest_links(storage, garbage.manifests)
    if layer_links:
        yield from _layer_links(storage, garbage)


def _blobs(storage: Storage, garbage: GarbagePlan) -> Iterator[str]:
    """Yield every blob that is not garbage, also an odd one: the collector goes by the names alone."""
    tree = Tree(storage)
    for listing in tree.blobs(tree.layout().shards):
        for algorithm, survey in listing.part.surveys:
            if survey.problem not in ("", "missing"):
                raise RegctlError(f"{survey.path}: {survey.reason or survey.problem}")
            for name, size in zip(survey.names, survey.sizes, strict=True):
                if size not in (_ABSENT, _NO_FILE) and f"{algorithm}:{name}" not in garbage.blobs:
                    yield f"{BLOBS}/{listing.shard}/{name}/data"


def _manifest_links(storage: Storage, doomed: frozenset[tuple[str, str]]) -> Iterator[str]:
    """Yield the path of every link below `_manifests` but those of the manifests that are to go."""
    from ctl.storage.base import Failure

    going = {revision_path(repository, digest) for repository, digest in doomed}
    for folder in Tree(storage).layout().repositories:
        for entry in storage.scan(f"{REPOSITORIES}/{folder.name}/_manifests"):
            if isinstance(entry, Failure) and entry.kind == "unreadable":
                raise RegctlError(f"{entry.path}: {entry.reason}")
            if isinstance(entry, Failure) and entry.kind != "symlink":
                continue
            in_index = "/tags/" in entry.path and "/index/" in entry.path
            gone = in_index and (folder.name, _indexed_digest(entry.path)) in doomed
            if entry.path not in going and not gone:
                yield entry.path


def _indexed_digest(path: str) -> str:
    """Return the digest in a path such as `.../tags/v1/index/sha256/ab.../link`."""
    algorithm, _, rest = path.rpartition("/index/")[2].partition("/")
    return f"{algorithm}:{rest.partition('/')[0]}"


def _layer_links(storage: Storage, garbage: GarbagePlan) -> Iterator[str]:
    """Yield the path of every layer link whose blob stays."""
    tree = Tree(storage)
    for listing in tree.links(tree.layout().repositories, (LAYERS,)):
        for algorithm, survey in listing.parts[LAYERS].surveys:
            if survey.problem not in ("", "missing"):
                raise RegctlError(f"{survey.path}: {survey.reason or survey.problem}")
            for name, size in zip(survey.names, survey.sizes, strict=True):
                digest = f"{algorithm}:{name}"
                if size not in (_ABSENT, _NO_FILE) and digest not in garbage.blobs:
                    yield layer_path(listing.folder.name, digest)


def needed(storage: Storage, missing: Iterable[str]) -> list[str]:
    """Return those of the missing files that something needs; the blobs must be in their place already.

    The 3.x collector rightly takes a layer link that no manifest of its repository needs, though another
    repository keeps the blob. All else that is missing is needed.
    """
    found, by_repository = [], defaultdict(list)
    for path in missing:
        repository, layer, _rest = path.removeprefix(f"{REPOSITORIES}/").partition(_LAYER_PART)
        if layer:
            by_repository[repository].append(path)
        else:
            found.append(path)
    if by_repository:
        found += _needed_layers(storage, by_repository)
    return sorted(found)


def _needed_layers(storage: Storage, missing: dict[str, list[str]]) -> Iterator[str]:
    tree = Tree(storage)
    layout = tree.layout()
    links = read_links(storage, tree.links([f for f in layout.repositories if f.name in missing], PARTS))
    stored = stored_sizes(tree, layout)
    for name, paths in missing.items():
        roots = links.revisions.get(name, set()) | links.tags.get(name, set())
        manifests, unreadable = parse_all(storage, roots, stored)
        unsure = unreadable or name in links.opaque or name not in links.revisions
        wanted = {
            layer_path(name, reference.digest)
            for manifest in manifests.values()
            for reference in manifest.references
        }
        yield from (path for path in paths if unsure or path in wanted)
