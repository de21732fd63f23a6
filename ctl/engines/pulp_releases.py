"""Which releases of pulp-container brought which work on old content, and which do without it. Pure.

Measured with the releases 2.18.1, 2.20.14, 2.22.13, 2.24.15, 2.26.19, 2.27.14 and 2.30.0, or read in the
code between them. Of a manifest whose text was not moved, 2.24.15 and 2.26.19 serve the file; 2.27.14 answers
with 200, the right digest in a header, and a body of no bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

CONTAINER = "container"  # Pulp's own names of its parts
CORE = "core"


def version_of(text: str | None) -> Version | None:
    """Read what a host says of itself; None where it says nothing, or nothing that is a version."""
    try:
        return Version(text) if text else None
    except InvalidVersion:
        return None


@dataclass(frozen=True)
class PreMigration:
    """Work on old content that a release brings, and that can be done long before another one demands it."""

    name: str
    since: Version | None  # the release that brings its fields and the command for it; None: none so far
    what: str


PRE_MIGRATIONS: tuple[PreMigration, ...] = (
    PreMigration(
        "image-nature",
        Version("2.19.0"),
        "labels, annotations, whether an image boots or is a flatpak",
    ),
    PreMigration(
        "artifactless-manifests",
        Version("2.20.0"),
        "a manifest's text moves from a file into the database",
    ),
    PreMigration(
        "image-details",
        Version("2.22.0"),
        "an image's type, architecture, operating system and compressed size",
    ),
    PreMigration(
        "artifactless-config-blobs",
        None,
        "announced in 2024; no release up to 2.30.0 has it",
    ),
)


@dataclass(frozen=True)
class Step:
    """Releases that cannot be led to others at once: the ones between have to be gone through."""

    fewer_than: Version  # of pulpcore, as its migrations left the database
    at_least: Version  # of pulpcore, as wanted
    through: str


# pulpcore 3.69 brings one migration in the place of 90, and knows both; 3.85 drops the 90. Whoever was not
# migrated by a release between has a history that 3.85 does not know (seen: 3.49 and 3.63 to 3.85).
STEPS = (
    Step(
        Version("3.69"),
        Version("3.85"),
        "pulpcore 3.73 (pulp-container 2.24), or another from 3.69 to 3.84: its migrations know the old and "
        "the new history",
    ),
)


@dataclass(frozen=True)
class Line:
    """A line of pulp-container: the pulpcore that its releases demand, and the one it was tried with."""

    demands: SpecifierSet
    tried: Version | None  # None: its package was read, and it was not run


# As the packages say themselves; the latest release of each line was read (tests/cases/pulp).
LINES = {
    Version("2.18"): Line(SpecifierSet(">=3.43,<3.55"), Version("3.49")),
    Version("2.19"): Line(SpecifierSet(">=3.49,<3.55"), None),
    Version("2.20"): Line(SpecifierSet(">=3.49,<3.55"), Version("3.49")),
    Version("2.21"): Line(SpecifierSet(">=3.49,<3.70"), None),
    Version("2.22"): Line(SpecifierSet(">=3.49,<3.70"), Version("3.63")),
    Version("2.23"): Line(SpecifierSet(">=3.49,<3.85"), None),
    Version("2.24"): Line(SpecifierSet(">=3.73,<3.85"), Version("3.73")),
    Version("2.25"): Line(SpecifierSet(">=3.73.2,<3.85"), None),
    Version("2.26"): Line(SpecifierSet(">=3.73.2,<3.100"), Version("3.85")),
    Version("2.27"): Line(SpecifierSet(">=3.73.2,<3.115"), Version("3.105")),
    Version("2.28"): Line(SpecifierSet(">=3.111,<3.130"), None),
    Version("2.29"): Line(SpecifierSet(">=3.118,<3.130"), None),
    Version("2.30"): Line(SpecifierSet(">=3.118,<3.130"), Version("3.123")),
}
# The number of the last migration of pulpcore's own, and the first release that has it, of those read.
LEAVES = {
    117: Version("3.49"),
    123: Version("3.63"),
    125: Version("3.66"),
    126: Version("3.69"),
    127: Version("3.70"),
    130: Version("3.73"),
    132: Version("3.80"),
    135: Version("3.84"),
    138: Version("3.85"),
    145: Version("3.105"),
    161: Version("3.123"),
}
# An image without a config blob stopped Pulp's own command: from 2.22, which looks into it, until these.
FIXED = (
    SpecifierSet("<2.22"),
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


def repairs_by_sync(version: Version) -> bool:
    """Say whether a sync with a release fetches the text of a manifest that has lost it (2.27.14: read)."""
    return any(
        SpecifierSet(line).contains(version) for line in (">=2.26.15,<2.27", ">=2.27.10,<2.28", ">=2.28.1")
    )


def has_command(version: Version) -> bool:
    """Say whether a release has Pulp's own command for old content."""
    return version >= Version("2.19")


