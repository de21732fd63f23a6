"""Read links and manifests straight from the tree: what a plan lays over the catalog database's answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ctl.catalog.digests import HEX, blob_path, is_digest, revision_path, tag_path
from ctl.catalog.parse import ManifestError, matches, parse_manifest
from ctl.catalog.tree import LAYERS, REVISIONS, TAG, TAGS

if TYPE_CHECKING:
    from ctl.catalog.model import Manifest
    from ctl.catalog.tree import RepositoryListing
    from ctl.storage.base import Storage

MANIFEST_LIMIT = 4 * 1024 * 1024  # bytes; the registry itself takes no larger one
_LINK_LIMIT = 256


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


def read_links(storage: Storage, listings: Iterable[RepositoryListing]) -> FreshLinks:
    """Read the links of the repositories listed: all revisions and tags by content, layers by name."""
    found = FreshLinks()
    wanted: list[tuple[str, str, str]] = []  # repository, digest of the path ("" for a tag), path
    for listing in listings:
        name = listing.folder.name
        _start(found, name, listing)
        wanted += _paths(found, name, listing)
    contents = storage.read_many((path for _, _, path in wanted), _LINK_LIMIT)
    for (name, expected, _path), content in zip(wanted, contents, strict=True):
        text = content[1].decode("ascii", "replace") if isinstance(content, tuple) else ""
        if expected:
            found.revisions[name].add(expected)
        if not is_digest(text) or (expected and text != expected):
            found.opaque.add(name)
        elif not expected:
            found.tags[name].add(text)
    for name, tagged in found.tags.items():
        if not tagged <= found.revisions[name]:
            found.opaque.add(name)
    return found


def _start(found: FreshLinks, name: str, listing: RepositoryListing) -> None:
    found.revisions[name] = set()
    found.tags[name] = set()
    layers = listing.parts.get(LAYERS)
    digests = {f"{a}:{n}" for a, s in (layers.surveys if layers else []) for n in s.names}
    found.layers[name] = {digest for digest in digests if is_digest(digest)}
    if not all(part.readable() for part in listing.parts.values()) or digests - found.layers[name]:
        found.opaque.add(name)


def _paths(found: FreshLinks, name: str, listing: RepositoryListing) -> Iterator[tuple[str, str, str]]:
    """Yield what is to be read of a repository's revisions and tags."""
    for algorithm, survey in listing.parts[REVISIONS].surveys:
        for hexadecimal in survey.names:
            if HEX[algorithm].match(hexadecimal):
                digest = f"{algorithm}:{hexadecimal}"
                yield name, digest, revision_path(name, digest)
            else:
                found.opaque.add(name)
    for _algorithm, survey in listing.parts[TAGS].surveys:
        for tag in survey.names:
            if TAG.match(tag):
                yield name, "", tag_path(name, tag)
            else:
                found.opaque.add(name)


@dataclass
class ParsedManifests:
    """Manifests read from the tree, and the digests of those that could not be."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)


def parse_stored(storage: Storage, digests: Iterable[str]) -> ParsedManifests:
    """Read and parse manifests by digest; one whose bytes are missing, wrong or not understood is unreadable."""
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
