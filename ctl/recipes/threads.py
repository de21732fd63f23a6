"""Several things side by side in threads, a bounded number at a time, which Ctrl-C can still stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

Given = TypeVar("Given")
Got = TypeVar("Got")
_LAST_WORDS = 1.0  # seconds that threads get to notice that they were told to stop at once


def side_by_side(
    tasks: Iterable[Callable[[], None]],
    at_once: int,
    go_on: Callable[[], bool] = lambda: True,
    halt: Callable[[], None] = lambda: None,
) -> None:
    """Call all tasks, `at_once` at a time; a further one only while `go_on` says so.

    Returns when all that were begun have ended; then the first error is raised, and nothing more begins
    after one. An error in this thread itself (a second Ctrl-C) ends the waiting at once, after `halt`.
    """
    ended: SimpleQueue[BaseException | None] = SimpleQueue()
    errors: list[BaseException] = []
    running = 0

    def call(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    def await_one() -> None:
        nonlocal running
        error = ended.get()
        running -= 1
        if error is not None:
            errors.append(error)

    try:
        for task in tasks:
            while running >= at_once:
                await_one()
            if errors or not go_on():
                break
            # Daemons: one that hangs must not keep the process after a second Ctrl-C.
            threading.Thread(target=call, args=(task,), daemon=True, name="regctl-row").start()
            running += 1
        while running:
            await_one()
    except BaseException:
        halt()
        _await_last_words(ended, running)
        raise
    if errors:
        raise errors[0]


def _await_last_words(ended: SimpleQueue[BaseException | None], running: int) -> None:
    deadline = time.monotonic() + _LAST_WORDS
    while running and time.monotonic() < deadline:
        try:
            ended.get(timeout=0.05)
            running -= 1
        except Empty:
            continue


def each(function: Callable[[Given], Got], given: Sequence[Given], at_once: int) -> list[Got]:
    """Call a function for each of the values, `at_once` at a time; return the results in their order."""
    if len(given) == 1:
        return [function(given[0])]
    results: dict[int, Got] = {}

    def task(number: int) -> Callable[[], None]:
        def call() -> None:
            results[number] = function(given[number])

        return call

    side_by_side((task(number) for number in range(len(given))), at_once)
    return [results[number] for number in range(len(given))]
