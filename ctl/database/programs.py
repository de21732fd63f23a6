"""Find PostgreSQL's programs. Debian keeps the server's out of PATH, by major version."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ctl.errors import RegctlError

_DEBIAN = "/usr/lib/postgresql"
_SERVER = ("initdb", "pg_ctl", "postgres")


def _folders(root: str, path: str) -> list[str]:
    try:
        majors = sorted((int(entry) for entry in os.listdir(root) if entry.isdigit()), reverse=True)
    except OSError:
        majors = []
    return [*(f"{root}/{major}/bin" for major in majors), *(part for part in path.split(":") if part)]


def _has(folder: str, programs: Sequence[str]) -> bool:
    return all(os.access(f"{folder}/{program}", os.X_OK) for program in programs)


def server_folder(major: str = "", *, root: str = _DEBIAN, path: str | None = None) -> str:
    """Return the folder of the newest server programs, or of exactly one major version's.

    Raises RegctlError naming the Debian package when there is none.
    """
    places = _folders(root, os.environ.get("PATH", "") if path is None else path)
    found = [folder for folder in places if _has(folder, _SERVER)]
    if not major and found:
        return found[0]
    for folder in found:
        if folder == f"{root}/{major}/bin" or (not folder.startswith(root) and _major_of(folder) == major):
            return folder
    package = f"postgresql-{major}" if major else "postgresql"
    wanted = f"PostgreSQL {major}" if major else "PostgreSQL"
    raise RegctlError(
        f"{wanted} is not installed: no {', '.join(_SERVER)} below {root} or on PATH",
        hint=f"install the Debian package {package} (apt-get install --no-install-recommends {package})",
    )


def _major_of(folder: str) -> str:
    """Return the major version that stands in the real path of programs outside Debian's folders."""
    real = os.path.realpath(f"{folder}/postgres")
    for part in reversed(real.split("/")):
        if part.isdigit():
            return part
    return ""


def client_program() -> str:
    """Return the path of psql; RegctlError naming the Debian package when there is none."""
    for folder in _folders(_DEBIAN, os.environ.get("PATH", "")):
        if _has(folder, ("psql",)):
            return f"{folder}/psql"
    raise RegctlError(
        "psql is not installed",
        hint="install the Debian package postgresql-client (apt-get install postgresql-client)",
    )
