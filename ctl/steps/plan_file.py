"""The garbage plan as a file below state_dir: what was shown is what runs, and a crash can be picked up."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, fields
from typing import Any

from ctl.errors import RegctlError
from ctl.plans.collection_time import Workload
from ctl.plans.garbage import GarbagePlan, RepositoryGarbage
from ctl.recipes.durable import flush_directory

SCHEMA = "regctl/garbage-plan/1"


@dataclass(frozen=True)
class PlannedCollection:
    """A garbage plan with where it comes from. `seconds` is how long the planning took."""

    registry: str
    delete_untagged: bool
    source: str  # "catalog" (database and what changed since) or "tree"
    seconds: float
    latency: float  # seconds that one small read of the storage took, measured while planning
    garbage: GarbagePlan
    workload: Workload


def plan_path(state_dir: str, run: str) -> str:
    """Return where the plan of a run lies."""
    return os.path.join(state_dir, "plans", f"{run}.json")


def save_plan(path: str, plan: PlannedCollection) -> None:
    """Write a plan, whole or not at all, readable by its owner only."""
    garbage = {item.name: getattr(plan.garbage, item.name) for item in fields(plan.garbage)}
    garbage["manifests"] = sorted(plan.garbage.manifests)
    garbage["repositories"] = [asdict(row) for row in plan.garbage.repositories]
    document = {item.name: getattr(plan, item.name) for item in fields(plan)}  # no copy: it may be large
    document |= {"schema": SCHEMA, "garbage": garbage, "workload": asdict(plan.workload)}
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    temporary = f"{path}.new"
    try:
        with open(temporary, "w", encoding="utf-8", opener=_private) as file:
            file.write(json.dumps(document))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    flush_directory(folder)


def forget_plan(path: str) -> None:
    """Delete the plan of a run that is over; nothing happens if it is not there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        flush_directory(os.path.dirname(path))


def load_plan(path: str) -> PlannedCollection:
    """Read a plan; RegctlError if it is not there or not one of ours."""
    try:
        with open(path, encoding="utf-8") as file:
            document: dict[str, Any] = json.load(file)
        if document.pop("schema") != SCHEMA:
            raise RegctlError(f"{path}: not a garbage plan of this version of regctl")
        garbage = document.pop("garbage")
        workload = Workload(**document.pop("workload"))
        plan = GarbagePlan(
            blobs=garbage["blobs"],
            manifests=frozenset((repository, digest) for repository, digest in garbage["manifests"]),
            repositories=tuple(RepositoryGarbage(**row) for row in garbage["repositories"]),
            kept_blobs=garbage["kept_blobs"],
            kept_bytes=garbage["kept_bytes"],
            opaque=tuple(garbage["opaque"]),
            hidden=tuple(garbage["hidden"]),
            links=garbage["links"],
        )
        return PlannedCollection(**document, garbage=plan, workload=workload)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RegctlError(f"{path}: the garbage plan cannot be read: {error}") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
