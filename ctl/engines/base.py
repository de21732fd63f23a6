"""What an engine tells the rest: commands as values, config schema, features by version, parsers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from packaging.version import Version

from ctl.hosts.base import Command


@dataclass(frozen=True)
class ConfigMistake:
    """One mistake in a registry's own configuration: dotted path, what is wrong, what to do."""

    path: str
    message: str
    hint: str = ""
    severity: str = "error"  # "error": the registry would not do what the file says; "warning": a known trap
    fatal: bool = False  # the registry would not start with it


@dataclass(frozen=True)
class ParsedConfig:
    """A registry's configuration file as the registry reads it."""

    data: dict[str, Any]
    mistakes: tuple[
        ConfigMistake, ...
    ] = ()  # only what is wrong with the text; `check_config` judges the rest
    readable: bool = True


@dataclass(frozen=True)
class CollectionOutput:
    """What a garbage collector said. `complete` only if its summary line was there."""

    complete: bool
    marked_blobs: int
    eligible_blobs: frozenset[str]
    eligible_manifests: frozenset[
        tuple[str, str]
    ]  # (repository or "" where the version does not say, digest)
    failure: str  # the last words of a run that did not complete
    summary: str = ""


class CollectionParser(Protocol):
    """Reads what a collector prints, piece by piece, in bounded memory."""

    def feed(self, data: bytes | str) -> None:
        """Take the next piece of its stdout, cut anywhere."""
        ...

    def finish(self, stderr: str, exit_code: int | None) -> CollectionOutput:
        """Return what was said; `exit_code` None means that nobody knows it, so it is not complete."""
        ...


class Engine(Protocol):
    """One kind of registry software. Pure: options in, a Command, a text or a value out."""

    name: str

    def version_command(self, binary: str) -> Command:
        """The call that prints the version."""
        ...

    def parse_version(self, stdout: str) -> Version:
        """Read that call's output; RegctlError if it is not this engine's."""
        ...

    def serve_command(self, binary: str, config_file: str, version: Version) -> Command:
        """The call that serves, with the environment that the version needs."""
        ...

    def collect_command(
        self, binary: str, config_file: str, version: Version, *, dry_run: bool, delete_untagged: bool
    ) -> Command:
        """The call that collects garbage."""
        ...

    def collection_parser(self) -> CollectionParser:
        """Return a parser that takes a collector's output piece by piece."""
        ...

    def parse_collection(
        self, stdout: str, stderr: str, exit_code: int | None, version: Version
    ) -> CollectionOutput:
        """Read that call's output; demands the summary line, exit code 0 alone proves nothing."""
        ...

    def features(self, version: Version) -> Mapping[str, bool]:
        """The engine's feature table at a version."""
        ...

    def check_config(self, config: Mapping[str, Any], version: Version) -> Sequence[ConfigMistake]:
        """Check a parsed configuration file against the schema of a version; every mistake at once."""
        ...

    def check_paths(
        self, config: Mapping[str, Any], kind: Callable[[str], str | None]
    ) -> Sequence[ConfigMistake]:
        """Check the paths that a file names; `kind` says "file", "directory" or None (not there)."""
        ...

    def is_read_only(self, config: Mapping[str, Any]) -> bool:
        """Say whether a configuration keeps the registry read-only."""
        ...

    def with_read_only(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration with only the read-only keys changed."""
        ...

    def parse_config(self, data: bytes) -> ParsedConfig:
        """Read a configuration file's bytes; mistakes instead of errors."""
        ...

    def read_only_text(self, data: bytes) -> bytes:
        """Return a file's bytes with only the read-only keys changed; RefusedError if not provable."""
        ...

    def overriding_environment(self, environment: Mapping[str, str]) -> Mapping[str, str]:
        """Return {variable: dotted path} of the variables that override keys of the configuration file."""
        ...

    def drain_timeout(self, config: Mapping[str, Any]) -> timedelta | None:
        """Say how long the registry waits for requests when it is told to stop; None if it does not."""
        ...

    def listening_port(self, config: Mapping[str, Any]) -> int | None:
        """Return the TCP port that the registry binds; None if the file does not fix one."""
        ...

    def cache_kind(self, config: Mapping[str, Any]) -> str:
        """Say where blob descriptors are cached: "redis", "inmemory" or "" (nowhere)."""
        ...

    def writes_on_pull(self, config: Mapping[str, Any]) -> bool:
        """Say whether reading requests write too (a pull-through cache): read-only then protects nothing."""
        ...

    def storage_settings(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return {driver: parameters} of a configuration."""
        ...

    def template(self, version: Version) -> str:
        """Name the template of a version, relative to templates/."""
        ...
