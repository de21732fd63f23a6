"""A row of an engine's feature table. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.version import Version


@dataclass(frozen=True)
class Feature:
    """One thing a registry can do. `since` is the first version with it, `until` the first without."""

    name: str
    since: str
    text: str
    backends: tuple[str, ...] = ("filesystem", "database")
    until: str = ""
    seen: bool = False  # on a running program

    def at(self, version: Version) -> bool:
        """Say whether a version has it."""
        return version >= Version(self.since) and not (self.until and version >= Version(self.until))
