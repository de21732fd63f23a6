"""Become psql on a database."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from ctl.database.programs import client_program

if TYPE_CHECKING:
    from ctl.database.base import Database


def client_environment(given: Mapping[str, str], ours: Mapping[str, str], passfile: int) -> dict[str, str]:
    """Return psql's environment: the caller's without any PG* variable, and what leads to the database.

    No variable of the caller's may lead it to another database, or with another password.
    """
    kept = {key: value for key, value in given.items() if not key.startswith("PG") or key == "PGTZ"}
    return {**kept, **ours, "PGPASSFILE": f"/proc/self/fd/{passfile}"}


def run_client(database: Database, arguments: Sequence[str], *, read_only: bool) -> NoReturn:
    """Replace this process by psql. Raises UnreachableError for an embedded database that is stopped.

    The password lies in memory under a descriptor that only psql inherits: in no argument, no variable
    and no file.
    """
    call = database.client_command(read_only=read_only)
    program = client_program()
    # Where there is no password the file is empty, so that none is looked for in ~/.pgpass either.
    descriptor = _in_memory(call.passfile.reveal() if call.passfile else "")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, [*call.argv, *arguments], client_environment(os.environ, call.env, descriptor))  # noqa: S606


def _in_memory(text: str) -> int:
    descriptor = os.memfd_create("regctl-passfile", 0)  # without MFD_CLOEXEC: psql is to have it
    os.fchmod(descriptor, 0o600)  # libpq passes over a file that others may read
    os.write(descriptor, text.encode())
    return descriptor
