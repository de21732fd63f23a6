"""The catalog: repositories, tags, manifests, blobs and links, as values.

Digests are the text form "sha256:<64 hex>" or "sha512:<128 hex>". Sizes are bytes, times are nanoseconds
since 1970 (a file's mtime) or RFC 3339 text where a document said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a manifest uses another digest as."""

    CONFIG = "config"
    LAYER = "layer"
    MANIFEST = "manifest"  # an index's child
    SUBJECT = "subject"  # what a referrer is about: found through it, not kept by it
    FOREIGN = "foreign"  # a layer with urls, never stored here


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference from a manifest to another digest."""

    digest: str
    role: Role
    media_type: str
    size: int  # as the manifest claims; -1 where it says nothing


@dataclass(frozen=True, slots=True)
class Manifest:
    """One parsed manifest. Immutable: a digest is never parsed twice."""

    digest: str
    media_type: str
    size: int  # of the payload
    kind: str  # "image" | "index" | "schema1" | "artifact" | "unknown"
    artifact_type: str
    created: str  # of the config, RFC 3339 text, "" where it says nothing usable
    references: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored blob (layer, config or manifest payload): `size` is the stored file's."""

    digest: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ManifestLink:
    """`repositories/<repository>/_manifests/revisions/...`: this manifest belongs to this repository."""

    repository: str
    digest: str
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class BlobLink:
    """`repositories/<repository>/_layers/...`: this blob may be read through this repository."""

    repository: str
    digest: str
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag; `mtime_ns` of its current link is when it was last pushed."""

    repository: str
    name: str
    digest: str
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One entry that could not be taken as it stands: recorded and counted, never fatal."""

    path: str  # relative to the storage root
    kind: str  # a short stable word, e.g. "empty-link", listed in docs/reference/findings.md
    reason: str


@dataclass(frozen=True)
class Counts:
    """How much a catalog holds; `bytes` is the sum of the stored blobs' sizes."""

    repositories: int = 0
    tags: int = 0
    manifests: int = 0
    blobs: int = 0
    bytes: int = 0
    problems: int = 0
