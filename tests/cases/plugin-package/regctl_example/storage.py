"""A storage driver without a disk."""

from __future__ import annotations

from collections.abc import Iterator

from ctl.config.models import Model
from ctl.storage.base import Entry, Space


class BoardSettings(Model):
    """What the site says of a board."""

    files: list[str]


class Board:
    """A list of names, as a storage."""

    site_model = BoardSettings
    root = "board"

    def __init__(self, files: list[str]) -> None:
        self._files = files

    def exists(self) -> bool:
        return True

    def scan(self, prefix: str) -> Iterator[Entry]:
        return (Entry(name, len(name), 0) for name in sorted(self._files) if name.startswith(prefix))

    def space(self) -> Space:
        return Space(1000, 500, 50)
