"""Read what GitLab's collector prints: one JSON record a line. Pure.

Measured on 4.32: a plan is whole only with `mark stage complete`, a run only with `sweep stage complete`
behind it. The records of a batch carry neither stage nor dry_run, and a batch that was deleted in part is a
warning of a run that exits 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ctl.engines.base import CollectionOutput
from ctl.engines.lines import Lines

_LINE_LIMIT = 65536  # characters kept of a line; a record has a few hundred
_MARKING = '"msg":"marking '  # by far the most lines, and none of them decides anything
_PARTLY = ("blobs partially deleted", "batch partially deleted", "recovered batch deletion")
_NOTHING = "skipping garbage collection"  # there is no folder of repositories


class CollectionParser:
    """Read a collector's stdout piece by piece, in memory bounded by what is eligible."""

    def __init__(self) -> None:
        self._lines = Lines(_LINE_LIMIT)
        self._blobs: set[str] = set()
        self._manifests: set[tuple[str, str]] = set()
        self._blob_lines = 0
        self._manifest_lines = 0
        self._plan: Mapping[str, Any] | None = None
        self._dry_run: bool | None = None
        self._swept = False
        self._nothing = False
        self._partly = ""
        self._error = ""
        self.bytes = 0  # of the blobs that are eligible, as it counts them
        self.invalid_links: list[str] = []  # paths that it passes over: what they name becomes garbage

    def feed(self, data: bytes | str) -> None:
        """Take the next piece, cut anywhere."""
        for line in self._lines.feed(data):
            self._line(line)

    def finish(self, stderr: str, exit_code: int | None) -> CollectionOutput:
        """Return what was said; `exit_code` None means that nobody knows it, so it is not complete."""
        for line in self._lines.end():
            self._line(line)
        failure = self._failure(stderr, exit_code)
        marked = self._plan.get("blobs_marked") if self._plan else 0
        return CollectionOutput(
            complete=not failure,
            marked_blobs=marked if isinstance(marked, int) else 0,
            eligible_blobs=frozenset(self._blobs),
            eligible_manifests=frozenset(self._manifests),
            failure=failure,
            summary=self._summary(),
        )

    def _line(self, line: str) -> None:
        if _MARKING in line or not line.startswith("{"):
            return
        try:
            record = json.loads(line)
        except ValueError:
            return
        if isinstance(record, dict):
            self._record(record)

    def _record(self, record: Mapping[str, Any]) -> None:
        message, digest = record.get("msg"), str(record.get("digest") or "")
        if isinstance(record.get("dry_run"), bool):
            self._dry_run = record["dry_run"]
        if message == "blob eligible for deletion":
            self._blobs.add(digest)
            self._blob_lines += 1
            self.bytes += record["size_bytes"] if isinstance(record.get("size_bytes"), int) else 0
        elif message == "manifest metadata will be deleted from repository":
            self._manifests.add((str(record.get("repository") or ""), digest))
            self._manifest_lines += 1
        elif message == "mark stage complete":
            self._plan = record
        elif message == "sweep stage complete":
            self._swept = True
        elif message == _NOTHING:
            self._nothing = True
        elif isinstance(message, str) and message.startswith("invalid link file"):
            self.invalid_links.append(str(record.get("path") or ""))
        elif isinstance(message, str) and message.startswith(_PARTLY):
            self._partly = f"{message} ({record.get('count', '?')})"
        elif record.get("level") == "error":
            self._error = str(record.get("error") or message or "")

    def _summary(self) -> str:
        if self._nothing and self._plan is None:
            return "no repositories"
        if self._plan is None:
            return ""
        names = ("blobs_marked", "blobs_to_delete", "manifests_to_delete", "storage_use_estimate_bytes")
        return ", ".join(f"{name} {self._plan.get(name)}" for name in names)

    def _failure(self, stderr: str, exit_code: int | None) -> str:
        words = last_words(stderr)
        if exit_code is None:
            return words or "the collector ended and nobody knows how"
        if exit_code < 0:
            return f"the collector was ended by signal {-exit_code}"
        if exit_code:
            return words or self._error or f"the collector ended with exit code {exit_code}"
        if self._partly:
            return f"the collector could not delete all that it meant to: {self._partly}"
        if self._plan is None:
            missing = "the collector exited 0 without its record `mark stage complete`"
            return "" if self._nothing else f"{missing}{': ' + words if words else ''}"
        counts = (self._plan.get("blobs_to_delete"), self._plan.get("manifests_to_delete"))
        if (self._blob_lines, self._manifest_lines) != counts:
            return (
                f"the collector counts {counts[0]} blobs and {counts[1]} manifests, its output lists "
                f"{self._blob_lines} and {self._manifest_lines}: the output is not whole"
            )
        if not self._dry_run and not self._swept:
            return "the collector exited 0 without its record `sweep stage complete`"
        return ""


def last_words(stderr: str) -> str:
    """Return the program's own error: its last line, before the usage and after log lines."""
    said, _, _ = stderr.partition("\nUsage:")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    words = [line for line in lines if not line.startswith(("time=", '{"', "level="))]
    return words[-1][:600] if words else ""
