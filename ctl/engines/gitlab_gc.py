"""Online garbage collection of GitLab's registry: its settings, and what its log says of its work. Pure.

Source: GitLab's registry 4.32, the `gc` section of its configuration and records of its log with
`component` registry.gc.* (tests/cases/gitlab/online-gc-*.jsonl).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ctl.engines.distribution_parsers import duration_of
from ctl.engines.distribution_values import section_of

INTERVAL = timedelta(seconds=5)  # between two runs of a worker, where the file says nothing
MAX_BACKOFF = timedelta(hours=24)
START_JITTER = timedelta(seconds=60)  # a worker sleeps up to so long before its first run
WORKERS = ("blobs", "manifests")
_NAMES = {"BlobWorker": "blobs", "ManifestWorker": "manifests"}
_DISABLED = "garbage collection is disabled"


@dataclass(frozen=True)
class WorkerSettings:
    """One of the two workers."""

    disabled: bool
    interval: timedelta


@dataclass(frozen=True)
class GcSettings:
    """The `gc` section as the registry reads it, defaults filled in."""

    disabled: bool
    workers: Mapping[str, WorkerSettings]
    max_backoff: timedelta
    no_idle_backoff: bool
    review_after: timedelta | None  # None: the database's own values stay

    def works(self, worker: str) -> bool:
        """Whether a worker runs by these settings."""
        return not self.disabled and not self.workers[worker].disabled


@dataclass(frozen=True)
class WorkerLog:
    """What the log says of a worker. None: no such record among the lines that were read."""

    started: datetime | None = None
    last_run: datetime | None = None
    last_deletion: datetime | None = None
    sleeps: timedelta | None = None  # how long it said it would sleep, after its last run
    last_error: str = ""
    runs: int = 0
    deletions: int = 0


@dataclass(frozen=True)
class GcLog:
    """What the log says of the collection; `disabled` where it says that there is none."""

    disabled: bool = False
    workers: Mapping[str, WorkerLog] = field(default_factory=dict)


def gc_settings(config: Mapping[str, Any]) -> GcSettings:
    """Read the `gc` section of a configuration."""
    section = section_of(config, "gc")
    after = section.get("reviewafter")
    return GcSettings(
        disabled=section.get("disabled") is True,
        workers={
            name: WorkerSettings(
                section_of(section, name).get("disabled") is True,
                _duration(section_of(section, name).get("interval")) or INTERVAL,
            )
            for name in WORKERS
        },
        max_backoff=_duration(section.get("maxbackoff")) or MAX_BACKOFF,
        no_idle_backoff=section.get("noidlebackoff") is True,
        review_after=timedelta() if str(after) == "-1" else _duration(after) or None,
    )


def faster(interval: str, max_backoff: str) -> dict[str, Any]:
    """Return the keys of the `gc` section that make both workers work without long pauses."""
    return {
        "noidlebackoff": True,
        "maxbackoff": max_backoff,
        "blobs": {"interval": interval},
        "manifests": {"interval": interval},
    }


def read_log(lines: Iterable[str]) -> GcLog:
    """Read what a registry has logged since its last start, oldest line first; other lines do not matter."""
    found, disabled = dict.fromkeys(WORKERS, WorkerLog()), False
    for line in lines:
        record = _record(line)
        if record is None:
            continue
        message = str(record.get("msg", ""))
        if message in ("using the metadata database", "registry filesystem metadata in use"):
            found, disabled = dict.fromkeys(WORKERS, WorkerLog()), False  # a new start
        elif message == _DISABLED:
            disabled = True
        name = _worker(record)
        if name:
            found[name] = _with(found[name], message, record)
    return GcLog(disabled, found)


def _with(worker: WorkerLog, message: str, record: Mapping[str, Any]) -> WorkerLog:
    when = _time(record.get("time"))
    if message == "starting online GC agent":
        return WorkerLog(started=when)
    if message == "run complete":
        return replace(worker, last_run=when, runs=worker.runs + 1)
    if message in ("blob deleted", "manifest deleted"):
        return replace(worker, last_deletion=when, deletions=worker.deletions + 1)
    if message == "sleeping":
        return replace(worker, sleeps=_seconds(record.get("duration_s")))
    if record.get("level") == "error":
        return replace(worker, last_error=str(record.get("error") or message))
    return worker


def _worker(record: Mapping[str, Any]) -> str:
    """Name the worker that a record is about: the agent names it, the worker is its own component."""
    place = str(record.get("worker") or record.get("component") or "")
    return _NAMES.get(place.rpartition(".")[2], "") if place.startswith("registry.gc.") else ""


def _record(line: str) -> Mapping[str, Any] | None:
    start = line.find("{")
    if start < 0 or ('"registry.gc' not in line and '"msg"' not in line):
        return None
    try:
        found = json.loads(line[start:])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _duration(value: Any) -> timedelta | None:
    """Read a duration of the file; None for none, and for one that is not above zero."""
    found = duration_of(value)
    return found if found is not None and found > timedelta() else None


def _seconds(value: Any) -> timedelta | None:
    return timedelta(seconds=value) if isinstance(value, int | float) else None


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None
