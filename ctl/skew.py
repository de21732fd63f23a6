"""Which versions of one engine may serve side by side, and in which direction one may go. Pure, as data.

A row is a pair of version ranges. What no row names is not known: it is refused until somebody says
otherwise, because two programs that disagree about one storage lose images without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version


@dataclass(frozen=True)
class Skew:
    """Two ranges of versions on one storage (and one database)."""

    older: str
    newer: str
    together: bool  # may serve side by side while nodes are rolled
    why: str
    seen: bool = False  # on running programs

    def covers(self, older: Version, newer: Version) -> bool:
        """Say whether it speaks of this pair."""
        return _in(older, self.older) and _in(newer, self.newer)


@dataclass(frozen=True)
class Judgement:
    """What a table says about a set of versions, or about a step from one to another."""

    allowed: bool
    known: bool
    why: str


def together(table: Iterable[Skew], versions: Iterable[Version]) -> Judgement:
    """Say whether nodes of these versions may serve side by side. One version is always right."""
    distinct = sorted(set(map(release_of, versions)))
    rows = tuple(table)
    said: list[str] = []
    for number, older in enumerate(distinct):
        for newer in distinct[number + 1 :]:
            row = next((one for one in rows if one.covers(older, newer)), None)
            if row is None:
                return Judgement(False, False, f"nothing is known of {older} and {newer} side by side")
            if not row.together:
                return Judgement(False, True, f"{older} and {newer}: {row.why}")
            said.append(row.why)
    return Judgement(True, True, "; ".join(dict.fromkeys(said)))


def step(table: Iterable[Skew], current: Version, target: Version) -> Judgement:
    """Say whether a node may be led from one version to another.

    Down is allowed only within a minor version: what a newer one wrote, an older one need not read.
    """
    now, then = release_of(current), release_of(target)
    if now == then:
        return Judgement(True, True, "")
    if then < now:
        if then.release[:2] == now.release[:2]:
            return Judgement(True, True, "back within one minor version")
        why = f"{then} is older than {now}: a newer program may have written what an older one does not read"
        return Judgement(False, True, why)
    return together(table, (now, then))


def release_of(version: Version) -> Version:
    """Return a version without what a distributor added (2.8.2+ds1 is 2.8.2)."""
    return Version(version.public)


def _in(version: Version, wanted: str) -> bool:
    return SpecifierSet(wanted).contains(version, prereleases=True)