def is_fixed(version: Version) -> bool:
    """Say whether Pulp's own code of a release goes on after a manifest without a config blob."""
    return any(one.contains(version) for one in FIXED)


def line_of(container: Version) -> Line | None:
    """Return the line that a release of pulp-container belongs to; None where nobody read it."""
    return LINES.get(Version(f"{container.major}.{container.minor}"))


def was_tried(container: Version) -> bool:
    """Say whether these tables were measured with the line of a release, and not only read."""
    line = line_of(container)
    return line is not None and line.tried is not None


def core_of(container: Version) -> Version | None:
    """Return the line of pulpcore that a release of pulp-container goes with; None where nobody knows.

    Where its line was not tried: the oldest pulpcore that it demands. A later line is judged like the last.
    """
    line = line_of(container)
    if line is None:
        newer = container > max(LINES)
        line = LINES[max(LINES)] if newer else None
    if line is None or line.tried is not None:
        return line.tried if line is not None else None
    return min(Version(one.version) for one in line.demands if one.operator == ">=")


def core_text(container: Version) -> str:
    """Say which pulpcore a release of pulp-container goes with, "" where nobody knows."""
    line = line_of(container)
    if line is None:
        return ""
    demands = ", ".join(sorted((str(one) for one in line.demands), reverse=True))
    return f"pulpcore {line.tried}.* (it takes {demands})" if line.tried else f"pulpcore {demands}"


def left_by(migration: str) -> Version | None:
    """Return the line of pulpcore whose last migration this is, or follows; None before 3.49."""
    head = migration.partition("_")[0]
    known = [core for number, core in LEAVES.items() if head.isdigit() and number <= int(head)]
    return max(known, default=None)


def goes_with(core: Version) -> str:
    """Name the lines of pulp-container that go with a line of pulpcore, "" for none that was read."""
    lines = [line for line, known in LINES.items() if known.demands.contains(Version(f"{core}.99"))]
    if not lines:
        return ""
    return str(lines[0]) if len(lines) == 1 else f"{lines[0]} to {lines[-1]}"


def skipped_releases(container: Version, core: Version | None, target: Version) -> str:
    """Say which release must be gone through from one pulp-container to another; "" for none.

    `core` is what is installed with the first one. What has to be prepared, and has no code for it yet,
    must stop at a release that has it and still serves what is not prepared.
    """
    wanted = core_of(target)
    if core is not None and wanted is not None and (through := skipped(core, wanted)):
        return through
    if container < Version("2.20") and not serves_unprepared(target):
        return "pulp-container 2.24: it prepares content, and serves what is not prepared meanwhile"
    return ""


def skipped(core: Version, wanted: Version) -> str:
    """Say which release must be gone through on the way from one pulpcore to another; "" for none."""
    for step in STEPS:
        if core < step.fewer_than and wanted >= step.at_least:
            return step.through
    return ""
