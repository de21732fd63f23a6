"""What GitLab's importer takes for a digest, a repository's name and a path, where it is not our own rule.

Measured on 4.32.0 (tests/gitlab/test_preflight_cases.py holds each against the real program).
"""

from __future__ import annotations

import re

from ctl.catalog.tree import COMPONENT

HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}
STORABLE = frozenset({"sha256", "sha512"})  # what its database has a number for
FORMAT, LENGTH, UNSUPPORTED = "format", "length", "unsupported"
NAME_LIMIT = 255  # bytes of a repository's whole name

_USUAL = re.compile(r"sha256:[0-9a-f]{64}\Z", re.ASCII)
_HEX = re.compile(r"[0-9a-f]+\Z", re.ASCII)
_ANY_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+\Z", re.ASCII)
_DOMAIN = re.compile(
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]+)?\Z",
    re.ASCII,
)
_PATH_PART = re.compile(r"[A-Za-z0-9._-]+\Z", re.ASCII)


def digest_fault(text: str) -> str:
    """Say what is wrong with a digest: "" nothing, "format" or "unsupported" (skipped), "length" (stops)."""
    if _USUAL.match(text):
        return ""
    algorithm, colon, encoded = text.partition(":")
    if not colon or not algorithm or not encoded:
        return FORMAT
    length = HEX_LENGTH.get(algorithm)
    if length is None:
        return UNSUPPORTED if _ANY_DIGEST.match(text) else FORMAT
    if len(encoded.encode("utf-8", "replace")) != length:
        return LENGTH
    return "" if _HEX.match(encoded) else FORMAT


def storable(digest: str) -> bool:
    """Say whether the metadata database has a number for a sound digest's algorithm."""
    return digest.partition(":")[0] in STORABLE


def path_part(name: str) -> bool:
    """Say whether the storage driver lets a name stand in a path at all."""
    return _PATH_PART.match(name) is not None


def repository_fault(name: str) -> str:
    """Say why the importer stops at a repository of this name; "" where it takes it.

    Its first part may look like a host's name, so `Team/app` passes where `Team` alone does not.
    """
    if len(name.encode("utf-8", "surrogateescape")) > NAME_LIMIT:
        return f"a name of more than {NAME_LIMIT} bytes"
    parts = name.split("/")
    sound = [COMPONENT.match(part) is not None for part in parts]
    if not all(sound[1:]) or not (sound[0] or (len(parts) > 1 and _DOMAIN.match(parts[0]))):
        return "no name that a repository can have"
    return "" if all(path_part(part) for part in parts) else "no path that a storage driver takes"


def blob_path_fault(parts: list[str]) -> str:
    """Say why the importer stops at a file `data` in the folder `parts` below blobs/; "" if it takes it."""
    above = ["docker", "registry", "v2", "blobs", *parts]
    name, parent = above[-1], above[-2]
    if len(name) < 2:
        return "a folder of one letter: the program crashes on it"
    algorithm = above[-3] if parent == name[:2] else parent
    digest = f"{algorithm}:{name}"
    if fault := digest_fault(digest):
        return f"its path says {digest[:90]!a}, no digest ({fault})"
    return "" if storable(digest) else f"{algorithm} is a hash that the database has no number for"
