"""What registry is on this host? `regctl init` asks; reads only."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.errors import UsageError

if TYPE_CHECKING:
    from ctl.hosts.base import Host, ProcessInfo

Places = Sequence[tuple[str, str]]
# (binary, configuration) where packages and the upstream image put them
USUAL_PLACES = (
    ("/usr/bin/docker-registry", "/etc/docker/registry/config.yml"),
    ("/usr/bin/registry", "/etc/distribution/config.yml"),
    ("/usr/local/bin/registry", "/etc/distribution/config.yml"),
    ("/usr/bin/registry", "/etc/docker/registry/config.yml"),
    ("/usr/local/bin/registry", "/etc/docker/registry/config.yml"),
)
# the same for GitLab's registry: its package, a manual installation, a container's habit
GITLAB_PLACES = (
    ("/opt/gitlab/embedded/bin/registry", "/var/opt/gitlab/registry/config.yml"),
    ("/opt/gitlab/embedded/bin/registry", "/etc/gitlab/registry/config.yml"),
    *(
        (binary, config)
        for binary in ("/usr/local/bin/registry", "/usr/bin/registry", "/usr/local/bin/gitlab-registry")
        for config in ("/etc/gitlab/registry/config.yml", "/etc/docker/registry/config.yml")
    ),
)
PROGRAMS = ("docker-registry", "registry", "gitlab-registry", "gitlab-container-registry")


@dataclass(frozen=True)
class FoundRegistry:
    """A registry on this host: its program, its configuration, and its process if it runs."""

    binary: str
    config_file: str
    how: str  # how it was found, for the operator
    process: ProcessInfo | None = None


def find_registry(
    host: Host, config_file: str | None, binary: str | None, places: Places = USUAL_PLACES
) -> FoundRegistry:
    """Find the registry meant: by what was given, else the one that runs, else in the usual places.

    UsageError if there is none or more than one; its hint names the options that say which.
    """
    config_file = os.path.abspath(config_file) if config_file else None
    binary = _program(binary) if binary else None
    running = [found for found in _running(host) if _fits(found, config_file, binary)]
    if config_file and binary:
        return FoundRegistry(binary, config_file, "as given", running[0].process if running else None)
    if len({(found.binary, found.config_file) for found in running}) > 1:
        lines = tuple(_options(found) for found in running)
        raise UsageError("several registries run on this host", hint="say which one, as below", details=lines)
    if running:
        return running[0]
    for known_binary, known_config in places:
        found = FoundRegistry(binary or known_binary, config_file or known_config, "installed, not running")
        if host.stat(found.binary) is not None and host.stat(found.config_file) is not None:
            return found
    raise UsageError(
        "there is no registry on this host that could be found by itself",
        hint="name it: regctl init --registry-config FILE --registry-binary FILE",
    )


def unit_of(host: Host, process: ProcessInfo | None) -> str | None:
    """Return the systemd unit that a process belongs to, without .service; None if to none."""
    if process is None:
        return None
    try:
        text = host.read(f"/proc/{process.pid}/cgroup").decode(errors="replace")
    except FileNotFoundError:
        return None
    found = re.search(r"/system\.slice/(?:[^/\n]+/)*([\w@.:-]+)\.service$", text, re.MULTILINE)
    return found.group(1) if found else None


def supervised_folder(host: Host, process: ProcessInfo | None) -> str | None:
    """Return the folder that runit's runsv supervises a process in; None if it does not."""
    from ctl.hosts.base import Command

    if process is None:
        return None
    try:
        stat = host.read(f"/proc/{process.pid}/stat").decode(errors="replace")
        parent = int(stat.rpartition(")")[2].split()[1])
        if host.read(f"/proc/{parent}/comm").strip() != b"runsv":
            return None
    except (FileNotFoundError, IndexError, ValueError):
        return None
    result = host.run(Command(("readlink", "-f", "--", f"/proc/{parent}/cwd")))
    folder = os.fsdecode(result.stdout).strip()
    return folder if result.exit_code == 0 and folder.startswith("/") else None


def systemd_runs(host: Host) -> bool:
    """Say whether systemd is in charge of this host's services."""
    try:
        first = host.read("/proc/1/comm").strip()
    except FileNotFoundError:
        return False
    return first == b"systemd" and any(
        host.stat(f"{folder}/systemctl") is not None for folder in ("/usr/bin", "/bin")
    )


def _program(binary: str) -> str:
    if "/" in binary:
        return os.path.abspath(binary)
    return shutil.which(binary) or os.path.abspath(binary)


def _running(host: Host) -> list[FoundRegistry]:
    from ctl.hosts.serving import loaded_config

    found = []
    for process in host.processes():
        if len(process.argv) < 2 or process.argv[1] != "serve":
            continue
        config_file = loaded_config(host, process)
        binary = process.executable or process.argv[0]
        named = os.path.basename(process.argv[0]) in PROGRAMS or os.path.basename(binary) in PROGRAMS
        if named and config_file and binary.startswith("/"):
            shown = process.argv[0] if process.argv[0].startswith("/") else binary
            found.append(FoundRegistry(shown, config_file, f"running as process {process.pid}", process))
    return found


def _fits(found: FoundRegistry, config_file: str | None, binary: str | None) -> bool:
    real = os.path.realpath
    return (config_file is None or real(found.config_file) == real(config_file)) and (
        binary is None or real(found.binary) == real(binary)
    )


def _options(found: FoundRegistry) -> str:
    return f"--registry-config {found.config_file} --registry-binary {found.binary}"
