"""The two lock files with which GitLab's registry marks whose a storage is.

`<rootdirectory>/docker/registry/lockfiles/{database,filesystem}-in-use`; that a file is there is all that
counts, its content is `{"version":1}`. Who writes and removes them: docs/reference/lockfiles.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctl.storage.base import Storage

FOLDER = "docker/registry/lockfiles"
DATABASE = "database-in-use"
FILESYSTEM = "filesystem-in-use"
CONTENT = b'{"version":1}'  # byte for byte what GitLab's registry 4.32 writes


@dataclass(frozen=True)
class LockFiles:
    """Which of the two are there. `odd` names what stands in the place of one and is no file.

    The registry takes a directory there for an absent lock, so `odd` counts as absent.
    """

    database_in_use: bool = False
    filesystem_in_use: bool = False
    odd: tuple[str, ...] = ()

    def describe(self) -> str:
        """Say in a few words which are there."""
        names = [
            name
            for name, there in ((DATABASE, self.database_in_use), (FILESYSTEM, self.filesystem_in_use))
            if there
        ]
        return " and ".join(names) or "no lock file"


def lock_path(name: str) -> str:
    """Return the path of a lock file, relative to the storage's root directory."""
    return f"{FOLDER}/{name}"


def read_lock_files(storage: Storage) -> LockFiles:
    """Look for the lock files; reads only.

    UnreachableError if the storage, or the folder of the lock files, cannot be read: nothing is known then.
    """
    try:
        folders, files = storage.list_directory(FOLDER)
    except FileNotFoundError:
        return LockFiles()  # no registry has ever locked this storage
    odd = tuple(name for name in folders if name in (DATABASE, FILESYSTEM))
    return LockFiles(DATABASE in files, FILESYSTEM in files, odd)
