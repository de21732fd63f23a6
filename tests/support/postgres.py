"""A throw-away PostgreSQL cluster: a unix socket, a free loopback port, nothing kept, no fsync."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import programs
from tests.support.waiting import clean_environment, free_port, stop_process, wait_until

if TYPE_CHECKING:
    import psycopg

SUPERUSER = "tester"
PASSWORD = "a word of the tests"
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "40",
    "max_locks_per_transaction": "256",  # GitLab's migrations lock 64 partitions of several tables at once
    "autovacuum": "off",
    "log_min_duration_statement": "-1",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class DatabaseAddress:
    """One database of the cluster: over the socket (no password), or over TCP with one."""

    name: str
    socket_folder: str
    port: int
    user: str = SUPERUSER
    password: str = PASSWORD

    @property
    def dsn(self) -> str:
        """The libpq address over the socket."""
        return f"host={self.socket_folder} port={self.port} dbname={self.name} user={self.user}"

    @property
    def tcp_dsn(self) -> str:
        """The libpq address over TCP, with the password."""
        return (
            f"host=127.0.0.1 port={self.port} dbname={self.name} user={self.user} "
            f"password='{self.password}' sslmode=disable"
        )


class PostgresServer:
    """One cluster. PostgreSQL refuses to be root, so as root it runs as the user `postgres`.

    Its folder is a short path below /tmp: pytest's own folders are closed to other users, and a socket's
    path may have 107 bytes at most.
    """

    def __init__(self) -> None:
        self.bin = Path(programs.postgres_bin())
        self.port = 0
        self.folder = Path()
        self.process: subprocess.Popen[bytes] | None = None
        self._count = 0

    def start(self, timeout: float = 30.0) -> PostgresServer:
        """Create the cluster where there is none yet, start it, return when it answers."""
        if not self.folder.name:
            self._create()
        arguments = [str(self.bin / "postgres"), "-D", str(self.folder / "data")]
        with (self.folder / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_postgres()
            )
        process = self.process
        wait_until(
            lambda: process.poll() is not None or self._answers(),
            what="PostgreSQL",
            timeout=timeout,
            interval=0.05,
        )
        if process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended at once:\n{self.log_tail()}")
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it at once (INT is PostgreSQL's fast shutdown; TERM would wait for clients)."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(how)
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    stop_process(self.process, 1.0)
            self.process = None

    def remove(self) -> None:
        """Stop it and delete the cluster; nothing is written out first that would be deleted next."""
        self.stop(signal.SIGQUIT)  # its immediate shutdown
        if self.folder.name:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = Path()

    def address(self, name: str) -> DatabaseAddress:
        """Return the address of a database by name."""
        return DatabaseAddress(name, str(self.folder), self.port)

    def connect(self, name: str = "postgres") -> psycopg.Connection[Any]:
        """Open an autocommit connection as superuser; the caller closes it."""
        import psycopg

        return psycopg.connect(self.address(name).dsn, autocommit=True)

    def create_database(self, *, template: str = "template0", prefix: str = "t") -> DatabaseAddress:
        """Create a database of its own, cloned from a template (one copy of files, about 50 ms)."""
        self._count += 1
        name = f"{prefix}{os.getpid()}_{self._count}"
        with closing(self.connect()) as connection:
            connection.execute(
                f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode()  # names are ours
            )
        return self.address(name)

    def template(self, fill: Callable[[DatabaseAddress], object], name: str) -> str:
        """Create a template once by calling `fill` on a new database; return its name."""
        with closing(self.connect()) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if not known:
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
        if not known:
            fill(self.address(name))
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, ending its connections."""
        with closing(self.connect()) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def log_tail(self, lines: int = 15) -> str:
        """Return the end of the server's log."""
        log = self.folder / "postgres.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _create(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rcpg-", dir="/tmp"))
        self.port = free_port()
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        password = self.folder / "password"
        password.write_text(PASSWORD + "\n")
        if os.geteuid() == 0:
            os.chown(password, owner.pw_uid, owner.pw_gid)
        data = self.folder / "data"
        subprocess.run(
            [
                str(self.bin / "initdb"),
                f"--pgdata={data}",
                f"--username={SUPERUSER}",
                f"--pwfile={password}",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            **self._as_postgres(),
        )
        settings = {
            **SETTINGS,
            "listen_addresses": "'127.0.0.1'",
            "port": str(self.port),
            "unix_socket_directories": f"'{self.folder}'",
        }
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())

    def _as_postgres(self) -> dict[str, Any]:
        common: dict[str, Any] = {"cwd": "/", "env": clean_environment(), "start_new_session": True}
        if os.geteuid() != 0:
            return common
        owner = pwd.getpwnam("postgres")
        return {**common, "user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    def _answers(self) -> bool:
        import psycopg

        try:
            self.connect().close()
        except psycopg.Error:
            return False
        return True
