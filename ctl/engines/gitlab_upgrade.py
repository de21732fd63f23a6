"""Which versions of GitLab's registry go together, and what an upgrade of it has to know. Pure.

Facts from its change log and its documentation of migrations: a program serves on with a database that is
migrated further than it knows, and refuses to start where pre-deployment migrations are pending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from packaging.version import Version

from ctl.engines.upgrades import Translation
from ctl.skew import Skew

SKEW = (
    Skew(
        ">=4,<5",
        ">=4,<5",
        True,
        "an older program serves on with the newer one's pre-deployment migrations; those after the "
        "deployment wait until no older one runs",
    ),
    Skew(">=3,<4", ">=3,<4", True, "as within 4.x"),
)


class GitlabUpgrade:
    """What an upgrade of GitLab's registry needs to know. Its file is the same for every version here."""

    skew = SKEW

    def translate(self, config: Mapping[str, Any], target: Version) -> Translation:
        """Return the configuration as it is."""
        return Translation(dict(config), ())

    def translate_text(self, data: bytes, target: Version) -> bytes:
        """Return the bytes as they are."""
        return data

    def by_hand(self, target: Version, service_kind: str) -> Iterable[str]:
        """Nothing that regctl knows of."""
        return ()

    def trial(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """None: it would log in to its database, and its migrations are looked at instead."""
        return None

    def drops(self, current: Version, target: Version) -> tuple[str, ...]:
        """Nothing from 3.0.0 on."""
        return ()
