"""Damage a storage tree at random, in the ways that disks, crashes and hands do; repeatable by its seed."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

Act = Callable[[Path, random.Random], str]
_V2 = "docker/registry/v2"


def damage(root: Path, chance: random.Random, count: int) -> list[str]:
    """Do `count` things to a tree; return what was done, for a failing test's words."""
    return [chance.choice(ACTS)(root, chance) for _ in range(count)]


def _pick(root: Path, chance: random.Random, pattern: str) -> Path | None:
    found = sorted(path for path in (root / _V2).glob(pattern) if path.is_file())
    return chance.choice(found) if found else None


_TAG = "repositories/**/_manifests/tags/*/current/link"
_REVISION = "repositories/**/_manifests/revisions/sha256/*/link"
_LAYER = "repositories/**/_layers/sha256/*/link"
_BLOB = "blobs/sha256/*/*/data"


def _contents(pattern: str) -> Act:
    def act(root: Path, chance: random.Random) -> str:
        path = _pick(root, chance, pattern)
        if path is None:
            return "nothing"
        before = path.read_bytes()
        choices = (
            b"",
            before + b"\n",
            before[:-1],
            b"garbage",
            b"sha256:" + before[7:].upper(),
            b"md5:abc",
            b"sha256:" + b"0" * 64,
            before[::-1],
        )
        data = chance.choice(choices)
        path.write_bytes(data)
        return f"{path}: {data!r}"

    return act


def _removed(pattern: str) -> Act:
    def act(root: Path, chance: random.Random) -> str:
        path = _pick(root, chance, pattern)
        if path is None:
            return "nothing"
        if chance.random() < 0.3:
            shutil.rmtree(path.parent)
            return f"{path.parent} removed"
        path.unlink()
        return f"{path} removed"

    return act


def _swapped(pattern: str) -> Act:
    def act(root: Path, chance: random.Random) -> str:
        one, other = _pick(root, chance, pattern), _pick(root, chance, pattern)
        if one is None or other is None:
            return "nothing"
        one.write_bytes(other.read_bytes())
        return f"{one} = {other}"

    return act


def _cut(root: Path, chance: random.Random) -> str:
    path = _pick(root, chance, _BLOB)
    if path is None:
        return "nothing"
    size = path.stat().st_size
    os.truncate(path, chance.choice((0, size // 2, max(size - 1, 0))))
    return f"{path} cut"


def _edited(root: Path, chance: random.Random) -> str:
    """Change words in a manifest: it is still read, and says something else."""
    manifests = sorted(
        path
        for path in (root / _V2).glob(_BLOB)
        if path.is_file() and b'"schemaVersion"' in path.read_bytes()
    )
    if not manifests:
        return "nothing"
    path = chance.choice(manifests)
    old, new = chance.choice(
        (
            (b'"schemaVersion": 2', b'"schemaVersion": 1'),
            (b'"schemaVersion": 2', b'"SchemaVersion": 7'),
            (b'"mediaType": "application/vnd', b'"mediaType": "application/x-vnd'),
            (b'"size": ', b'"size": "'),
            (b'"digest": "sha256:', b'"digest": "sha256:0'),
            (b'"digest": "sha256:', b'"digest": "md5:'),
            (b'"layers"', b'"LAYERS"'),
            (b'"layers"', b'"other"'),
            (b'"config"', b'"nothing"'),
            (b'"manifests"', b'"Manifests"'),
        )
    )
    data = path.read_bytes()
    path.write_bytes(data.replace(old, new, chance.choice((1, -1))))
    return f"{path}: {old!r} -> {new!r}"


def _stray(root: Path, chance: random.Random) -> str:
    folders = sorted(path for path in (root / _V2).rglob("*") if path.is_dir())
    folder = chance.choice(folders)
    name = chance.choice((".DS_Store", ".nfs0001", "README", "_note", "data", "link", "a b"))
    path = folder / name
    if not path.exists():
        path.write_bytes(b"stray")
    return f"{path} written"


def _odd_folder(root: Path, chance: random.Random) -> str:
    folders = sorted(path for path in (root / _V2).rglob("*") if path.is_dir())
    path = chance.choice(folders) / chance.choice(("UPPER", "a b", "_manifests", "x", "tags", "-dash"))
    path.mkdir(exist_ok=True)
    return f"{path} made"


def _linked_folder(root: Path, chance: random.Random) -> str:
    """Move a folder to another place and leave a symbolic link to it, as a full disk makes people do."""
    folders = sorted(path for path in (root / _V2).rglob("*") if path.is_dir() and not path.is_symlink())
    path = chance.choice(folders)
    place = root / f"elsewhere-{len(list(root.iterdir()))}"
    path.rename(place)
    path.symlink_to(place)
    return f"{path} -> {place}"


ACTS: tuple[Act, ...] = (
    _linked_folder,
    _contents(_TAG),
    _contents(_REVISION),
    _contents(_LAYER),
    _removed(_TAG),
    _removed(_REVISION),
    _removed(_LAYER),
    _removed(_BLOB),
    _swapped(_TAG),
    _swapped(_REVISION),
    _swapped(_LAYER),
    _cut,
    _edited,
    _edited,
    _stray,
    _odd_folder,
)
