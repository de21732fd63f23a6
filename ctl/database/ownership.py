"""Who runs the embedded server, and what that user may reach."""

from __future__ import annotations

import contextlib
import os
import pwd

from ctl.errors import RegctlError

_SERVER_USER = "postgres"


def user_name(uid: int) -> str:
    """Return the user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def server_owner(data: str) -> pwd.struct_passwd:
    """Return whom the server runs as: its folder's owner, else postgres under root, else ourselves.

    Raises RegctlError where that cannot be.
    """
    uid = os.geteuid()
    try:
        found = os.stat(data).st_uid
    except FileNotFoundError:
        return pwd.getpwuid(uid) if uid != 0 else _server_user()
    if found == 0:
        raise RegctlError(f"{data} belongs to root, and PostgreSQL refuses to run as root")
    if uid not in (0, found):
        raise RegctlError(
            f"{data} belongs to {user_name(found)}, so {user_name(uid)} cannot run PostgreSQL on it",
            hint=f"run the command as {user_name(found)} or as root",
        )
    return pwd.getpwuid(found)


def _server_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SERVER_USER)
    except KeyError:
        raise RegctlError(
            f"there is no user {_SERVER_USER}, and PostgreSQL refuses to run as root",
            hint="install the Debian package postgresql, which brings the user",
        ) from None


def make_passable(folders: tuple[str, ...], user: pwd.struct_passwd) -> None:
    """Create the folders, let the server's user pass through them, and prove that it gets there.

    What lies in them stays hidden: the right to enter a folder is not the right to list it. Raises
    RegctlError for a folder further up that is closed; it is not ours to open.
    """
    for folder in folders:
        os.makedirs(folder, mode=0o711, exist_ok=True)
        mode = os.stat(folder).st_mode & 0o7777
        if os.geteuid() == 0 and mode & 0o011 != 0o011:
            os.chmod(folder, mode | 0o011)  # noqa: S103
    parts = os.path.realpath(folders[-1]).split("/")
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count]) or "/"
        if not _may_pass(folder, user):
            raise RegctlError(
                f"PostgreSQL runs as {user.pw_name}, who may not pass through {folder}",
                hint=f"chmod o+x {folder}, or choose another state_dir",
            )


def _may_pass(folder: str, user: pwd.struct_passwd) -> bool:
    found = os.stat(folder)
    if found.st_uid == user.pw_uid:
        return bool(found.st_mode & 0o100)
    if found.st_gid in os.getgrouplist(user.pw_name, user.pw_gid):
        return bool(found.st_mode & 0o010)
    return bool(found.st_mode & 0o001)


def replace_file(path: str, text: str, user: pwd.struct_passwd) -> None:
    """Replace a file in the server's own folder atomically, 0600 and its user's.

    The folder is that user's, so nothing that stands there is followed: the temporary file must be new.
    """
    fresh = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(handle, "w", encoding="utf-8") as stream:
        os.fchown(stream.fileno(), user.pw_uid, user.pw_gid)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(fresh, path)


def sync_folder(folder: str) -> None:
    """Make a rename in the folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
