"""What `regctl maintenance on` remembers: of a registry, and of each timer that is paused for it.

The records outlive the runs that wrote them: maintenance is a lasting state, and its runs are ended.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from ctl.config.models import Timer
from ctl.errors import RegctlError
from ctl.recipes.durable import private_directory, replace_file
from ctl.steps.timers import AnyTimer, key_of

RECIPE = "maintenance-on"  # its runs' ids hold it, and so do the originals that they keep beside files
Found = Literal["writable", "read-only"]
Made = TypeVar("Made")
_TIMER: TypeAdapter[AnyTimer] = TypeAdapter(Timer)


@dataclass(frozen=True)
class Maintenance:
    """A registry that is under maintenance, and how its nodes were before."""

    registry: str
    run: str
    since: str  # RFC 3339, UTC
    by: str
    reason: str
    nodes: Mapping[str, Found]  # by host, before


@dataclass(frozen=True)
class Pause:
    """A timer that is paused, and for which registries' maintenance: each with the run that asked for it."""

    timer: AnyTimer
    found: Literal["running", "stopped"]
    held_by: Mapping[str, str]
    since: str
    facts: Mapping[str, Any] = field(default_factory=dict)  # of a cron file: what must come back

    @property
    def key(self) -> str:
        """What names the timer in the site."""
        return key_of(self.timer)


def folder(state_dir: str) -> str:
    """Return where the records are."""
    return os.path.join(state_dir, "maintenance")


def maintenance_path(state_dir: str, registry: str) -> str:
    """Return where a registry's record is."""
    return os.path.join(folder(state_dir), f"{registry}.json")


def pause_path(state_dir: str, key: str) -> str:
    """Return where a timer's record is; no two timers share one."""
    return os.path.join(folder(state_dir), "timers", f"{quote(key, safe='')}.json")


def read_maintenance(state_dir: str, registry: str) -> Maintenance | None:
    """Return a registry's record, or None; RegctlError if it is damaged."""
    return _read(maintenance_path(state_dir, registry), lambda data: Maintenance(**data))


def write_maintenance(state_dir: str, record: Maintenance) -> None:
    """Write a registry's record, durable and 0600."""
    _write(maintenance_path(state_dir, record.registry), asdict(record))


def remove_maintenance(state_dir: str, registry: str) -> None:
    """Forget a registry; nothing happens if there is no record."""
    _remove(maintenance_path(state_dir, registry))


def read_pause(state_dir: str, key: str) -> Pause | None:
    """Return a timer's record, or None; RegctlError if it is damaged."""
    return _read(pause_path(state_dir, key), _pause)


def pauses(state_dir: str) -> list[Pause]:
    """Return every paused timer's record, also of timers that the site names no more."""
    try:
        names = sorted(os.listdir(os.path.join(folder(state_dir), "timers")))
    except FileNotFoundError:
        return []
    paths = [os.path.join(folder(state_dir), "timers", name) for name in names if name.endswith(".json")]
    found = [_read(path, _pause) for path in paths]
    return [pause for pause in found if pause is not None]


def write_pause(state_dir: str, pause: Pause) -> None:
    """Write a timer's record, durable and 0600."""
    data = {**asdict(pause), "timer": pause.timer.model_dump(mode="json")}
    _write(pause_path(state_dir, pause.key), data)


def remove_pause(state_dir: str, key: str) -> None:
    """Forget a timer; nothing happens if there is no record."""
    _remove(pause_path(state_dir, key))


def made_by_maintenance(name: str) -> bool:
    """Say whether a run's id, or the name of an original that a run kept, is of `maintenance on`."""
    return f"-{RECIPE}-" in name


def _pause(data: dict[str, Any]) -> Pause:
    timer = _TIMER.validate_json(json.dumps(data.pop("timer")))
    return Pause(timer=timer, **data)


def _read(path: str, make: Callable[[dict[str, Any]], Made]) -> Made | None:
    try:
        with open(path, "rb") as file:
            return make(json.loads(file.read()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RegctlError(f"{path}: {error.strerror}", hint="run regctl as the user that made it") from error
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise RegctlError(
            f"{path} is damaged: {type(error).__name__}",
            hint="move it away, then: regctl maintenance status",
        ) from error


def _write(path: str, data: Mapping[str, Any]) -> None:
    private_directory(os.path.dirname(path))
    replace_file(path, json.dumps(data, indent=1).encode())


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
