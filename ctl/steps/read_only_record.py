"""What `regctl read-only on` remembers of a node: who, when, why, and the original bytes."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ctl.errors import RegctlError
from ctl.recipes.durable import private_directory, replace_file


@dataclass(frozen=True)
class Record:
    """A node that regctl keeps read-only over runs."""

    registry: str
    host: str
    run: str
    since: str  # RFC 3339, UTC
    by: str
    reason: str
    before: Mapping[str, Any]  # what ReadOnlyNode.observe saw
    original: bytes  # of the configuration file; it may hold secrets, so the record is 0600


def record_path(state_dir: str, registry: str, host: str) -> str:
    """Return where a node's record is; "@" stands in no name, so no two nodes share one."""
    return os.path.join(state_dir, "read-only", f"{registry}@{host}.json")


def read_record(state_dir: str, registry: str, host: str) -> Record | None:
    """Return a node's record, or None; RegctlError if it is damaged."""
    path = record_path(state_dir, registry, host)
    try:
        with open(path, "rb") as file:
            data = json.loads(file.read())
        return Record(
            registry=str(data["registry"]),
            host=str(data["host"]),
            run=str(data["run"]),
            since=str(data["since"]),
            by=str(data["by"]),
            reason=str(data["reason"]),
            before=dict(data["before"]),
            original=base64.b64decode(data["original"], validate=True),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise RegctlError(
            f"{path} is damaged: {type(error).__name__}",
            hint="move it away; the original stands beside the registry's configuration too, and is found",
        ) from error


def write_record(state_dir: str, record: Record) -> None:
    """Write a node's record, durable and 0600."""
    path = record_path(state_dir, record.registry, record.host)
    private_directory(os.path.dirname(path))
    data = {
        **{name: getattr(record, name) for name in ("registry", "host", "run", "since", "by", "reason")},
        "before": dict(record.before),
        "original": base64.b64encode(record.original).decode(),
    }
    replace_file(path, json.dumps(data, indent=1).encode())


def remove_record(state_dir: str, registry: str, host: str) -> None:
    """Forget a node; nothing happens if there is no record."""
    try:
        os.unlink(record_path(state_dir, registry, host))
    except FileNotFoundError:
        return
