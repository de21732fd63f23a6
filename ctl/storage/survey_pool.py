"""A few processes that survey and read one tree, answers in the order of the requests, in bounded memory."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from ctl.errors import TransientError
from ctl.storage import survey_worker
from ctl.storage.survey_worker import receive, send

if TYPE_CHECKING:
    from ctl.storage.survey_worker import Answer, Content

_FOLDERS_AT_ONCE = 8
_FILES_AT_ONCE = 64
_AHEAD = 2  # batches under way for each worker
# More processes than processors pay where they wait for the disk, and only there.
_SLOW_SECONDS = 0.03  # for one batch
_PIPE = 1 << 20  # bytes: every request under way must fit, or both sides could wait for each other

Request = tuple[str, str | None]


class _Worker:
    """One process; it ends when its stdin does, so it cannot outlive us."""

    def __init__(self, root: str) -> None:
        theirs_in, self._ours_out = os.pipe()
        self._ours_in, theirs_out = os.pipe()
        with suppress(OSError):  # a user's pipes may be limited; ordinary requests fit all the same
            fcntl.fcntl(self._ours_out, fcntl.F_SETPIPE_SZ, _PIPE)
            fcntl.fcntl(self._ours_in, fcntl.F_SETPIPE_SZ, _PIPE)  # it works on while we do other things
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", survey_worker.__file__, root],
                {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs_in, 0),
                    (os.POSIX_SPAWN_DUP2, theirs_out, 1),
                ],
                setpgroup=0,  # Ctrl-C on the terminal is ours to handle
                setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
            )
        finally:
            os.close(theirs_in)
            os.close(theirs_out)

    def ask(self, batch: tuple[int | None, list[Any]]) -> None:
        try:
            send(self._ours_out, batch)
        except BrokenPipeError as error:
            raise TransientError("a process that reads the storage tree has ended") from error

    def answer(self) -> list[Any]:
        answers: list[Any] | None = receive(self._ours_in)
        if answers is None:
            raise TransientError("a process that reads the storage tree has ended")
        return answers

    def hang_up(self) -> None:
        os.close(self._ours_out)
        os.close(self._ours_in)

    def wait(self) -> None:
        os.waitpid(self._pid, 0)


class Pool:
    """Up to `count` processes for one tree.

    One stream of requests at a time; a stream left early closes the pool.
    """

    def __init__(self, root: str, count: int) -> None:
        self._root = root
        self._count = count
        self._workers: list[_Worker] = []
        self.busy = False

    @property
    def running(self) -> bool:
        """Whether its processes have been started."""
        return bool(self._workers)

    def survey(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """Yield an answer for each (folder, leaf)."""
        return self._stream(None, requests, _FOLDERS_AT_ONCE)

    def read(self, paths: Iterable[str], limit: int) -> Iterator[Content]:
        """Yield the content of each file, or why there is none."""
        return self._stream(limit, paths, _FILES_AT_ONCE)

    def close(self) -> None:
        """End the processes."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.hang_up()
        for worker in workers:
            worker.wait()

    def _add_workers(self, count: int) -> None:
        for _ in range(min(count, self._count) - len(self._workers)):
            self._workers.append(_Worker(self._root))

    def _stream(self, limit: int | None, requests: Iterable[Any], size: int) -> Iterator[Any]:
        source = iter(requests)
        waiting: deque[tuple[_Worker, int]] = deque()
        self.busy = True
        try:
            yield from self._answers(limit, source, size, waiting)
        except GeneratorExit:
            if waiting:  # answers that nobody will read
                self.close()
            raise
        except BaseException:
            self.close()
            raise
        finally:
            self.busy = False

    def _answers(
        self, limit: int | None, source: Iterator[Any], size: int, waiting: deque[tuple[_Worker, int]]
    ) -> Iterator[Any]:
        if not self._workers:
            self._add_workers(os.cpu_count() or 1)
        turn = 0
        while True:
            while len(waiting) < _AHEAD * len(self._workers) and (batch := list(islice(source, size))):
                worker = self._workers[turn % len(self._workers)]
                worker.ask((limit, batch))
                waiting.append((worker, len(batch)))
                turn += 1
            if not waiting:
                return
            worker, expected = waiting[0]
            while expected:
                asked = time.monotonic()
                answers = worker.answer()
                if time.monotonic() - asked > _SLOW_SECONDS:
                    self._add_workers(self._count)
                expected -= len(answers)
                if not expected:
                    waiting.popleft()  # nothing of this batch is left in the pipe
                yield from answers
