"""What an entry of a storage looks like, so that a later look tells whether anybody changed it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator

ENTRIES = 200_000  # below one folder; more are not what a registry's tag or repository looks like


def look(path: str) -> str:
    """Return a print of a file, a symbolic link or a whole folder: identities, modes, owners, sizes, times.

    Raises FileNotFoundError where it is not there. A folder's own time counts, what is in it too; bytes are
    not read, since a registry changes none without a new time.
    """
    hashed = hashlib.blake2b(digest_size=16)
    todo = [(path, "")]
    count = 0
    while todo:
        place, name = todo.pop()
        found = os.lstat(place)
        count += 1
        facts = (found.st_ino, found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns)
        size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        hashed.update(repr((name, facts, size)).encode("utf-8", "surrogateescape"))
        if stat.S_ISDIR(found.st_mode) and count < ENTRIES:
            names = sorted(os.listdir(place), reverse=True)
            todo += [(f"{place}/{one}", f"{name}/{one}") for one in names]
    return hashed.hexdigest()


def outermost(entries: Iterable[tuple[str, dict[str, str]]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each entry that lies within no other one, once."""
    last = ""
    for path, about in sorted(entries, key=lambda entry: entry[0].split("/")):
        if not last or (path != last and not path.startswith(last + "/")):
            last = path
            yield path, about
