"""How long it took the last time: from the journals of earlier runs. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from ctl.errors import RegctlError

if TYPE_CHECKING:
    from ctl.recipes.model import StepRecord

_LOOKED_AT = 50  # runs, the newest first
_ROLLED = ("OutOfRotation", "WayBack", "StopService", "SwitchProgram", "StartNode", "ProveNode", "AcceptNode")
_RESTARTS = ("RestartNode", "RestartService")
_MIGRATED = ("MigrateMetadata", "AutoMigrate", "MigrateForUpgrade")


def earlier_steps(state_dir: str, registry: str) -> list[list[StepRecord]]:
    """Return the steps of earlier runs on a registry that ended well, the newest run first."""
    from ctl.recipes import runs

    found: list[list[StepRecord]] = []
    try:
        names = list(reversed(runs.ids(state_dir)))[:_LOOKED_AT]
        for run_id in names:
            state = runs.load(state_dir, run_id)
            if state.state == "done" and f"registry/{registry}" in state.resources:
                found.append(list(state.steps))
    except RegctlError:
        return found  # another user's journals: nothing is known
    return found


def node_seconds(earlier: Iterable[list[StepRecord]], host: str) -> float | None:
    """Say how long rolling a node took the last time, else a restart of it; None where neither is known."""
    restart: float | None = None
    for steps in earlier:
        mine = [one for one in steps if one.host == host]
        if any(one.step == "StartNode" for one in mine):
            return round(sum(map(seconds_of, (one for one in mine if one.step in _ROLLED))), 1)
        if restart is None:
            times = [seconds_of(one) for one in mine if one.step in _RESTARTS]
            restart = round(times[-1], 1) if times else None
    return restart


def migration_seconds(earlier: Iterable[list[StepRecord]]) -> float | None:
    """Say how long the registry's last migration took that applied anything; None where none is known."""
    for steps in earlier:
        times = [seconds_of(one) for one in steps if one.step in _MIGRATED and one.result == "changed"]
        if times:
            return round(sum(times), 1)
    return None


def seconds_of(record: StepRecord) -> float:
    """Return how long one verb of a step took; 0 where the journal does not say."""
    if not record.started_at or not record.ended_at:
        return 0.0
    began, ended = (datetime.fromisoformat(text) for text in (record.started_at, record.ended_at))
    return max(0.0, (ended - began).total_seconds())
