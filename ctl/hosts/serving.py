"""What a live registry process really is: which binary, which configuration, since when."""

from __future__ import annotations

import os.path
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ctl.errors import RegctlError
from ctl.hosts.base import Command

if TYPE_CHECKING:
    from ctl.hosts.base import Host, ProcessInfo

TICKS_PER_SECOND = 100  # of start times in /proc; USER_HZ is 100 on every Linux port in use
CONFIG_VARIABLE = "REGISTRY_CONFIGURATION_PATH"  # what the registry reads where no argument names a file


def _real(host: Host, path: str) -> str:
    """Resolve a path's symbolic links on the host; the path itself where that cannot be done."""
    result = host.run(Command(("readlink", "-f", "--", path)))
    return os.fsdecode(result.stdout).rstrip("\n") if result.exit_code == 0 else path


def same_file(host: Host, one: str, other: str) -> bool:
    """Say whether two paths on the host name the same file."""
    return one == other or _real(host, one) == _real(host, other)


def _is_script(host: Host, path: str) -> bool:
    return host.run(Command(("head", "-c", "2", "--", path))).stdout == b"#!"


def serves(host: Host, process: ProcessInfo, binary: str, config_file: str) -> bool:
    """Say whether a process is this binary serving this file, whoever started it and however.

    The kernel's word for the binary (/proc/PID/exe) counts, since argv[0] is only a claim. A script is
    run by its interpreter; but `sudo BINARY serve FILE` is not the service.
    """
    if "serve" not in process.argv:
        return False
    at = process.argv.index("serve")
    if at == 1 and process.executable and not same_file(host, process.executable, binary):
        return False
    if at == 1 and not process.executable and not same_file(host, process.argv[0], binary):
        return False
    if at > 1 and not (same_file(host, process.argv[at - 1], binary) and _is_script(host, binary)):
        return False
    loaded = loaded_config(host, process)
    return loaded is not None and same_file(host, loaded, config_file)


def loaded_config(host: Host, process: ProcessInfo) -> str | None:
    """Return the file that a registry process loaded: the argument after `serve`, else its environment."""
    path = ""
    if "serve" in process.argv:
        rest = process.argv[process.argv.index("serve") + 1 :]
        path = next((word for word in rest if not word.startswith("-")), "")
    if not path:
        path = environment(host, process).get(CONFIG_VARIABLE, "")
    if path and not path.startswith("/"):  # relative to where it was started
        path = os.path.join(_real(host, f"/proc/{process.pid}/cwd"), path)
    return path or None


def loaded_binary(process: ProcessInfo | None) -> str | None:
    """Return the file that a process executes; None for none."""
    return None if process is None else process.executable or process.argv[0]


def wait_for(condition: Callable[[], bool], seconds: float, poll: float) -> bool:
    """Look every `poll` seconds until something holds; False if it did not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll)
    return True


def environment(host: Host, process: ProcessInfo) -> dict[str, str]:
    """Return the environment that a process was started with; {} where we may not look."""
    try:
        text = host.read(f"/proc/{process.pid}/environ")
    except (FileNotFoundError, RegctlError):
        return {}
    pairs = (os.fsdecode(item).partition("=") for item in text.split(b"\0") if item)
    return {name: value for name, _, value in pairs}


def started_at(host: Host, process: ProcessInfo) -> float | None:
    """Return when a process started, in seconds since 1970."""
    try:
        text = host.read("/proc/stat")
    except (FileNotFoundError, RegctlError):
        return None
    for line in text.splitlines():
        if line.startswith(b"btime "):
            return int(line.split()[1]) + process.start_time / TICKS_PER_SECOND
    return None
