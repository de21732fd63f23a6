"""Local files: read whole, described, replaced atomically. No reader ever sees half a file."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import secrets
import stat as modes
import time
from contextlib import suppress
from typing import Literal

from ctl.errors import RefusedError, RegctlError, UsageError
from ctl.hosts.base import FileInfo

# in the names of temporary files, so that leftovers can be told from kept originals and claims
_MARK = ".regctl-tmp-"
_HOPS = 40  # symbolic links in a row; the kernel's own limit
_STALE = 3600.0  # seconds after which a temporary file is a killed writer's, not a slow one's

_HINTS = {
    errno.ENOSPC: "make room on that file system, then run the same command again",
    errno.EDQUOT: "raise the disk quota, then run the same command again",
    errno.EFBIG: "the file is larger than the limit for this process (ulimit -f)",
    errno.EROFS: "the file system is mounted read-only: the kernel's log says why",
    errno.EACCES: "run regctl as root, or as a user who may do this",
    errno.EPERM: "run regctl as root, or as a user who may do this",
    errno.EIO: "the disk reports errors: look into the kernel's log",
    errno.ENOENT: "create its directory first",
    errno.ENOTDIR: "part of the path is a file; correct the path",
    errno.EISDIR: "this is a directory; name a file",
}


def failure(error: OSError, doing: str, path: str) -> RegctlError:
    """Turn the operating system's refusal into an error that says what to do."""
    return RegctlError(
        f"cannot {doing} {path}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0, "")
    )


def read(path: str) -> bytes:
    """Return a file's bytes; FileNotFoundError if it is not there."""
    try:
        # O_NONBLOCK: a pipe in a file's place must not hang us
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not modes.S_ISREG(os.fstat(handle).st_mode):
                raise RegctlError(f"cannot read {path}: not a regular file")
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise failure(error, "read", path) from error


def user_name(uid: int) -> str:
    """Return a user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return a group's name, or the number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def ids(owner: str | None, group: str | None) -> tuple[int, int]:
    """Return uid and gid of these names, or numbers as text; -1 where None. UsageError if unknown."""
    uid = gid = -1
    try:
        if owner is not None:
            uid = int(owner) if owner.isdecimal() else pwd.getpwnam(owner).pw_uid
        if group is not None:
            gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise UsageError(f"no such user or group on this host: {owner or '-'}:{group or '-'}") from error
    return uid, gid


def kind(mode: int) -> Literal["file", "directory", "symlink", "other"]:
    """Return the word for what a stat's mode says a path is."""
    if modes.S_ISREG(mode):
        return "file"
    if modes.S_ISDIR(mode):
        return "directory"
    return "symlink" if modes.S_ISLNK(mode) else "other"


def stat(path: str) -> FileInfo | None:
    """Describe a path without following a symbolic link; None if it is not there."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise failure(error, "look at", path) from error
    return FileInfo(
        kind=kind(found.st_mode),
        size=found.st_size,
        mode=modes.S_IMODE(found.st_mode),
        owner=user_name(found.st_uid),
        group=group_name(found.st_gid),
        mtime=found.st_mtime,
    )


def list_directory(path: str) -> list[str]:
    """Return the names in a directory, sorted; FileNotFoundError if it is not there."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise failure(error, "list", path) from error


def sync_directory(path: str) -> None:
    """Make what was created, renamed or removed in a directory last through a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def real_target(path: str) -> str:
    """Return the file that a write to this path replaces.

    A symbolic link is followed, so that it stays a link, but only one that root or we ourselves made:
    anybody else's could point anywhere. Raises RefusedError for those, and for what is not a file.
    """
    here = os.path.abspath(path)
    for _ in range(_HOPS):
        try:
            found = os.lstat(here)
        except FileNotFoundError:
            return here
        if modes.S_ISREG(found.st_mode):
            return here
        if not modes.S_ISLNK(found.st_mode):
            raise RefusedError(f"{path} is a {kind(found.st_mode)}, not a file: not replaced")
        if found.st_uid not in (0, os.geteuid()):
            raise RefusedError(
                f"{here} is a symbolic link of {user_name(found.st_uid)}: not followed",
                hint="replace it by a file, or name the real file",
            )
        here = os.path.join(os.path.realpath(os.path.dirname(here)), os.readlink(here))
    raise RefusedError(f"{path} is a symbolic link that leads round in a circle")


def write(path: str, data: bytes, mode: int, owner: str | None, group: str | None) -> None:
    """Replace a file atomically: readers see the old bytes or the new ones, also after a power cut.

    Without an owner or group a replaced file keeps its own, and a new one becomes ours.
    """
    try:
        target = real_target(path)
        folder, name = os.path.split(os.path.abspath(target))
        # everything below goes through this descriptor: swapping a parent directory changes nothing
        parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            uid, gid = _final_owner(parent, name, owner, group)
            _replace(parent, name, data, (mode, uid, gid))
        finally:
            os.close(parent)
    except OSError as error:
        raise failure(error, "write", path) from error


def _final_owner(parent: int, name: str, owner: str | None, group: str | None) -> tuple[int, int]:
    uid, gid = ids(owner, group)
    with suppress(FileNotFoundError):
        before = os.stat(name, dir_fd=parent, follow_symlinks=False)
        uid = before.st_uid if uid == -1 else uid
        gid = before.st_gid if gid == -1 else gid
    return uid, gid


def _replace(parent: int, name: str, data: bytes, access: tuple[int, int, int]) -> None:
    mode, uid, gid = access
    _sweep(parent, name)
    temporary = f".{name[:200]}{_MARK}{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # never more open than in the end: nobody but the owner before owner and mode are right
    handle = os.open(temporary, flags, mode & 0o600, dir_fd=parent)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            made = os.fstat(handle)
            if (uid, gid) != (-1, -1) and (uid, gid) != (made.st_uid, made.st_gid):
                os.fchown(handle, uid, gid)
            os.fchmod(handle, mode)  # after chown, which may clear bits
            os.fsync(handle)
        finally:
            os.close(handle)
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        raise
    os.fsync(parent)


def _sweep(parent: int, name: str) -> None:
    """Remove what a writer of this file that was killed long ago left behind."""
    for other in os.listdir(parent):
        if not other.startswith(f".{name[:200]}{_MARK}"):
            continue
        with suppress(OSError):
            if time.time() - os.stat(other, dir_fd=parent).st_mtime > _STALE:
                os.unlink(other, dir_fd=parent)


def remove(path: str) -> None:
    """Delete a file for good (its directory is synced); nothing happens if it is not there."""
    try:
        os.unlink(path)
        sync_directory(os.path.dirname(os.path.abspath(path)))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise failure(error, "remove", path) from error


def make_directory(path: str, mode: int, owner: str | None, group: str | None) -> None:
    """Create a directory and its missing parents (0755); one that is there is left as it is.

    Raises RefusedError where something else than a directory is in the way.
    """
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    if os.path.lexists(path):
        raise RefusedError(f"{path} is there and is not a directory")
    parent = os.path.dirname(path)
    if not os.path.lexists(parent):
        make_directory(parent, 0o755, None, None)
    try:
        uid, gid = ids(owner, group)
        with suppress(FileExistsError):  # made by somebody else meanwhile
            os.mkdir(path, 0o700 & mode)
            try:
                if (uid, gid) != (-1, -1):
                    os.chown(path, uid, gid, follow_symlinks=False)
                os.chmod(path, mode)
            except OSError:
                os.rmdir(path)
                raise
            sync_directory(parent)
    except OSError as error:
        raise failure(error, "create", path) from error
