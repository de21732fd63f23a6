"""Write the controller's own files whole or not at all: the site, its drop-in, its secrets.

A registry's files are written through its host's door, never here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator

from ctl.errors import RefusedError, RegctlError


def write_atomically(path: str, data: bytes, mode: int) -> None:
    """Replace a file: temp beside it, fsync, rename, fsync of the directory. An existing owner is kept."""
    with _temporary(path, data, mode) as temporary:
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(path)
            if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(temporary, found.st_uid, found.st_gid)
        os.rename(temporary, path)


def create(path: str, data: bytes, mode: int) -> None:
    """Write a file that is not there yet; RefusedError if it is, even if it came this very moment."""
    with _temporary(path, data, mode) as temporary:
        try:
            os.link(temporary, path, follow_symlinks=False)
        except FileExistsError:
            raise RefusedError(f"{path} is there already; it is never overwritten") from None
        os.unlink(temporary)


def make_folder(path: str, mode: int) -> None:
    """Create a folder and its parents where they are missing."""
    try:
        os.makedirs(os.path.dirname(path) or "/", mode=0o755, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode)
    except OSError as error:
        raise RegctlError(f"the folder {path} cannot be made: {error.strerror}") from error


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Keep other writers of a folder's files out meanwhile; waits for them."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(path: str, data: bytes, mode: int) -> Iterator[str]:
    folder = os.path.dirname(path) or "."
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        yield temporary
        _sync(folder)
    except OSError as error:
        raise RegctlError(
            f"{path} cannot be written: {error.strerror}", hint="what stood there before is unchanged"
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
