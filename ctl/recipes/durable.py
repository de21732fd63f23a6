"""Files of the controller that must survive a crash: written whole or not at all, and flushed to disk."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from ctl.errors import RegctlError


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what the operating system says of the controller's own files into a RegctlError."""
    try:
        yield
    except OSError as error:
        raise RegctlError(
            f"{error.filename or 'state_dir'}: {error.strerror}",
            hint="regctl keeps its journal and locks below state_dir: it needs room, and the rights of"
            " the user that made it (usually root)",
        ) from error


def flush_directory(path: str) -> None:
    """Make the names in a directory durable (fsync)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_directory(path: str, mode: int = 0o700) -> None:
    """Create a directory 0700, each new name flushed; nothing happens if it is there.

    Missing parents get 0711: the embedded database runs as another user and has its folder below
    `state_dir` too.
    """
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    private_directory(parent, 0o711)
    with explained():
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode)
        flush_directory(parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; os.write may take only some of them."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace a file atomically: temp beside it, fsync, rename, fsync of the directory."""
    with explained():
        _replace_file(path, data, mode)


def _replace_file(path: str, data: bytes, mode: int) -> None:
    temporary = f"{path}.tmp-{os.getpid()}-{os.urandom(4).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    flush_directory(os.path.dirname(path))


def append_line(path: str, record: dict[str, Any]) -> None:
    """Append one JSON line and flush it: an audit trail, not a journal."""
    with explained():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, (json.dumps(record, sort_keys=True) + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def short_lock(path: str, seconds: float = 10.0) -> Iterator[int]:
    """Hold a file lock (flock) for a moment, around a read and a write; the kernel frees it on death.

    Raises RegctlError when somebody keeps it for longer than `seconds`: only a stopped process does.
    """
    with explained():
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RegctlError(
                        f"{path} has been held for more than {seconds:.0f} s",
                        hint=f"a regctl that is stopped (Ctrl-Z) may hold it; find it with: fuser {path}",
                    ) from None
                time.sleep(0.002)
        yield descriptor
    finally:
        os.close(descriptor)
