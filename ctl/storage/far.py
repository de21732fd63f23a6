"""A registry's storage on another host, read over one stream and never file by file. Nothing here writes."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from ctl.errors import UnreachableError
from ctl.storage.base import Entry, Failure, Space, Survey
from ctl.storage.far_talk import GoneError, open_talk
from ctl.storage.filesystem import entry_of, failed

if TYPE_CHECKING:
    from ctl.storage.far_talk import OpenStream, Talk

Request = TypeVar("Request")

_AHEAD = 4  # batches asked for before the first of them is answered
_KEPT = 2  # streams that stay open when nobody reads: a survey and reads go on at the same time
_FOLDERS = (8, 128)  # in the first batch, and at most: requests are taken lazily, and long lines pay
_FILES = (32, 512)
_HASHES = (4, 16)


class FarStorage:
    """The storage below a directory of another host.

    `root` is "HOST:DIRECTORY", so nothing can take it for a folder of this machine; `directory` is the
    path over there. `open_stream` runs a script on that host.
    """

    def __init__(self, directory: str, host: str, open_stream: OpenStream) -> None:
        self.directory = directory
        self.host = host
        self.root = f"{host}:{directory}"
        self._open_stream = open_stream
        self._mutex = Lock()
        self._idle: list[Talk] = []

    def close(self) -> None:
        """End the streams; they come again when they are needed."""
        with self._mutex:
            idle, self._idle = self._idle, []
        for talk in idle:
            talk.close()

    def exists(self) -> bool:
        """Say whether the root is there at all; UnreachableError where the host does not answer."""
        return bool(next(self._one(["exists"])))

    def list_directory(self, path: str) -> tuple[list[str], list[str]]:
        """Return (directory names, file names) in a directory, each sorted; FileNotFoundError if missing."""
        (found,) = self.survey([(path, None)])
        if found.problem == "missing":
            raise FileNotFoundError(errno.ENOENT, "no such directory", f"{self.root}/{path}")
        if found.problem:
            raise UnreachableError(f"cannot list {self.root}/{path}: {found.problem}")
        return found.names, [name for name, _ in found.others]

    def survey(self, requests: Iterable[tuple[str, str | None]]) -> Iterator[Survey]:
        """For each (folder, leaf), in the order given: the folders in it and the stat of `<name>/<leaf>`."""
        for item in self._many(requests, lambda batch: ["survey", batch], _FOLDERS):
            path, names, sizes, mtimes, others, problem, reason = item
            yield Survey(path, names, sizes, mtimes, [(n, k) for n, k in others], problem, reason)

    def scan(self, prefix: str) -> Iterator[Entry | Failure]:
        """Every file below a prefix, sorted by path; symbolic links come as a Failure, never followed."""
        for path, found in self._one(["scan", prefix.rstrip("/")]):
            yield entry_of(path, found)

    def stat_many(self, paths: Iterable[str]) -> Iterator[Entry | Failure]:
        """Stat each path, in the order given."""
        for path, found in self._each(paths, lambda batch: ["stat", batch], _FILES):
            yield entry_of(path, found)

    def read_many(self, paths: Iterable[str], limit: int) -> Iterator[tuple[str, bytes] | Failure]:
        """Read each file whole, in the order given; a file over `limit` bytes comes as a Failure."""
        for path, found in self._each(paths, lambda batch: ["read", limit, batch], _FILES):
            yield (path, found) if isinstance(found, bytes) else failed(path, *found)

    def hash_many(self, files: Iterable[tuple[str, str]]) -> Iterator[str | Failure]:
        """Hash each (path, algorithm) in the order given, over there; the hash in hex."""
        for file, found in self._each(files, lambda batch: ["hash", batch], _HASHES):
            yield found if isinstance(found, str) else failed(file[0], *found)

    def space(self) -> Space:
        """Say how much room there is; UnreachableError if the root is not there."""
        return Space(*next(self._one(["space"])))

    # -- streams ------------------------------------------------------------------------------------

    def take(self) -> Talk:
        """Return a stream that is nobody else's: one that is open, else a new one."""
        with self._mutex:
            if self._idle:
                return self._idle.pop()
        return open_talk(self._open_stream, self.host, self.directory)

    def give_back(self, talk: Talk) -> None:
        """Keep a stream on which nothing is left unanswered for whoever reads next."""
        with self._mutex:
            if len(self._idle) < _KEPT:
                self._idle.append(talk)
                return
        talk.close()

    def _one(self, request: list[Any]) -> Iterator[Any]:
        return self._many([()], lambda _batch: request, (1, 1))

    def _each(
        self, source: Iterable[Request], wrap: Callable[[list[Request]], list[Any]], sizes: tuple[int, int]
    ) -> Iterator[tuple[Request, Any]]:
        """Yield (what was asked, its answer)."""
        asked: deque[Request] = deque()

        def remembered() -> Iterator[Request]:
            for one in source:
                asked.append(one)
                yield one

        for found in self._many(remembered(), wrap, sizes):
            yield asked.popleft(), found

    def _many(
        self, source: Iterable[Request], wrap: Callable[[list[Request]], list[Any]], sizes: tuple[int, int]
    ) -> Iterator[Any]:
        """Ask in batches, some ahead of the answers; the batches grow once answers come."""
        waiting, (size, most) = iter(source), sizes
        reading = _Reading(self)
        try:
            while True:
                while len(reading.asked) < _AHEAD and (batch := list(islice(waiting, size))):
                    reading.ask(wrap(batch))
                if not reading.asked:
                    return
                for items in reading.answer():
                    yield from items
                size = min(2 * size, most)
        except GoneError as gone:
            reading.asked.popleft()  # it was answered; those behind it are not
            raise UnreachableError(
                f"the storage root {self.root} cannot be read: {gone}",
                hint="is the disk mounted, and is storage.filesystem.rootdirectory right in the site file?",
            ) from gone
        finally:
            reading.end()


class _Reading:
    """The requests of one reader on one stream. Begun anew once where it broke and nothing was delivered."""

    def __init__(self, storage: FarStorage) -> None:
        self.asked: deque[list[Any]] = deque()
        self._storage = storage
        self._talk = storage.take()
        self._closed = False
        self._delivered = False
        self._whole = True  # no answer is read in part

    def ask(self, request: list[Any]) -> None:
        self.asked.append(request)
        try:
            self._talk.ask(request)
        except UnreachableError as error:
            self._again(error)

    def answer(self) -> Iterator[list[Any]]:
        """Yield the parts of the next answer; it is asked for no more then."""
        request = self.asked[0]
        try:
            parts = self._talk.receive(request)
            first = next(parts)
        except UnreachableError as error:
            self._again(error)
            parts = self._talk.receive(request)
            first = next(parts)
        self._delivered, self._whole = True, False
        for following in chain(parts, [None]):
            if following is None:  # nothing is left on the stream, whether or not the rest is looked at
                self._whole = True
                self.asked.popleft()
            yield first
            first = following or []

    def _again(self, error: UnreachableError) -> None:
        """Ask all anew over a new stream; raises the error where something was delivered already."""
        self._talk.close()
        self._closed = True
        if self._delivered:
            raise error
        self._delivered = True  # once is enough
        self._storage.close()  # what broke took the others along
        self._talk = self._storage.take()
        self._closed = False
        for request in self.asked:
            self._talk.ask(request)

    def end(self) -> None:
        """Give the stream back, or close it where answers are left that nobody will read."""
        if self._closed:
            return
        if self.asked or not self._whole:
            self._talk.close()
        else:
            self._storage.give_back(self._talk)
