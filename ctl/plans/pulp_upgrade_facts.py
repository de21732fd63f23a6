"""How a Pulp's hosts stand before an upgrade, with what the release table says of them: values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from packaging.version import Version


@dataclass(frozen=True)
class PulpHost:
    """One host. `remaining` None: its database has not the fields yet, and nothing is prepared."""

    host: str
    role: str = "server"
    container: Version | None = None  # installed; None: nobody could tell
    core: Version | None = None
    total: int = 0  # manifests
    remaining: int | None = 0  # that some pre-migration still has to do
    doable: int = 0  # of these, what can be done now
    unserved: int | None = 0  # whose text is in a file only; None: of all of them
    hindered: Mapping[str, int] = field(default_factory=dict)  # cannot be done, by the reason
    seconds: float | None = None  # that preparing takes; None: nobody can tell
    pending: tuple[str, ...] = ()  # migrations of the installed release that are not applied
    history: str = ""  # why its migrations contradict each other
    remedy: str = ""  # what to do about that
    newer: tuple[str, ...] = ()  # migrations of a newer release than the installed one
    live: tuple[str, ...] = ()  # processes that live and run another release than the installed one
    services: tuple[str, ...] = ()  # of the site, in the order they start in
    reindex: bool = False  # whether Katello is told afterwards
    serves_unprepared: bool = True  # its installed release
    fixed: bool = True  # its release's own code goes on after a manifest without a config blob
    can_prepare: bool = True  # its release has the code for it
    through: str = ""  # what must be gone through on the way from it to the target
    unreachable: str = ""  # why nothing is known

    @property
    def at_risk(self) -> int:
        """How many manifests a release that serves nothing unprepared would fail on."""
        return self.total if self.unserved is None or self.remaining is None else self.unserved

    @property
    def stuck(self) -> int:
        """How many are left that cannot be done."""
        return max(0, (self.remaining or 0) - self.doable)


@dataclass(frozen=True)
class PulpFacts:
    """Everything that a plan is made from."""

    registry: str
    target: Version  # of pulp-container
    hosts: tuple[PulpHost, ...]
    target_core: str = ""  # the pulpcore that it goes with, in words
    target_serves: bool = True  # whether it serves what is not prepared
    target_tried: bool = True  # whether its line is one that these rules were measured with
    target_repairs: bool = False  # whether a sync with it fetches lost text again
    brings: tuple[str, ...] = ()  # pre-migrations that begin with it
    skips: Mapping[str, str] = field(default_factory=dict)  # blocks that are passed over, and why


def is_done(host: PulpHost, target: Version) -> bool:
    """Say whether the target, or a release that counts as it, is installed."""
    return host.container is not None and host.container.release == target.release
