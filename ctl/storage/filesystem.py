"""A registry's storage in a local directory. Nothing here writes, and no symbolic link is followed."""

from __future__ import annotations

import errno
import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, cast

from ctl.errors import UnreachableError
from ctl.storage.base import Entry, Failure, Space, Survey
from ctl.storage.survey_worker import read, survey
from ctl.storage.tree_reading import hash_one, scan, stat_one

if TYPE_CHECKING:
    from ctl.storage.survey_pool import Pool
    from ctl.storage.survey_worker import Content
    from ctl.storage.tree_reading import Found

_HASHING = 4  # files hashed at once
_FOLDERS_ALONE = 24  # fewer than these are not worth another process
_FILES_ALONE = 200  # before processes are started for them
_FILES_SHARED = 32  # once they run


class _Pools:
    """The processes of one storage, by what they do: a survey and reads may go on at the same time."""

    def __init__(self, root: str, count: int) -> None:
        self._root = root
        self._count = count
        self._pools: dict[str, Pool] = {}

    def free(self, use: str) -> Pool | None:
        """Return the pool of a use, None where there is to be none or it is busy."""
        if not self._count:
            return None
        if use not in self._pools:
            from ctl.storage.survey_pool import Pool

            self._pools[use] = Pool(self._root, self._count)
        return None if self._pools[use].busy else self._pools[use]

    def running(self, use: str) -> bool:
        """Say whether the processes of a use are there already."""
        return use in self._pools and self._pools[use].running

    def close(self) -> None:
        """End all processes."""
        for pool in self._pools.values():
            pool.close()


class FilesystemStorage:
    """The storage below one root directory.

    `workers` processes share a large survey; 0 keeps everything in this one.
    """

    def __init__(self, root: str, workers: int | None = None) -> None:
        self.root = root
        # More than processors: on a cold cache they wait for the disk, each with a request of its own.
        count = max(4, min(8, os.cpu_count() or 1)) if workers is None else workers
        self._pools = _Pools(root, count)
        weakref.finalize(self, self._pools.close)

    def close(self) -> None:
        """End the processes that read; they come again when they are needed."""
        self._pools.close()

    def exists(self) -> bool:
        """Say whether the root is there at all (an unmounted disk is not)."""
        return os.path.isdir(self.root)

    def list_directory(self, path: str) -> tuple[list[str], list[str]]:
        """Return (directory names, file names) in a directory, each sorted; FileNotFoundError if missing."""
        with self._root() as root:
            _, names, _, _, others, problem, _ = survey(root, path, None)
        if problem == "missing":
            raise FileNotFoundError(errno.ENOENT, "no such directory", self._full(path))
        if problem:
            raise UnreachableError(f"cannot list {self._full(path)}: {problem}")
        return names, [name for name, _ in others]

    def survey(self, requests: Iterable[tuple[str, str | None]]) -> Iterator[Survey]:
        """For each (folder, leaf), in the order given: the folders in it and the stat of `<name>/<leaf>`."""
        source = iter(requests)
        first = list(islice(source, _FOLDERS_ALONE))
        with self._root() as root:
            pool = self._pools.free("survey") if len(first) == _FOLDERS_ALONE else None
            if pool is not None:
                for answer in pool.survey(chain(first, source)):
                    yield Survey(*answer)
                return
            for path, leaf in chain(first, source):
                yield Survey(*survey(root, path, leaf))

    def scan(self, prefix: str) -> Iterator[Entry | Failure]:
        """Every file below a prefix, sorted by path; symbolic links come as a Failure, never followed."""
        with self._root() as root:
            for path, found in scan(root, prefix.rstrip("/")):
                yield entry_of(path, found)

    def stat_many(self, paths: Iterable[str]) -> Iterator[Entry | Failure]:
        """Stat each path, in the order given."""
        with self._root() as root:
            for path in paths:
                yield entry_of(path, stat_one(root, path))

    def read_many(self, paths: Iterable[str], limit: int) -> Iterator[tuple[str, bytes] | Failure]:
        """Read each file whole, in the order given; a file over `limit` bytes comes as a Failure."""
        source = iter(paths)
        alone = _FILES_SHARED if self._pools.running("read") else _FILES_ALONE
        first = list(islice(source, alone))
        with self._root() as root:
            pool = self._pools.free("read") if len(first) == alone else None
            if pool is None:
                for path in chain(first, source):
                    yield _content(path, read(root, path, limit))
                return
            asked: deque[str] = deque()

            def remembered() -> Iterator[str]:
                for path in chain(first, source):
                    asked.append(path)
                    yield path

            for content in pool.read(remembered(), limit):
                yield _content(asked.popleft(), content)

    def hash_many(self, files: Iterable[tuple[str, str]]) -> Iterator[str | Failure]:
        """Hash each (path, algorithm) in the order given, whatever its size; the hash in hex."""
        from concurrent.futures import ThreadPoolExecutor

        with self._root() as root, ThreadPoolExecutor(_HASHING) as pool:
            source = iter(files)
            running = deque(pool.submit(_hash, root, *one) for one in islice(source, 2 * _HASHING))
            while running:
                yield running.popleft().result()
                running.extend(pool.submit(_hash, root, *one) for one in islice(source, 1))

    def space(self) -> Space:
        """Say how much room there is; UnreachableError if the root is not there."""
        try:
            found = os.statvfs(self.root)
        except OSError as error:
            raise self._gone(error) from error
        return Space(
            total_bytes=found.f_frsize * found.f_blocks,
            free_bytes=found.f_frsize * found.f_bavail,
            free_inodes=found.f_favail,
        )

    def _full(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}"

    def _gone(self, error: OSError) -> UnreachableError:
        return UnreachableError(
            f"the storage root {self.root} cannot be read: {error.strerror}",
            hint="is the disk mounted, and is storage.filesystem.rootdirectory right in the site file?",
        )

    @contextmanager
    def _root(self) -> Iterator[int]:
        try:
            handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._gone(error) from error
        try:
            yield handle
        finally:
            os.close(handle)


def entry_of(path: str, found: Found) -> Entry | Failure:
    """Return what was found at a path as a value."""
    first, second = found
    return failed(path, first, second) if isinstance(first, str) else Entry(path, first, cast(int, second))


def failed(path: str, kind: str, reason: object) -> Failure:
    """Return why a path could not be read, as a value."""
    return Failure(path, str(reason), cast(Any, kind))


def _content(path: str, content: Content) -> tuple[str, bytes] | Failure:
    return (path, content) if isinstance(content, bytes) else failed(path, *content)


def _hash(root: int, path: str, algorithm: str) -> str | Failure:
    found = hash_one(root, path, algorithm)
    return found if isinstance(found, str) else failed(path, *found)
