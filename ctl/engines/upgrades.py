"""What an engine tells about being upgraded: skew, translated settings, what is no longer served. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from packaging.version import Version

from ctl.engines.base import Engine
from ctl.skew import Skew


@dataclass(frozen=True)
class Change:
    """One change of a configuration, or (without `effect`) something that means something else now."""

    path: str
    what: str
    effect: bool = True


@dataclass(frozen=True)
class Translation:
    """A configuration in the words of another version."""

    settings: dict[str, Any]
    changes: tuple[Change, ...]


class Upgrades(Protocol):
    """What an upgrade has to know of an engine."""

    @property
    def skew(self) -> tuple[Skew, ...]:
        """Which versions may serve side by side."""
        ...

    def translate(self, config: Mapping[str, Any], target: Version) -> Translation:
        """Return a configuration in a version's words; nothing changes where it is in them already."""
        ...

    def translate_text(self, data: bytes, target: Version) -> bytes:
        """Return a file's bytes in a version's words; RefusedError where that cannot be proved."""
        ...

    def by_hand(self, target: Version, service_kind: str) -> Iterable[str]:
        """Say what no configuration file can hold and regctl does not write."""
        ...

    def trial(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a configuration to start a program with for a moment: no storage, no clients, no messages.

        None where the engine has no such thing.
        """
        ...

    def drops(self, current: Version, target: Version) -> tuple[str, ...]:
        """Name the kinds of manifests that the one serves and the other does not."""
        ...


def upgrades_of(engine: Engine) -> Upgrades | None:
    """Return what an engine tells about being upgraded; None where it tells nothing."""
    told = getattr(engine, "upgrades", None)
    return told() if told is not None else None


def translated(engine: Engine, config: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """Return a configuration in the words of a version; as it is where the engine tells nothing."""
    told = upgrades_of(engine)
    return told.translate(config, version).settings if told is not None else dict(config)
