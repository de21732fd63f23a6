"""Look at single files of a tree, hash them, walk below a folder.

It imports the standard library only, and travels to other hosts as it is: see ctl.storage.far_source.
Paths are relative to an open directory; a failure is a pair (kind, reason) as in ctl.storage.base.Failure.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ctl.storage.survey_worker import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    Failed = tuple[str, str]  # kind, reason
    Found = tuple[int, int] | Failed  # size in bytes and mtime in nanoseconds

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not block us
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HASH_CHUNK = 1 << 20


def stat_one(root: int, path: str) -> Found:
    """Return the size and the time of one file; what is no regular file is a failure."""
    try:
        found = os.stat(path, dir_fd=root, follow_symlinks=False)
    except OSError as error:
        return failure(error)
    if stat.S_ISREG(found.st_mode):
        return found.st_size, found.st_mtime_ns
    if stat.S_ISLNK(found.st_mode):
        return "symlink", "a symbolic link"
    return "not-a-file", "not a regular file"


def hash_one(root: int, path: str, algorithm: str) -> str | Failed:
    """Hash one file, in hex. Threads gain here: hashing lets go of the interpreter's lock."""
    import hashlib

    hashed = hashlib.new(algorithm)
    try:
        handle = os.open(path, _READ, dir_fd=root)
        try:
            data = os.read(handle, _HASH_CHUNK)
            while data:
                hashed.update(data)
                data = os.read(handle, _HASH_CHUNK)
        finally:
            os.close(handle)
    except OSError as error:
        return failure(error)
    return hashed.hexdigest()


def scan(root: int, start: str) -> Iterator[tuple[str, Found]]:
    """Yield (path, what was found) of all below a folder; a stack of our own, for a tree may be deep."""
    todo = [start + "/"]
    while todo:
        path = todo.pop()
        if path.endswith("/"):
            below = _names(root, path[:-1])
            if isinstance(below, tuple):
                yield path[:-1], below
                continue
            prefix = "" if path == "/" else path
            todo.extend(prefix + name for name in reversed(below))
            continue
        yield path, stat_one(root, path)


def _names(root: int, path: str) -> list[str] | Failed:
    try:
        folder = os.open(path or ".", _FOLDER, dir_fd=root)
    except OSError as error:
        return failure(error)
    try:
        # A folder sorts as "name/": "a-b" comes before what is in "a", as in a sort of whole paths.
        with os.scandir(folder) as entries:
            found = [(e.name + "/" if e.is_dir(follow_symlinks=False) else e.name) for e in entries]
    except OSError as error:
        return failure(error)
    finally:
        os.close(folder)
    return sorted(found)
