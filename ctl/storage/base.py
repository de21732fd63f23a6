"""What a storage driver can do: read in bulk, and move the few files that a collection needs moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol


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


@dataclass(frozen=True)
class Space:
    """Room in the file system that holds the storage, in bytes and inodes."""

    total_bytes: int
    free_bytes: int
    free_inodes: int


class Storage(Protocol):
    """A registry's storage; paths are relative to its root directory, with "/" between parts."""

    root: str

    def exists(self) -> bool:
        """Say whether the root is there at all (an unmounted disk is not)."""
        ...

    def list_directory(self, path: str) -> tuple[list[str], list[str]]:
        """Return (directory names, file names) in a directory, each sorted; FileNotFoundError if missing."""
        ...

    def scan(self, prefix: str) -> Iterator[Entry | Failure]:
        """Every file below a prefix, sorted by path; symbolic links come as a Failure, never followed."""
        ...

    def stat_many(self, paths: Iterable[str]) -> Iterator[Entry | Failure]:
        """Stat each path, in the order given."""
        ...

    def read_many(self, paths: Iterable[str], limit: int) -> Iterator[tuple[str, bytes] | Failure]:
        """Read each file whole, in the order given; a file over `limit` bytes comes as a Failure."""
        ...

    def space(self) -> Space:
        """Say how much room there is."""
        ...
