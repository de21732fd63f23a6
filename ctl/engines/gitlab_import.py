"""The call of GitLab's import, and its log read piece by piece. Pure; the program is run elsewhere.

The call has a flag for everything that the program's own `--help` shows; a test compares the two. The log
goes to stdout as one JSON object a line, whatever the configuration's `log` section says: the environment
of the call overrides level and formatter, as progress, skips and the closing record are all in it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from ctl.engines import distribution_parsers
from ctl.engines.gitlab_import_failures import import_failure
from ctl.engines.gitlab_import_skips import (
    NEW_MEDIA_TYPE,
    reason_of,
    redirected_digest,
)
from ctl.engines.metadata import ImportOptions, ImportOutput, ImportRecord, ImportStep, ProgramFailure
from ctl.hosts.base import Command

LOG_ENVIRONMENT = {"REGISTRY_LOG_FORMATTER": "json", "REGISTRY_LOG_LEVEL": "info"}
CLOSING = "metadata import complete"
ROW_COUNTS = ("repositories", "manifests", "blobs", "tags")
DEFAULT_SKIP_RECENT = timedelta(hours=72)  # the program's own
# Every flag of the call, and which of our options it carries; the drift test wants each of them here.
FLAGS = {
    "--step-one": "step",
    "--pre-import": "step",
    "--step-two": "step",
    "--all-repositories": "step",
    "--step-three": "step",
    "--common-blobs": "step",
    "--dry-run": "dry_run",
    "--row-count": "row_count",
    "--pre-import-skip-recent": "skip_recent",
    "--import-statistics": "statistics",
    "--dynamic-media-types": "dynamic_media_types",
    "--tag-concurrency": "tag_concurrency",
    "--log-directory": "log_directory",
    "--log-to-stdout": "always",
    "--debug-server": "debug_server",
    "--help": "never",
}
_STEP_FLAGS = {ImportStep.ONE: "--step-one", ImportStep.TWO: "--step-two", ImportStep.THREE: "--step-three"}
_LINE_LIMIT = 1 << 20  # bytes of a line that we keep; the program's are far below one kilobyte
_LAST_LINES = 20


def go_duration(value: timedelta) -> str:
    """Write a duration as the program reads it: `259200s`, `0s`, `1.5s`."""
    return f"{value.total_seconds():f}".rstrip("0").rstrip(".") + "s"


def parse_duration(text: str) -> float | None:
    """Read a duration as the program writes it, in seconds; None if it is none, or has a sign."""
    found = None if text[:1] in ("+", "-") else distribution_parsers.parse_duration(text)
    return None if found is None else found.total_seconds()


def import_command(binary: str, config_file: str, options: ImportOptions) -> Command:
    """Write the call that imports; the configuration comes last, as the program takes one positional."""
    flags = ["--log-to-stdout"]
    if options.step in _STEP_FLAGS:
        flags.append(_STEP_FLAGS[options.step])
    if options.dry_run:
        flags.append("--dry-run")
    if options.row_count:
        flags.append("--row-count")
    if options.skip_recent is not None:
        flags.append(f"--pre-import-skip-recent={go_duration(options.skip_recent)}")
    if not options.statistics:
        flags.append("--import-statistics=false")
    if not options.dynamic_media_types:
        flags.append("--dynamic-media-types=false")
    if options.tag_concurrency is not None:
        flags.append(f"--tag-concurrency={options.tag_concurrency}")
    if options.log_directory:
        flags.append(f"--log-directory={options.log_directory}")
    if options.debug_server:
        flags.append(f"--debug-server={options.debug_server}")
    argv = (binary, "database", "import", *flags, config_file)
    return Command(argv, env=dict(LOG_ENVIRONMENT))


def import_parser() -> GitlabImportParser:
    """Return a parser that explains what is no import's own failure as any call of the program."""

    def explain(stderr: str) -> ProgramFailure:
        from ctl.engines import gitlab_migrations

        return gitlab_migrations.explain(stderr)

    return GitlabImportParser(explain)


