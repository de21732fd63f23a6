"""What a supervisor leaves on disk of its job, read back and compared with the live processes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ctl.errors import RegctlError
from ctl.hosts import processes


@dataclass(frozen=True)
class Record:
    """What a supervisor recorded before it opened the gate; no pid where the job was given up."""

    pid: int
    start_time: int
    boot_id: str
    supervisor_pid: int
    supervisor_start_time: int

    @property
    def program_lives(self) -> bool:
        """Say whether the program's own process lives."""
        return processes.is_alive(self.pid, self.start_time, self.boot_id)

    @property
    def supervisor_lives(self) -> bool:
        """Say whether its supervisor lives."""
        return processes.is_alive(self.supervisor_pid, self.supervisor_start_time, self.boot_id)


def read_record(path: str) -> Record | None:
    """Read which process a job is; None if nothing was recorded."""
    found = load(path)
    try:
        return Record(**found) if found is not None else None
    except TypeError as error:
        raise damaged(path, error) from error


def read_exit(path: str) -> int | None:
    """Read a job's exit code; None if none was recorded."""
    found = load(path)
    try:
        return None if found is None else int(found["exit_code"])
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, error) from error


def load(path: str) -> dict[str, Any] | None:
    """Read a small JSON object; None if it is not there, RegctlError if it is damaged."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    if not isinstance(found, dict):
        raise damaged(path, ValueError("not an object"))
    return found


def damaged(path: str, error: Exception) -> RegctlError:
    """Say that a file of a job cannot be relied on."""
    return RegctlError(
        f"cannot read {path}: {error}",
        hint="look for the job's process yourself; only when none is left, remove its folder",
    )
