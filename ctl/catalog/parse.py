"""Read manifests and image configs. Nothing they claim is trusted further than it can be checked."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from ctl.catalog.digests import is_digest
from ctl.catalog.model import Descriptor, Manifest, Role

MANIFEST_LIMIT = 4 << 20  # bytes; registries accept no larger one
_DEPTH_LIMIT = 64
_DESCRIPTOR_LIMIT = 10_000
_CONTAINER_LIMIT = 65_536  # objects and lists; keeps a small body from becoming a large document

_IMAGES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    }
)
_INDEXES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
    }
)
_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
_SCHEMA1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
_OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIGS = frozenset(
    {
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.oci.image.config.v1+json",
    }
)
_CREATED = "org.opencontainers.image.created"
_TIME = re.compile(r"(\d{4})-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_EPOCH = 1971  # years before this one are what reproducible builds and zero values write


class ManifestError(Exception):
    """A manifest that cannot be taken; `kind` is the finding's."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def matches(digest: str, data: bytes) -> bool:
    """Say whether the bytes hash to the digest."""
    algorithm, _, hexadecimal = digest.partition(":")
    return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest() == hexadecimal


def parse_manifest(digest: str, payload: bytes) -> Manifest:
    """Read one manifest of any kind; ManifestError says why it cannot be taken.

    References of every known field are taken, whatever the media type says: a collector must rather keep
    too much. `created` is left to the config.
    """
    if not payload:
        raise ManifestError("bad-manifest", "0 bytes")
    document = _document(payload)
    media_type = _text(document, "mediaType")
    version = document.get("schemaVersion")
    references = _references(document)
    kind, media_type = _kind(document, media_type, version)
    return Manifest(
        digest=digest,
        media_type=media_type,
        size=len(payload),
        kind=kind,
        artifact_type=_artifact_type(document, kind),
        created=_annotated(document),
        references=references,
    )


def parse_created(config: bytes) -> str:
    """Return an image config's created time, "" where it says nothing usable.

    ManifestError of kind "bad-config" where the config is no JSON object.
    """
    try:
        document = _document(config)
    except ManifestError as error:
        raise ManifestError("bad-config", error.reason) from error
    return usable_time(document.get("created"))


def usable_time(value: Any) -> str:
    """Return an RFC 3339 time as it stands, or "" for zero values, 1970 and everything else."""
    found = _TIME.match(value) if isinstance(value, str) and len(value) <= 64 else None
    return value if found and int(found[1]) >= _EPOCH else ""


def config_of(manifest: Manifest) -> Descriptor | None:
    """Return the descriptor of an image's config, if it is of a kind that has a created time."""
    for reference in manifest.references:
        if reference.role is Role.CONFIG and reference.media_type in IMAGE_CONFIGS:
            return reference
    return None


def _document(payload: bytes) -> dict[str, Any]:
    containers = payload.count(b"{") + payload.count(b"[")
    if containers > _CONTAINER_LIMIT:
        raise ManifestError("bad-manifest", f"{containers} objects and lists, more than is sane")
    try:
        document = json.loads(payload, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ManifestError("bad-manifest", _short(error)) from error
    if not isinstance(document, dict):
        raise ManifestError("bad-manifest", "not a JSON object")
    if containers > _DEPTH_LIMIT and _depth(document) > _DEPTH_LIMIT:
        raise ManifestError("bad-manifest", f"nested deeper than {_DEPTH_LIMIT}")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:40]!a} stands there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _short(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested deeper than {_DEPTH_LIMIT}"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return str(error)[:200]


def _depth(document: Any) -> int:
    depth, level = 0, [document]
    while level and depth <= _DEPTH_LIMIT:
        depth += 1
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    return depth


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 255 or not value.isprintable():
        raise ManifestError("bad-manifest", f"{key} is no short text")
    return value


def _kind(document: dict[str, Any], media_type: str, version: Any) -> tuple[str, str]:
    """Return (kind, media type); the second is filled in where the document leaves it out."""
    if version == 1 and (media_type in _SCHEMA1 or not media_type):
        return "schema1", media_type or _SCHEMA1_SIGNED
    if media_type == _ARTIFACT:
        return "artifact", media_type
    if version == 2 and type(version) is int:
        if media_type in _IMAGES:
            return "image", media_type
        if media_type in _INDEXES:
            return "index", media_type
        if not media_type and "manifests" in document:
            return "index", _OCI_INDEX
        if not media_type and "config" in document:
            return "image", _OCI_IMAGE
    return "unknown", media_type


def _artifact_type(document: dict[str, Any], kind: str) -> str:
    """Return what an artifact is: its artifactType, else its config's media type unless an image's."""
    named = _text(document, "artifactType")
    if named or kind != "image":
        return named
    config = document.get("config")
    media_type = _text(config, "mediaType") if isinstance(config, dict) else ""
    return "" if media_type in IMAGE_CONFIGS else media_type


def _annotated(document: dict[str, Any]) -> str:
    annotations = document.get("annotations")
    return usable_time(annotations.get(_CREATED)) if isinstance(annotations, dict) else ""


def _references(document: dict[str, Any]) -> tuple[Descriptor, ...]:
    found: list[Descriptor] = []
    if document.get("config") is not None:
        found.append(_descriptor(document["config"], Role.CONFIG))
    for key, role in (("layers", Role.LAYER), ("blobs", Role.LAYER), ("manifests", Role.MANIFEST)):
        found.extend(_descriptor(item, role) for item in _list(document, key))
    for item in _list(document, "fsLayers"):
        if not isinstance(item, dict):
            raise ManifestError("bad-manifest", "an entry of fsLayers is no object")
        found.append(Descriptor(_digest(item.get("blobSum")), Role.LAYER, "", -1))
    if document.get("subject") is not None:
        found.append(_descriptor(document["subject"], Role.SUBJECT))
    return tuple(found)


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ManifestError("bad-manifest", f"{key} is no list")
    if len(value) > _DESCRIPTOR_LIMIT:
        raise ManifestError("bad-manifest", f"{key} has more than {_DESCRIPTOR_LIMIT} entries")
    return value


def _descriptor(value: Any, role: Role) -> Descriptor:
    if not isinstance(value, dict):
        raise ManifestError("bad-manifest", f"the descriptor of a {role} is no object")
    size = value.get("size", -1)
    if type(size) is not int or not -1 <= size < 1 << 63:
        raise ManifestError("bad-manifest", f"the size of a {role} is no whole number of bytes")
    media_type = _text(value, "mediaType")
    if role is Role.LAYER and (
        value.get("urls") or "foreign" in media_type or "nondistributable" in media_type
    ):
        role = Role.FOREIGN
    return Descriptor(_digest(value.get("digest")), role, media_type, size)


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not is_digest(value):
        shown = ascii(value)[:80]
        raise ManifestError("bad-manifest", f"{shown} is no digest that registries store")
    return value
