"""A lock on a file of this machine, which the kernel frees when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ctl.errors import LockedError


@contextmanager
def file_lock(path: str, *, what: str, seconds: float = 120.0) -> Iterator[None]:
    """Hold the lock in the block; LockedError names the holder after waiting `seconds`.

    The file stays: removing it would let two callers hold two different files of one name.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(handle, what, path, time.monotonic() + seconds)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, what: str, path: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                raise LockedError(
                    f"{what}: process {holder} holds {path}", hint="wait for it, then run the command again"
                ) from None
            time.sleep(0.05)
