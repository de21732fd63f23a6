"""What an engine adds that can keep its record in a metadata database of its own, and the words for it.

Pure: options in, a Command or a value out. Steps run the commands; see `ctl.steps.registry_program`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

from ctl.engines.base import Engine
from ctl.hosts.base import Command

Asked = Literal["filesystem", "database", "prefer"]  # the backend that a configuration asks for


@dataclass(frozen=True)
class MigrationLimits:
    """How far to migrate. None is all; a limit of one kind alone leaves the other kind untouched."""

    pre: int | None = None
    post: int | None = None
    skip_post: bool = False


@dataclass(frozen=True)
class PendingMigrations:
    """Ids that a migration would apply or take back, in the order that the program names them."""

    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """All of them."""
        return self.pre + self.post


@dataclass(frozen=True)
class MigrationsDone:
    """The closing `OK:` line: how many of each kind were applied; without it nothing is proved."""

    pre: int
    post: int
    background: int
    seconds: float


@dataclass(frozen=True)
class ProgramFailure:
    """Why a call of the registry's program failed, in our words."""

    kind: str  # a stable word: "password", "unreachable", "no-database", "permission", "read-only", ...
    message: str
    hint: str
    last_line: str  # the program's own last words, without secrets


class ImportStep(StrEnum):
    """What an import does: everything, or one of the three steps."""

    ALL = "all"
    ONE = "one"  # manifests, while the registry serves and takes pushes
    TWO = "two"  # tags, in a read-only window
    THREE = "three"  # every other blob, while the registry serves on the database


@dataclass(frozen=True)
class ImportOptions:
    """The flags of the program's own import."""

    step: ImportStep = ImportStep.ALL
    dry_run: bool = False
    row_count: bool = False
    skip_recent: timedelta | None = None  # None: the program's default, 72 h; 0 imports all again
    statistics: bool = True
    dynamic_media_types: bool = True
    tag_concurrency: int | None = None  # 1 to 5, gcs only
    log_directory: str = ""
    debug_server: str = ""


@dataclass(frozen=True)
class ImportRecord:
    """One record of an import's log, as far as we know its kind; `fields` is the record as it was."""

    kind: str  # started repository repository-done tags tag blob skipped error done other
    step: ImportStep | None
    repository: str = ""
    tag: str = ""
    digest: str = ""
    reason: str = ""  # of "skipped": a stable word, listed in docs/reference/import-skips.md
    message: str = ""
    level: str = "info"
    count: int | None = None
    total: int | None = None
    time: datetime | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportOutput:
    """How an import ended. `complete` only with exit code 0 and the closing record together."""

    complete: bool
    rows: Mapping[str, int] = field(
        default_factory=dict
    )  # of --row-count: repositories, manifests, blobs, tags
    failure: ProgramFailure | None = None


class ImportParser(Protocol):
    """Reads what an import prints on stdout, piece by piece, in bounded memory."""

    def feed(self, data: bytes) -> Iterator[ImportRecord]:
        """Take the next piece, cut anywhere; yield the records that are whole."""
        ...

    def finish(self, stderr: str, exit_code: int | None) -> ImportOutput:
        """Say how it ended; `exit_code` None means that nobody knows it, so it is not complete."""
        ...


class MetadataPrograms(Protocol):
    """The program's commands around its metadata database, and how to read what they print."""

    def migrate_up_command(
        self, binary: str, config_file: str, limits: MigrationLimits, *, dry_run: bool = False
    ) -> Command:
        """The call that applies pending migrations; dry, it prints their ids and nothing else."""
        ...

    def migrate_down_command(
        self, binary: str, config_file: str, limits: MigrationLimits, *, dry_run: bool = False
    ) -> Command:
        """The call that takes migrations back, without asking."""
        ...

    def parse_plan(self, stdout: str) -> PendingMigrations:
        """Read the ids that `up` or `down` prints before it does anything: the plan, not the deed."""
        ...

    def parse_done(self, stdout: str) -> MigrationsDone | None:
        """Read the `OK:` line (or lines); None where it is missing, whatever the exit code was."""
        ...

    def background_command(
        self,
        binary: str,
        config_file: str,
        verb: Literal["run", "pause", "resume", "status"],
        *,
        retries: int | None = None,
    ) -> Command:
        """The call that looks after background migrations. Its `run` may never end: supervise it."""
        ...

    def import_command(self, binary: str, config_file: str, options: ImportOptions) -> Command:
        """The call that imports, its whole log as JSON on stdout."""
        ...

    def import_parser(self) -> ImportParser:
        """Return a parser that takes an import's output piece by piece."""
        ...

    def explain(self, stderr: str) -> ProgramFailure:
        """Say why a call failed, from what it printed on stderr; the cause is in the last line."""
        ...

    def asked_backend(self, config: Mapping[str, Any]) -> Asked:
        """Say which backend a configuration file asks for."""
        ...

    def database_settings(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the `database` section of a configuration; {} where there is none."""
        ...

    def database_text(self, data: bytes, section: Mapping[str, Any]) -> bytes:
        """Return a file's bytes with the keys of `section` set below `database` and all else as it was.

        RefusedError unless the new bytes provably mean the old ones plus these keys.
        """
        ...

    def section_text(self, data: bytes, name: str, values: Mapping[str, Any]) -> bytes:
        """Return a file's bytes with keys set below a top-level section, such as `gc`; as `database_text`."""
        ...


@runtime_checkable
class MetadataEngine(Engine, Protocol):
    """An engine with a metadata database."""

    metadata: MetadataPrograms


def metadata_of(engine: Engine) -> MetadataPrograms | None:
    """Return the engine's programs for its metadata database; None where the engine has no such thing."""
    return getattr(engine, "metadata", None)