class GitlabImportParser:
    """Reads an import's stdout in bounded memory; what is no JSON is kept for the explanation only."""

    def __init__(self, explain: Callable[[str], ProgramFailure] | None = None) -> None:
        self._explain = explain
        self._rest = bytearray()
        self._overlong = False
        self._phase: ImportStep | None = None
        self._strange: deque[str] = deque(maxlen=_LAST_LINES)
        self._error: ImportRecord | None = None
        self._rows: dict[str, int] | None = None  # of the closing record; None until it was seen
        self._started = False

    def feed(self, data: bytes) -> Iterator[ImportRecord]:
        """Take the next piece, cut anywhere; yield the records that are whole."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            if self._rest:
                line = bytes(self._rest) + line
                self._rest.clear()
            if self._overlong:
                self._overlong = False
                continue
            record = self._line(line)
            if record is not None:
                yield record
        self._rest += rest
        if len(self._rest) > _LINE_LIMIT:
            self._rest.clear()
            self._overlong = True

    def finish(self, stderr: str, exit_code: int | None) -> ImportOutput:
        """Say how it ended; complete only with exit code 0 and the closing record together."""
        if self._rest and not self._overlong:
            self._line(bytes(self._rest))
            self._rest.clear()
        rows = self._rows or {}
        if exit_code == 0 and self._rows is not None:
            return ImportOutput(True, rows)
        return ImportOutput(False, rows, self._failure(stderr, exit_code))

    def _line(self, line: bytes) -> ImportRecord | None:
        text = line.strip()
        if not text:
            return None
        try:
            fields = json.loads(text)
        except ValueError:
            fields = None
        if not isinstance(fields, dict) or not isinstance(fields.get("msg"), str):
            self._strange.append(text.decode(errors="replace")[:500])
            return None
        return self._record(fields)

    def _record(self, fields: Mapping[str, Any]) -> ImportRecord:
        message, level = str(fields["msg"]), _text(fields, "level") or "info"
        self._phase = _PHASES.get(message, self._phase)
        kind, reason = _KINDS.get(message, "other"), ""
        if message == CLOSING:
            self._rows = {name: fields[name] for name in ROW_COUNTS if isinstance(fields.get(name), int)}
        elif level == "warning":
            kind, reason = "skipped", reason_of(message)
        elif level in ("error", "fatal", "panic"):
            kind = "error"
            reason = reason_of(message)
        elif message == NEW_MEDIA_TYPE:
            reason = "media-type-new"
        elif message == "starting metadata import":
            self._started, self._phase = True, _only_step(fields)
        record = ImportRecord(
            kind=kind,
            step=self._phase,
            repository=_text(fields, "repository"),
            tag=_text(fields, "tag_name"),
            digest=_text(fields, "digest") or redirected_digest(message),
            reason=reason,
            message=message,
            level=level,
            count=_number(fields, "count"),
            total=_number(fields, "total"),
            time=_time(_text(fields, "time")),
            fields=fields,
        )
        if kind == "error":
            self._error = record
        return record

    def _failure(self, stderr: str, exit_code: int | None) -> ProgramFailure:
        lines = [line for line in stderr.splitlines() if line.strip()] or list(self._strange)
        text = "\n".join(lines)
        last = lines[-1] if lines else ""
        if exit_code == 0:
            return ProgramFailure(
                "no-closing-record",
                "the import ended with exit code 0, but its log has no closing record",
                "the log may have been cut by a full disk: make room, then run the same command again",
                last,
            )
        if exit_code is None or exit_code < 0 or exit_code in (137, 143):
            how = "nobody knows how it ended" if exit_code is None else _killed_by(exit_code)
            return ProgramFailure(
                "killed",
                f"the import was ended before it was done: {how}",
                "its lock files and statistics are as they were; run the same command again",
                last,
            )
        return import_failure(text, self._error, self._explain)


_PHASES = {
    "pre importing repository": ImportStep.ONE,
    "importing repository": ImportStep.TWO,
    "importing all blobs": ImportStep.THREE,
    CLOSING: None,
}
_KINDS = {
    "starting metadata import": "started",
    "pre importing repository": "repository",
    "importing repository": "repository",
    "repository pre import complete": "repository-done",
    "repository import complete": "repository-done",
    "skipping repository pre import: last pre imported after skip cutoff date": "repository-done",
    "processing tags": "tags",
    "importing tags": "tags",
    "processing tag": "tag",
    "importing tag": "tag",
    "importing blob": "blob",
    CLOSING: "done",
}


def _only_step(fields: Mapping[str, Any]) -> ImportStep | None:
    """Return the step that a run is, by its first record; None where it is all of them."""
    flags = {
        ImportStep.ONE: fields.get("pre_import") is True,
        ImportStep.TWO: fields.get("repository_import") is True,
        ImportStep.THREE: fields.get("common_blobs") is True,
    }
    chosen = [step for step, on in flags.items() if on]
    return chosen[0] if len(chosen) == 1 else None


def _killed_by(exit_code: int) -> str:
    number = -exit_code if exit_code < 0 else exit_code - 128
    return f"signal {number}"


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _number(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
