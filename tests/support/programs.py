"""Where the programs that the tests drive are, and one exception for those that are missing."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

POSTGRES_FOLDERS = "/usr/lib/postgresql"


class MissingProgramError(Exception):
    """A program is not installed: tests/conftest.py turns it into a counted skip, or a failure."""

    def __init__(self, program: str, remedy: str) -> None:
        super().__init__(f"{program} is not installed; {remedy}")
        self.program = program


def find(program: str) -> str:
    """Return the path of a program on PATH or in the sbin folders; MissingProgramError otherwise."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin"
    found = shutil.which(program, path=path)
    if found is None:
        raise MissingProgramError(program, "run `make install`")
    return found


def docker_registry() -> str:
    """Return Debian's registry 2.8."""
    return find("docker-registry")


def registry3() -> str:
    """Return the registry 3.x that `make install` builds where Go is on the machine."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(cache) / "registry-maintain" / "test" / "bin" / "registry"
    if not os.access(path, os.X_OK):
        raise MissingProgramError("registry 3.x", "install Go, then run `make install`")
    return str(path)


def gitlab_registry() -> str:
    """Return GitLab's registry: REGCTL_TEST_GITLAB_REGISTRY, else the one below the user's cache folder."""
    given = os.environ.get("REGCTL_TEST_GITLAB_REGISTRY")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(given) if given else Path(cache) / "registry-maintain" / "test" / "gitlab-registry"
    if not os.access(path, os.X_OK):
        raise MissingProgramError("GitLab's registry", "name its binary in REGCTL_TEST_GITLAB_REGISTRY")
    return str(path)


def pulp(line: str = "24") -> str:
    """Return the virtual environment of a real Pulp: of `make install` for 24, of `make soak` for others."""
    pins = Path(__file__).resolve().parents[2] / "requirements" / f"pulp-{line}.txt"
    name = f"{line}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(cache) / "registry-maintain" / "test" / "pulp" / name
    if not (path / ".installed").exists():
        raise MissingProgramError(f"Pulp 2.{line}", f"run `tools/pulp.sh {line}`")
    return str(path)


def postgres_bin() -> str:
    """Return the folder of the newest PostgreSQL server programs."""
    versions = sorted(
        (int(p.name) for p in Path(POSTGRES_FOLDERS).glob("*") if p.name.isdigit()), reverse=True
    )
    for version in versions:
        folder = Path(POSTGRES_FOLDERS) / str(version) / "bin"
        if (folder / "initdb").exists():
            return str(folder)
    raise MissingProgramError("postgres", "run `make install`")
