"""Free ports, and waiting for something with a deadline."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable


class WaitedTooLongError(AssertionError):
    """What was waited for did not happen before the deadline."""


def free_port() -> int:
    """Return a TCP port on the loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    condition: Callable[[], object], *, what: str, timeout: float = 10.0, interval: float = 0.02
) -> None:
    """Poll until the condition is true; WaitedTooLongError names what was waited for. Seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise WaitedTooLongError(f"waited {timeout:g} s for {what}")
        time.sleep(interval)


def stop_process(process: subprocess.Popen[bytes], grace: float = 5.0) -> int:
    """TERM, and KILL after the grace (seconds); return the exit code. One process, by its own pid."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(grace)
    return int(process.wait())


def clean_environment(**more: str) -> dict[str, str]:
    """Return an environment that no REGISTRY_*, PG* or OTEL_* variable of ours leaks into."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    return {**kept, "LC_ALL": "C.UTF-8", **more}
