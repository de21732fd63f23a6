"""Embedded databases for tests: real ones, below a folder that PostgreSQL's user may reach."""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path

from ctl.database.base import ProgramResult
from ctl.database.embedded import EmbeddedDatabase
from ctl.hosts.base import Command
from ctl.hosts.local import LocalHost


def let_pass(folder: Path) -> Path:
    """Let every user pass through pytest's own folders above, as a state_dir in real life does."""
    top = Path(tempfile.gettempdir()).resolve()
    for parent in (folder, *folder.parents):
        if parent == top or top not in parent.parents:
            break
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode & 0o7777 | 0o011)
    return folder


def run_program(argv: tuple[str, ...], user: str | None, seconds: float) -> ProgramResult:
    """Run one of PostgreSQL's programs through the real host door, as the application does."""
    host = LocalHost("here", jobs_dir="/nonexistent")
    result = host.run(Command(argv, user=user, timeout=timedelta(seconds=seconds)))
    return ProgramResult(result.exit_code, (result.stdout + result.stderr).decode(errors="replace"))


def embedded(state_dir: Path, name: str = "metadata") -> EmbeddedDatabase:
    """An embedded database below a folder; nothing is made or started yet."""
    return EmbeddedDatabase(name, str(state_dir), run_program)
