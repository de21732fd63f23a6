"""Merge sorted streams: how two readings of a registry are held against each other in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

Left = TypeVar("Left")
Right = TypeVar("Right")
Item = TypeVar("Item")


class Grouped(Generic[Item]):
    """A stream sorted by a name, taken group by group; only one group is in memory."""

    def __init__(self, stream: Iterable[Item], name: Callable[[Item], str]) -> None:
        self._stream = iter(stream)
        self._name = name
        self._head = next(self._stream, None)

    def next_name(self) -> str | None:
        """Return the name of the next group, None at the end."""
        return None if self._head is None else self._name(self._head)

    def take(self, name: str) -> list[Item]:
        """Return the group of that name, [] where the next group has another one."""
        found: list[Item] = []
        while self._head is not None and self._name(self._head) == name:
            found.append(self._head)
            self._head = next(self._stream, None)
        return found


def merged(
    left: Iterable[Left],
    right: Iterable[Right],
    left_key: Callable[[Left], str],
    right_key: Callable[[Right], str],
) -> Iterator[tuple[Left | None, Right | None]]:
    """Pair two streams sorted by key; None where one side has nothing."""
    ours, theirs = iter(left), iter(right)
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        if other is None or (one is not None and left_key(one) < right_key(other)):
            yield one, None
            one = next(ours, None)
        elif one is None or right_key(other) < left_key(one):
            yield None, other
            other = next(theirs, None)
        else:
            yield one, other
            one, other = next(ours, None), next(theirs, None)


def together(*streams: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield (key, row or None of each stream); each stream is sorted by its rows' first column."""
    heads = [next(stream, None) for stream in streams]
    while keys := [bytes(head[0]) for head in heads if head is not None]:
        key = min(keys)
        row: list[Any] = [key]
        for index, head in enumerate(heads):
            if head is not None and bytes(head[0]) == key:
                row.append(head)
                heads[index] = next(streams[index], None)
            else:
                row.append(None)
        yield tuple(row)
