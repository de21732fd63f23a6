"""Read what distribution's binary prints, Go's durations, and the version line. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from packaging.version import InvalidVersion, Version

from ctl.engines.base import CollectionOutput
from ctl.engines.lines import Lines
from ctl.errors import ConfigError

_DIGEST = r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}"
_SUMMARY = re.compile(r"(\d+) blobs marked, (\d+) blobs and (\d+) manifests eligible for deletion")
_BLOB = re.compile(rf"blob eligible for deletion: ({_DIGEST})")
_MANIFEST_2 = re.compile(rf"manifest eligible for deletion: ({_DIGEST})")
_MANIFEST_3 = re.compile(rf"manifest eligible for deletion: \{{(\S+) ({_DIGEST}) \[")
_LAYER_LINK = re.compile(rf"(\S+): layer link eligible for deletion: ({_DIGEST})")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*")
_LINE_LIMIT = 1024  # characters kept of a line; 3.x prints every tag of a repository on one
_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip


def parse_duration(text: str) -> timedelta | None:
    """Read a duration as Go's time.ParseDuration does; None if it is not one ("7d" is not)."""
    if text in ("0", "+0", "-0"):
        return timedelta()
    if not _DURATION.fullmatch(text):
        return None
    seconds = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text))
    if seconds >= 2**63 / 1e9:  # more than Go's int64 nanoseconds hold
        return None
    return timedelta(seconds=-seconds if text.startswith("-") else seconds)


def duration_of(value: object) -> timedelta | None:
    """Read a duration of a configuration: text as Go writes it, or a bare number, which is nanoseconds.

    None where there is none, or where it is more than Go's int64 holds.
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return timedelta(seconds=value / 1e9) if -(2**63) < value < 2**63 else None
    return parse_duration(str(value))


@dataclass(frozen=True)
class Build:
    """What the version line says. `note` is set where the number had to be concluded."""

    program: str
    module: str
    version: Version
    note: str = ""


def parse_version_line(stdout: str) -> Build:
    """Read `<program> <module> <version>`; ConfigError if it is not distribution's.

    A build without a proper version (a bare commit, "(devel)", nothing at all) is placed by its module
    path: `github.com/distribution/distribution/v3` is 3.x, `github.com/docker/distribution` is 2.x.
    """
    lines = stdout.strip().splitlines()
    words = lines[0].split() if lines else []
    modules = ("github.com/docker/distribution", "github.com/distribution/distribution")
    if len(words) < 2 or not words[1].startswith(modules):
        raise ConfigError(
            f"not a distribution registry: --version printed {stdout.strip()[:120]!r}",
            hint="name the registry's own program in `binary`",
        )
    text = words[2] if len(words) > 2 else ""
    if "gitlab" in text:
        raise ConfigError(
            f"this is GitLab's registry ({text}), not distribution's",
            hint="GitLab's registry is an engine of its own; `engine: distribution` does not fit it",
        )
    major = 3 if words[1].endswith("/v3") else 2
    found = re.match(r"v?(\d+\.\d+(?:\.\d+)?(?:[-.]?(?:alpha|beta|rc)\.?\d+)?)", text)
    try:
        version = Version(text)
    except InvalidVersion:
        version = Version(found.group(1)) if found else Version(f"{major}.{8 if major == 2 else 0}")
    if found is None:
        version = Version(f"{major}.{8 if major == 2 else 0}")
        note = (
            f"the build does not say its version ({text or 'nothing'}); taken as {version} by its module path"
        )
        return Build(words[0], words[1], version, note)
    if version.major != major:
        note = f"the build calls itself {text} but its module is {words[1]}"
        return Build(words[0], words[1], version, note)
    return Build(words[0], words[1], version)


class CollectionParser:
    """Read a collector's stdout piece by piece, in memory bounded by what is eligible.

    `complete` in the result needs the summary line, as many lines of eligible blobs and manifests as it
    counts, and exit code 0. Exit code 0 alone proves nothing: both versions exit 0 on an unknown option.
    """

    def __init__(self) -> None:
        self._lines = Lines(_LINE_LIMIT)
        self._repository = ""
        self._blank = False
        self._summary = ""
        self._counts: tuple[int, int, int] | None = None
        self._blobs: set[str] = set()
        self._manifests: set[tuple[str, str]] = set()
        self._blob_lines = 0
        self._manifest_lines = 0
        self._last = ""
        self.layer_links = 0

    def feed(self, data: bytes | str) -> None:
        """Take the next piece, cut anywhere."""
        for line in self._lines.feed(data):
            self._line(line)

    def finish(self, stderr: str, exit_code: int | None) -> CollectionOutput:
        """Return what was said; `exit_code` None means that nobody knows it, so it is not complete."""
        for line in self._lines.end():
            self._line(line)
        failure = self._failure(stderr, exit_code)
        return CollectionOutput(
            complete=not failure,
            marked_blobs=self._counts[0] if self._counts else 0,
            eligible_blobs=frozenset(self._blobs),
            eligible_manifests=frozenset(self._manifests),
            failure=failure,
            summary=self._summary,
        )

    def _line(self, line: str) -> None:
        line = line.rstrip("\r")
        blank, self._blank = self._blank, not line
        if not line:
            return
        self._last = line
        if "eligible for deletion" in line:
            self._eligible(line, blank)
        elif self._counts is None and ":" not in line and _REPOSITORY.fullmatch(line):
            self._repository = line

    def _eligible(self, line: str, after_blank: bool) -> None:
        if found := _BLOB.fullmatch(line):
            self._blobs.add(found.group(1))
            self._blob_lines += 1
        elif found := _MANIFEST_2.fullmatch(line):  # printed below its repository's name
            self._manifests.add((self._repository, found.group(1)))
            self._manifest_lines += 1
        elif found := _MANIFEST_3.match(line):
            self._manifests.add((found.group(1), found.group(2)))
            self._manifest_lines += 1
        elif _LAYER_LINK.fullmatch(line):
            self.layer_links += 1
        elif (found := _SUMMARY.fullmatch(line)) and after_blank:
            self._summary = line
            self._counts = (int(found.group(1)), int(found.group(2)), int(found.group(3)))

    def _failure(self, stderr: str, exit_code: int | None) -> str:
        words = _last_words(stderr)
        if exit_code is None:
            return words or "the collector ended and nobody knows how"
        if exit_code < 0:
            return f"the collector was ended by signal {-exit_code}"
        if exit_code:
            return words or self._last or f"the collector ended with exit code {exit_code}"
        if self._counts is None:
            said = words or self._last
            return f"the collector exited 0 without its summary line{': ' + said if said else ''}"
        _, blobs, manifests = self._counts
        if (self._blob_lines, self._manifest_lines) != (blobs, manifests):
            return (
                f"the collector's summary counts {blobs} blobs and {manifests} manifests, its output "
                f"lists {self._blob_lines} and {self._manifest_lines}: the output is not whole"
            )
        return ""


def _last_words(stderr: str) -> str:
    """Return the collector's own error: its last line ends without a newline, after log lines."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = [line for line in lines if not re.match(r"(time=|\{\"|Usage:|-)", line)]
    for line in reversed(said):
        if line.startswith(("failed to", "configuration error", "unable to", "panic:", "Error:")):
            return line[:600]
    return said[-1][:600] if said else ""
