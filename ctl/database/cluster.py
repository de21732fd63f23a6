"""What stands in the embedded PostgreSQL's files, and in which folder its socket lies. Values only, but for
the folder's making.
"""

from __future__ import annotations

import hashlib
import os
import stat

from ctl.errors import RegctlError

ROLE = "regctl"
DATABASE = "regctl"
PORT = 5432  # names the socket; nothing listens on TCP
_SOCKET_LIMIT = 107  # bytes of sockaddr_un.sun_path without its final zero, see unix(7)

_SETTINGS: dict[str, str] = {
    "listen_addresses": "''",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "40",
    # A bulk load on two cores: large merges in memory, few checkpoints. Commits stay durable.
    "shared_buffers": "128MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    # Nobody replicates from it, so a load into a new table need not be written twice.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "random_page_cost": "1.1",
    "jit": "off",
    # Parallel workers share memory in /dev/shm, of which a container often has 64 MB.
    "max_parallel_workers_per_gather": "0",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] %a '",
    "log_checkpoints": "off",
}


def settings_text(name: str, socket_folder: str) -> str:
    """Return postgresql.conf; written anew at each start, so a newer regctl brings newer settings."""
    lines = [f"{key} = {value}" for key, value in _SETTINGS.items()]
    lines += [f"unix_socket_directories = '{socket_folder}'", f"cluster_name = 'regctl-{name}'"]
    return "\n".join(
        [
            "# Written by regctl at each start. Settings of your own go to custom.conf, which is read last.",
            *lines,
            "include_if_exists = 'custom.conf'",
            "",
        ]
    )


def hba_text() -> str:
    """Return pg_hba.conf: the socket only, and only who the operating system says they are."""
    return f"# Written by regctl.\nlocal all {ROLE} peer map=regctl\n"


def ident_text(users: tuple[str, ...]) -> str:
    """Return pg_ident.conf: these system users may be the role regctl."""
    lines = [f'regctl "{user}" {ROLE}' for user in dict.fromkeys(users)]
    return "\n".join(["# Written by regctl.", *lines, ""])


def socket_folder(data: str, *, run_folder: str = "/run", fallback: str = "/tmp") -> str:  # noqa: S108
    """Name the folder of the socket: short, whatever state_dir is called, and the same at each call.

    Below /run/regctl where we may write there, below /tmp/regctl-UID otherwise.
    """
    key = hashlib.sha256(os.path.realpath(data).encode()).hexdigest()[:12]
    base = f"{run_folder}/regctl"
    if not os.access(base if os.path.isdir(base) else run_folder, os.W_OK):
        base = f"{fallback}/regctl-{os.geteuid()}"
    folder = f"{base}/{key}"
    if len(f"{folder}/.s.PGSQL.{PORT}.lock".encode()) > _SOCKET_LIMIT:
        raise RegctlError(f"{folder} is too long for a socket: {_SOCKET_LIMIT} bytes are the limit")
    return folder


def make_socket_folder(folder: str, uid: int, gid: int) -> None:
    """Create the folder and its parent. A parent that somebody else put there is refused."""
    base = os.path.dirname(folder)
    mode = 0o711 if os.geteuid() == 0 else 0o700
    os.makedirs(base, mode=mode, exist_ok=True)
    found = os.lstat(base)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), 0):
        raise RegctlError(
            f"{base} is not a folder of ours, so the database's socket is not put there",
            hint=f"see who made {base} and remove it",
        )
    if found.st_uid == os.geteuid():
        os.chmod(base, mode)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chown(folder, uid, gid)
    os.chmod(folder, 0o700)
