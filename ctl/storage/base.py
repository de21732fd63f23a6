"""What a storage driver can do: read in bulk, and move the few files that a collection needs moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in storage: path relative to the storage root, size in bytes, mtime in nanoseconds."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A path that could not be read, and why (the operating system's words)."""

    path: str
    reason: str
    kind: Literal["missing", "symlink", "not-a-file", "too-large", "unreadable"] = "unreadable"


@dataclass(slots=True)
class Survey:
    """The folders in one folder and, where a leaf was asked for, the stat of that one file in each.

    `names` is sorted; `sizes` and `mtimes_ns` run beside it and are empty where no leaf was asked for.
    A size of -1 says that the leaf is not there, -2 that it is a symbolic link, -3 that it is no file,
    -4 that it cannot be looked at (`reason` says why for the last of these). `others` are the entries
    that are no folders: (name, "file" | "symlink" | "other"). `problem` is "" or why the folder itself
    could not be listed, "missing" where it is not there.
    """

    path: str
    names: list[str]
    sizes: list[int] = field(default_factory=list)
    mtimes_ns: list[int] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)
    problem: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Space:
    """Room in the file system that holds the storage, in bytes and inodes."""

    total_bytes: int
    free_bytes: int
    free_inodes: int


class Storage(Protocol):
    """A registry's storage; paths are relative to its root directory, with "/" between parts.

    A folder that is a symbolic link is not followed, unless "/." after it asks for that: `tags/.` to survey
    it, `tags/./link` to read what is in it. A file that is one is never followed.
    """

    root: str  # as people and the catalog know it: HOST:DIRECTORY where it is on another host

    def exists(self) -> bool:
        """Say whether the root is there at all (an unmounted disk is not)."""
        ...

    def list_directory(self, path: str) -> tuple[list[str], list[str]]:
        """Return (directory names, file names) in a directory, each sorted; FileNotFoundError if missing."""
        ...

    def scan(self, prefix: str) -> Iterator[Entry | Failure]:
        """Every file below a prefix, sorted by path; symbolic links come as a Failure, never followed."""
        ...

    def survey(self, requests: Iterable[tuple[str, str | None]]) -> Iterator[Survey]:
        """For each (folder, leaf), in the order given: the folders in it and the stat of `<name>/<leaf>`.

        A leaf of None asks for the names alone. It is the one bulk reader: a registry's whole tree is a
        few requests for each repository, however many links they hold.
        """
        ...

    def stat_many(self, paths: Iterable[str]) -> Iterator[Entry | Failure]:
        """Stat each path, in the order given."""
        ...

    def read_many(self, paths: Iterable[str], limit: int) -> Iterator[tuple[str, bytes] | Failure]:
        """Read each file whole, in the order given; a file over `limit` bytes comes as a Failure."""
        ...

    def hash_many(self, files: Iterable[tuple[str, str]]) -> Iterator[str | Failure]:
        """Hash each (path, algorithm) in the order given, whatever its size; the hash in hex."""
        ...

    def space(self) -> Space:
        """Say how much room there is."""
        ...


def directory_of(storage: Storage) -> str:
    """Return the root as the host that holds it spells it: for programs that run over there."""
    found: str = getattr(storage, "directory", storage.root)
    return found
