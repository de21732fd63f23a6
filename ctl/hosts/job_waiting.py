"""Wait for a job by looking at it again and again: for hosts that are not far away."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from ctl.hosts.base import JobTail

if TYPE_CHECKING:
    from ctl.hosts.base import Host

_LOOKS = (0.01, 0.5)  # seconds between two looks: at first, and at most
_CHUNK = 1 << 20


def wait_job(host: Host, job_id: str, patience: timedelta, tail: int) -> JobTail:
    """Do what `Host.wait_job` promises."""
    deadline, wait = time.monotonic() + patience.total_seconds(), _LOOKS[0]
    while (status := host.job(job_id)).state in ("running", "unknown") and time.monotonic() < deadline:
        time.sleep(min(wait, max(0.0, deadline - time.monotonic())))
        wait = min(wait * 1.5, _LOOKS[1])
    if status.state not in ("exited", "lost"):
        return JobTail(status)
    stdout, printed = _last(host, job_id, "stdout", tail)
    stderr, complained = _last(host, job_id, "stderr", tail)
    return JobTail(status, stdout, stderr, printed, complained)


def _last(host: Host, job_id: str, stream: Literal["stdout", "stderr"], tail: int) -> tuple[bytes, int]:
    """Return the last bytes of a stream and its length; never holds much more than asked for."""
    kept, offset = b"", 0
    while chunk := host.job_output(job_id, stream, offset, _CHUNK):
        offset += len(chunk)
        kept = (kept + chunk)[-tail:] if tail else b""
    return kept, offset
