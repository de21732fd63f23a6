"""Which releases of pulp-container brought which work on old content, and which do without it. Pure.

Measured with the releases 2.18.1, 2.20.14, 2.22.13, 2.24.15, 2.26.19, 2.27.14 and 2.30.0, or read in the
code between them; the same database served by 2.24.15 and 2.26.19 gives 200 on a pull, by 2.27.14 500.
"""

from __future__ import annotations

from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

CONTAINER = "container"  # Pulp's own names of its parts
CORE = "core"


@dataclass(frozen=True)
class PreMigration:
    """Work on old content that a release brings, and that can be done long before another one demands it."""

    name: str
    since: Version | None  # the release that brings its fields and the command for it; None: none so far
    needed_in: SpecifierSet | None  # releases that serve nothing without it; None: only fields stay empty
    what: str


PRE_MIGRATIONS: tuple[PreMigration, ...] = (
    PreMigration(
        "image-nature",
        Version("2.19.0"),
        None,
        "labels, annotations, whether an image boots or is a flatpak",
    ),
    PreMigration(
        "artifactless-manifests",
        Version("2.20.0"),
        SpecifierSet(">=2.25"),  # but for 2.26.15 and later of that line: `serves_unprepared`
        "a manifest's text moves from a file into the database",
    ),
    PreMigration(
        "image-details",
        Version("2.22.0"),
        None,
        "an image's type, architecture, operating system and compressed size",
    ),
    PreMigration(
        "artifactless-config-blobs",
        None,
        None,
        "announced in 2024; no release up to 2.30.0 has it",
    ),
)


@dataclass(frozen=True)
class Step:
    """Releases that cannot be led to others at once: the ones between have to be gone through."""

    fewer_than: Version  # of pulpcore, as installed
    at_least: Version  # of pulpcore, as wanted
    through: str


STEPS = (
    Step(
        Version("3.73"),
        Version("3.85"),
        "pulpcore 3.73 (pulp-container 2.24): its migrations know the old and the new history",
    ),
)

# pulp-container releases with the pulpcore that they were tried with
CORES = {
    Version("2.18"): Version("3.49"),
    Version("2.20"): Version("3.49"),
    Version("2.22"): Version("3.63"),
    Version("2.24"): Version("3.73"),
    Version("2.26"): Version("3.85"),
    Version("2.27"): Version("3.105"),
    Version("2.30"): Version("3.123"),
}
# An index without a config blob stopped Pulp's own command in earlier releases of these lines.
FIXED = (
    SpecifierSet(">=2.22.3,<2.23"),
    SpecifierSet(">=2.24.3,<2.25"),
    SpecifierSet(">=2.26.5,<2.27"),
    SpecifierSet(">=2.27"),
)


def serves_unprepared(version: Version) -> bool:
    """Say whether a release still serves a manifest whose text was not moved into the database."""
    if SpecifierSet(">=2.26.15,<2.27").contains(version):
        return True
    return version < Version("2.25")


def has_command(version: Version) -> bool:
    """Say whether a release has Pulp's own command for old content."""
    return version >= Version("2.19")


def is_fixed(version: Version) -> bool:
    """Say whether Pulp's own code of a release goes on after a manifest without a config blob."""
    return any(one.contains(version) for one in FIXED)


def core_of(container: Version) -> Version | None:
    """Return the pulpcore that a release of pulp-container goes with; None where nobody tried it."""
    line = Version(f"{container.major}.{container.minor}")
    known = [core for release, core in sorted(CORES.items()) if release <= line]
    return known[-1] if known else None


def skipped(core: Version, wanted: Version) -> str:
    """Say which release must be gone through on the way from one pulpcore to another; "" for none."""
    for step in STEPS:
        if core < step.fewer_than and wanted >= step.at_least:
            return step.through
    return ""
