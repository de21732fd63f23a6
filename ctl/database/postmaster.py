"""Find a running PostgreSQL by its data folder, without trusting a pid that somebody else may have by now."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ctl.errors import UnreachableError


@dataclass(frozen=True)
class Postmaster:
    """A live server: its process, and the folder of its socket."""

    pid: int
    socket_folder: str


def find_postmaster(data: str) -> Postmaster | None:
    """Return the server that runs on a data folder, or None; only reads.

    The pid file outlives kill -9 and a reboot, so the process must also stand in that folder, as every
    PostgreSQL server does. A zombie stands nowhere. Raises UnreachableError where we may not look.
    """
    try:
        with open(f"{data}/postmaster.pid", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        hint = "run regctl as its owner or as root"
        raise UnreachableError(f"{data} is closed to us", hint=hint) from error
    # Its lines are pid, data folder, start time, port, socket folder and more:
    # https://www.postgresql.org/docs/15/storage-file-layout.html
    if len(lines) < 5 or not lines[0].strip().isdigit():
        return None  # it has only begun to write it
    pid = int(lines[0])
    try:
        standing = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None  # gone, a zombie, or somebody else's process with a reused pid
    if standing != os.path.realpath(data):
        return None
    return Postmaster(pid, lines[4].strip())


def anybody_standing(data: str) -> bool:
    """Say whether any live process stands in a data folder: a server, or a child that outlived it."""
    place = os.path.realpath(data)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.readlink(f"/proc/{entry}/cwd") == place:
                    return True
            except OSError:
                continue  # ended meanwhile, or somebody else's
    return False


def anybody_using(folder: str) -> bool:
    """Say whether any live process stands in a folder or names it on its command line, as initdb does."""
    place = os.path.realpath(folder)
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            if os.readlink(f"/proc/{entry}/cwd").startswith(place):
                return True
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                if os.fsencode(folder) in file.read():
                    return True
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return False


def tail(path: str, size: int = 2000) -> str:
    """Return the end of a log file, "" if it is not there."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
