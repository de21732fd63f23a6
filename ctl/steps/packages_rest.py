"""Nobody changes the packages of a host just now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import ClassVar

from ctl.recipes.model import Look, Problem, Target

CHECK = "package-manager"
_CHANGERS = frozenset(
    {
        *("apt", "apt-get", "aptitude", "dpkg", "unattended-upgrade", "unattended-upgrades"),
        *("dnf", "dnf-3", "dnf5", "dnf-automatic", "microdnf", "yum", "rpm", "zypper"),
        *("foreman-installer", "satellite-installer", "foreman-maintain", "satellite-maintain"),
    }
)
_INTERPRETERS = ("python", "platform-python", "perl", "ruby", "sh", "bash", "dash")
_READING = frozenset({"list", "info", "search", "--version", "--help", "-q", "-qa", "-l", "-s", "-L"})


class PackagesRest(Look):
    """Refuse a host whose packages are being changed: an update may take away what is at work."""

    host_name: str

    skippable: ClassVar[tuple[str, ...]] = (CHECK,)

    def title(self) -> str:
        """Name the host."""
        return f"see that nobody changes packages on {self.host_name}"

    def host(self) -> str:
        """The host."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """Look at the host's processes."""
        found = [one for one in here.world.host(self.host_name).processes() if changes_packages(one.argv)]
        for one in found[:1]:
            yield Problem(
                f"{self.host_name}: {' '.join(one.argv)[:120]} is at work (process {one.pid})",
                hint="wait until it has ended",
                name=CHECK,
            )


def changes_packages(argv: tuple[str, ...]) -> bool:
    """Say whether a process is one that changes packages, by its command line."""
    words = list(argv)
    while words and (
        os.path.basename(words[0]).rstrip("0123456789.") in _INTERPRETERS or words[0].startswith("-")
    ):
        words.pop(0)
    if not words or os.path.basename(words[0]) not in _CHANGERS:
        return False
    return not _READING & set(words[1:])
