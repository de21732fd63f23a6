"""A storage whose bulk reads end at the next answer once nobody wants them any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from ctl.errors import InterruptedRunError

if TYPE_CHECKING:
    from ctl.storage.base import Entry, Failure, Space, Storage, Survey

Answer = TypeVar("Answer")


class Stoppable:
    """The storage behind it, whose bulk reads raise InterruptedRunError as soon as `stopping` says so."""

    def __init__(self, storage: Storage, stopping: Callable[[], bool]) -> None:
        self.root = storage.root
        self._storage = storage
        self._stopping = stopping

    def exists(self) -> bool:
        """Say whether the root is there at all."""
        return self._storage.exists()

    def list_directory(self, path: str) -> tuple[list[str], list[str]]:
        """Return (directory names, file names) in a directory."""
        return self._storage.list_directory(path)

    def scan(self, prefix: str) -> Iterator[Entry | Failure]:
        """Every file below a prefix."""
        return self._until_stopped(self._storage.scan(prefix))

    def survey(self, requests: Iterable[tuple[str, str | None]]) -> Iterator[Survey]:
        """The folders in each folder, and the stat of one leaf in each."""
        return self._until_stopped(self._storage.survey(requests))

    def stat_many(self, paths: Iterable[str]) -> Iterator[Entry | Failure]:
        """Stat each path."""
        return self._until_stopped(self._storage.stat_many(paths))

    def read_many(self, paths: Iterable[str], limit: int) -> Iterator[tuple[str, bytes] | Failure]:
        """Read each file whole."""
        return self._until_stopped(self._storage.read_many(paths, limit))

    def hash_many(self, files: Iterable[tuple[str, str]]) -> Iterator[str | Failure]:
        """Hash each file."""
        return self._until_stopped(self._storage.hash_many(files))

    def space(self) -> Space:
        """Say how much room there is."""
        return self._storage.space()

    def _until_stopped(self, answers: Iterator[Answer]) -> Iterator[Answer]:
        # What is left unread goes with the iterator: the storage then ends the processes that answer.
        for answer in answers:
            if self._stopping():
                raise InterruptedRunError("the look over the storage was given up")
            yield answer
