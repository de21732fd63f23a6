"""Read links and manifests straight from the tree: what a plan lays over the catalog database's answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ctl.catalog.digests import blob_path, unpack
from ctl.catalog.links import Put, changed_links, listed_links, listed_tags
from ctl.catalog.parse import ManifestError, matches, parse_manifest
from ctl.catalog.tree import LAYERS, REPOSITORIES, REVISIONS, TAGS

if TYPE_CHECKING:
    from ctl.catalog.model import Finding, Manifest
    from ctl.catalog.tree import RepositoryListing
    from ctl.storage.base import Storage

MANIFEST_LIMIT = 4 * 1024 * 1024  # bytes; the registry itself takes no larger one
# Findings that hide nothing a repository uses. Any other makes it opaque.
HARMLESS = frozenset(
    {"no-tags-directory", "no-layers-directory", "stray-file", "missing-blob", "wrong-size", "bad-config"}
    | {"schema1-manifest", "unlinked-child", "missing-link"}
)

# What stands behind one of these nobody saw: links of the same repository, or whole repositories.
HIDING = frozenset({"symlink", "unreadable-directory", "unreadable-link"})


@dataclass
class FreshLinks:
    """What the links of some repositories say now, digests in text form.

    `opaque` are the repositories with an entry that could not be read or does not make sense: what is
    linked there may be in use in a way that cannot be seen.
    """

    revisions: dict[str, set[str]] = field(default_factory=dict)
    tags: dict[str, set[str]] = field(default_factory=dict)
    layers: dict[str, set[str]] = field(default_factory=dict)
    opaque: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)  # paths behind which there may be links that nobody saw

    def add(self, more: FreshLinks, *, opaque: set[str]) -> None:
        """Take in further repositories; those named are opaque whatever their links say."""
        self.revisions |= more.revisions
        self.tags |= more.tags
        self.layers |= more.layers
        self.opaque |= more.opaque | opaque
        self.hidden |= more.hidden


def hiding(findings: Iterable[Finding]) -> set[str]:
    """Return the paths of the findings behind which whole folders of links may be."""
    below = f"{REPOSITORIES}/"
    return {f.path for f in findings if f.kind in HIDING and f"{f.path}/".startswith(below)}


def read_links(storage: Storage, listings: Iterable[RepositoryListing]) -> FreshLinks:
    """Read the links of the repositories listed, all parts of each.

    A link that cannot be read still counts by the digest in its path: it may be in use.
    """
    found = FreshLinks()
    for listing in listings:
        name, kinds = listing.folder.name, {finding.kind for finding in listing.folder.findings}
        seen = list(listing.folder.findings)
        revisions = list(listed_links(name, REVISIONS, listing.parts[REVISIONS], seen.append))
        layers = list(listed_links(name, LAYERS, listing.parts[LAYERS], seen.append))
        found.hidden |= hiding(seen)
        kinds |= {finding.kind for finding in seen}
        tags = listed_tags(name, listing.parts[TAGS], _kind_into(kinds))
        for _ in _read_all(storage, revisions, kinds):
            pass  # only what is wrong with them is asked for: their digests are in their paths
        found.revisions[name] = {one.digest for one in revisions}
        found.layers[name] = {one.digest for one in layers}
        found.tags[name] = {unpack(digest) for digest in _read_all(storage, tags, kinds)}
        if any(algorithm != "sha256" for algorithm in listing.folder.layers):
            kinds.add("aliased-blob")  # only the link's content leads to the blob that is in use
        if kinds - HARMLESS or not found.tags[name] <= found.revisions[name]:
            found.opaque.add(name)
    return found


def _kind_into(kinds: set[str]) -> Callable[[Finding], object]:
    return lambda finding: kinds.add(finding.kind)


def _read_all(storage: Storage, listed: Iterable[Any], kinds: set[str]) -> Iterator[bytes]:
    """Yield the digest that each link holds; what is wrong with the others goes into `kinds`."""
    for change in changed_links(storage, listed, (), sure_before_ns=0, note=_kind_into(kinds)):
        if isinstance(change, Put):
            yield change.digest


@dataclass
class ParsedManifests:
    """Manifests read from the tree, and the digests of those that could not be."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)


def parse_stored(storage: Storage, digests: Iterable[str]) -> ParsedManifests:
    """Read and parse manifests by digest; missing, wrong or not understood bytes make one unreadable."""
    result = ParsedManifests()
    wanted = sorted(set(digests))
    contents = storage.read_many((blob_path(d) for d in wanted), MANIFEST_LIMIT)
    for digest, content in zip(wanted, contents, strict=True):
        if not isinstance(content, tuple) or not matches(digest, content[1]):
            result.unreadable.add(digest)
            continue
        try:
            manifest = parse_manifest(digest, content[1])
        except ManifestError:
            result.unreadable.add(digest)
            continue
        if manifest.kind == "unknown":
            result.unreadable.add(digest)
        result.manifests[digest] = manifest
    return result
