"""Digests between their text form and the bytes that the catalog database stores."""

from __future__ import annotations

import re

_ALGORITHMS = {"sha256": (1, 64), "sha512": (2, 128), "sha384": (3, 96)}
_NAMES = {number: name for name, (number, _) in _ALGORITHMS.items()}
_PREFIX = {name: bytes((number,)) for name, (number, _) in _ALGORITHMS.items()}
HEX = {name: re.compile(f"[0-9a-f]{{{length}}}\\Z") for name, (_, length) in _ALGORITHMS.items()}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z|sha512:[0-9a-f]{128}\Z|sha384:[0-9a-f]{96}\Z")


def is_digest(text: str) -> bool:
    """Say whether a text is a digest as registries store it: lower-case sha256, sha384 or sha512."""
    return _DIGEST.match(text) is not None


def pack(digest: str) -> bytes:
    """Return the stored form: one byte for the algorithm, then the hash."""
    algorithm, _, hexadecimal = digest.partition(":")
    return _PREFIX[algorithm] + bytes.fromhex(hexadecimal)


def unpack(stored: bytes) -> str:
    """Return the text form of a stored digest."""
    return f"{_NAMES[stored[0]]}:{stored[1:].hex()}"


def prefix(algorithm: str, digits: str = "") -> bytes:
    """Return what the stored form of every digest of an algorithm (and first hex digits) begins with."""
    return _PREFIX[algorithm] + bytes.fromhex(digits)


def blob_path(digest: str) -> str:
    """Return where a blob's bytes lie, relative to the storage root."""
    algorithm, _, hexadecimal = digest.partition(":")
    return f"docker/registry/v2/blobs/{algorithm}/{hexadecimal[:2]}/{hexadecimal}/data"


def revision_path(repository: str, digest: str) -> str:
    """Return where the link lies that makes a manifest part of a repository."""
    algorithm, _, hexadecimal = digest.partition(":")
    return f"docker/registry/v2/repositories/{repository}/_manifests/revisions/{algorithm}/{hexadecimal}/link"


def layer_path(repository: str, digest: str) -> str:
    """Return where the link lies that lets a blob be read through a repository."""
    algorithm, _, hexadecimal = digest.partition(":")
    return f"docker/registry/v2/repositories/{repository}/_layers/{algorithm}/{hexadecimal}/link"


def tag_path(repository: str, tag: str) -> str:
    """Return where a tag's current link lies."""
    return f"docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}/current/link"
