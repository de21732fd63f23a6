"""Let a few processes survey one tree, answers in the order of the requests, in bounded memory."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from ctl.errors import TransientError
from ctl.storage import survey_worker
from ctl.storage.survey_worker import Answer, receive, send

_BATCH = 4  # folders in one message: small enough that every request fits into a pipe
_AHEAD = 2  # batches under way for each worker

Request = tuple[str, str | None]


class _Worker:
    """One process; it ends when its stdin does, so it cannot outlive us."""

    def __init__(self, root: str) -> None:
        theirs_in, self._ours_out = os.pipe()
        self._ours_in, theirs_out = os.pipe()
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

    def ask(self, batch: list[Request]) -> None:
        try:
            send(self._ours_out, batch)
        except BrokenPipeError as error:
            raise TransientError("a process that reads the storage tree has ended") from error

    def answer(self) -> list[Answer]:
        answers: list[Answer] | None = receive(self._ours_in)
        if answers is None:
            raise TransientError("a process that reads the storage tree has ended")
        return answers

    def close(self) -> None:
        os.close(self._ours_out)
        os.close(self._ours_in)
        os.waitpid(self._pid, 0)


def survey_in_processes(root: str, requests: Iterable[Request], count: int) -> Iterator[Answer]:
    """Yield an answer for each request, in order; the processes end with the iterator.

    Raises TransientError if one of them dies, and whatever reading `requests` raises.
    """
    source = iter(requests)
    workers: list[_Worker] = []
    waiting: deque[_Worker] = deque()
    try:
        workers.extend(_Worker(root) for _ in range(count))
        turn = 0
        while True:
            while len(waiting) < _AHEAD * count and (batch := list(islice(source, _BATCH))):
                workers[turn % count].ask(batch)
                waiting.append(workers[turn % count])
                turn += 1
            if not waiting:
                return
            yield from waiting.popleft().answer()
    finally:
        for worker in workers:
            worker.close()
