"""The embedded PostgreSQL: private, on a socket, below state_dir, started when a changing command needs it.

PostgreSQL refuses to be root, so under root it runs as the user `postgres`; otherwise as the caller. A
cluster that exists belongs to whoever owns its folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time

from ctl.database import cluster
from ctl.database.base import ClientCommand, DatabaseStatus, Pooling, RunProgram
from ctl.database.connect import connect, server_version
from ctl.database.errors import DatabaseError
from ctl.database.filelock import file_lock
from ctl.database.ownership import make_passable, replace_file, server_owner, sync_folder, user_name
from ctl.database.postmaster import Postmaster, anybody_standing, anybody_using, find_postmaster, tail
from ctl.database.programs import server_folder
from ctl.database.session import PostgresSession
from ctl.errors import RegctlError, UnreachableError

_EXISTS = "SELECT 1 FROM pg_database WHERE datname = 'regctl'"
_START_SECONDS = 60.0
_ORPHAN_SECONDS = 20.0  # that the initdb of a killed caller may go on
_STOP_SECONDS = 60.0
_LOG_LIMIT = 10_000_000  # bytes of server.log, above which the next start begins a new one


class EmbeddedDatabase:
    """A database of regctl's own. `status`, `connect` and `client_command` never start it."""

    embedded = True

    def __init__(self, name: str, state_dir: str, run: RunProgram) -> None:
        self.name = name
        self.state_dir = os.path.abspath(state_dir)
        self.folder = f"{self.state_dir}/postgres"
        self.data = f"{self.folder}/{name}"
        self.log = f"{self.data}/server.log"
        self._run = run

    def status(self) -> DatabaseStatus:
        """Look only: read the pid file, and where a server runs ask it for its version."""
        try:
            if not os.path.exists(f"{self.data}/PG_VERSION"):
                return self._status_without_cluster()
            running = self._postmaster()
            if running is None:
                return DatabaseStatus(False, "stopped", "", f"{self.data} is stopped")
            place = {
                "socket_dir": running.socket_folder,
                "port": str(cluster.PORT),
                "dbname": cluster.DATABASE,
                "user": cluster.ROLE,
            }
            with self.connect(read_only=True) as session:
                return DatabaseStatus(True, "running", server_version(session), self.data, place)
        except RegctlError as error:
            return DatabaseStatus(False, "unreachable", "", error.message)

    def ensure_started(self) -> bool:
        """Create what is missing and start the server; return True if it was not running.

        Callers wait for each other by a file lock, so two of them never start it twice. Raises RegctlError
        with the end of the server's log if it does not come up, LockedError if the lock does not get free.
        """
        make_passable((self.state_dir, self.folder), server_owner(self.data))
        with file_lock(f"{self.folder}/.{self.name}.lock", what=f"start of database {self.name}"):
            if not os.path.exists(f"{self.data}/PG_VERSION"):
                self._create()
            started = self._start()
            self._ensure_database()
            return started

    def stop(self) -> bool:
        """Stop the server (open transactions are rolled back), prove it; True if it was running."""
        if not os.path.exists(f"{self.data}/PG_VERSION"):
            return False
        with file_lock(f"{self.folder}/.{self.name}.lock", what=f"stop of database {self.name}"):
            running = self._postmaster()
            if running is None:
                return False
            seconds = str(int(_STOP_SECONDS))
            arguments = ("stop", "-D", self.data, "-m", "fast", "-w", "-s", "-t", seconds)
            output = self._program("pg_ctl", arguments, _STOP_SECONDS + 10)[1].strip()
            if self._postmaster() is not None:
                place = f"database {self.name}, process {running.pid}"
                raise RegctlError(
                    f"{place}, did not stop within {seconds} s: {output}", hint=f"see {self.log}"
                )
            with contextlib.suppress(OSError):
                os.rmdir(running.socket_folder)
            return True

    def connect(self, *, read_only: bool = False) -> PostgresSession:
        """Open a session; UnreachableError if it is stopped or was never created."""
        return self._connect(cluster.DATABASE, read_only=read_only)

    def pooling(self) -> Pooling:
        """Nothing: its socket is its own."""
        return "none"

    def client_command(self, *, read_only: bool = False) -> ClientCommand:
        """Return how to call psql on it; UnreachableError if it is stopped."""
        env = {
            "PGHOST": self._running().socket_folder,
            "PGPORT": str(cluster.PORT),
            "PGDATABASE": cluster.DATABASE,
            "PGUSER": cluster.ROLE,
            "PGAPPNAME": "regctl",
        }
        if read_only:
            env["PGOPTIONS"] = "-c default_transaction_read_only=on"
        return ClientCommand(("psql",), env)

    def _status_without_cluster(self) -> DatabaseStatus:
        for folder in (self.state_dir, self.folder, self.data):
            if os.path.isdir(folder) and not os.access(folder, os.X_OK):
                owner = user_name(os.stat(folder).st_uid)
                return DatabaseStatus(
                    False, "unreachable", "", f"{folder} belongs to {owner}; ask as {owner} or root"
                )
        return DatabaseStatus(False, "missing", "", f"{self.data} was never created")

    def _postmaster(self) -> Postmaster | None:
        return find_postmaster(self.data)

    def _running(self) -> Postmaster:
        running = self._postmaster()
        if running is not None:
            return running
        status = self.status()
        if status.state == "missing":
            raise UnreachableError(
                f"the embedded database {self.name} was never created",
                hint=f"run `regctl database migrate up --database {self.name}`",
            )
        if status.state == "unreachable":
            raise UnreachableError(f"database {self.name}: {status.detail}")
        raise UnreachableError(
            f"the embedded database {self.name} is stopped",
            hint=f"run `regctl database start --database {self.name}`",
        )

    def _connect(self, dbname: str, *, read_only: bool) -> PostgresSession:
        running = self._running()
        parameters = {
            "host": running.socket_folder,
            "port": str(cluster.PORT),
            "dbname": dbname,
            "user": cluster.ROLE,
        }
        return connect(self.name, self.data, parameters, read_only=read_only)

    # Everything below is called under the file lock.

    def _program(self, program: str, arguments: tuple[str, ...], seconds: float) -> tuple[int, str]:
        owner = server_owner(self.data)
        major = ""
        try:
            with open(f"{self.data}/PG_VERSION", encoding="ascii") as file:
                major = file.read().strip()
        except FileNotFoundError:
            pass
        user = None if owner.pw_uid == os.geteuid() else owner.pw_name
        result = self._run((f"{server_folder(major)}/{program}", *arguments), user, seconds)
        return result.exit_code, result.output

    def _create(self) -> None:
        """Make the cluster beside its place and rename it: there is none, or a whole one, at any moment."""
        self._sweep_unfinished()
        owner = server_owner(self.data)
        fresh = f"{self.folder}/.{self.name}.new-{secrets.token_hex(4)}"
        os.mkdir(fresh, 0o700)
        os.chown(fresh, owner.pw_uid, owner.pw_gid)
        arguments = (
            f"--pgdata={fresh}",
            f"--username={cluster.ROLE}",
            "--auth-local=peer",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",  # text sorts by its bytes, as a storage tree is read
            "--data-checksums",
        )
        code, output = self._program("initdb", arguments, 120)
        if code != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise RegctlError(f"initdb of database {self.name} failed: {output.strip()[-400:]}")
        # pg_hba.conf is ours for ever after; an operator's own settings go to custom.conf.
        replace_file(f"{fresh}/pg_hba.conf", cluster.hba_text(), owner)
        os.rename(fresh, self.data)
        sync_folder(self.folder)

    def _sweep_unfinished(self) -> None:
        """Remove what a creation that was killed has left; its initdb may live on, and is waited for."""
        deadline = time.monotonic() + _ORPHAN_SECONDS
        for entry in os.listdir(self.folder):
            if entry.startswith(f".{self.name}.new-"):
                unfinished = f"{self.folder}/{entry}"
                while anybody_using(unfinished) and time.monotonic() < deadline:
                    time.sleep(0.05)
                shutil.rmtree(unfinished, ignore_errors=True)

    def _start(self) -> bool:
        """Start the server unless it runs; return when it answers."""
        deadline = time.monotonic() + _START_SECONDS
        started = False
        while True:
            if self._postmaster() is None:
                started = True
                self._clear_stale(deadline)
                self._launch()
            try:
                self._connect("postgres", read_only=True).close()
                return started
            except UnreachableError as error:  # still recovering, or it died meanwhile
                if time.monotonic() > deadline:
                    raise RegctlError(
                        f"database {self.name} does not answer: {error.message}", hint=f"see {self.log}"
                    ) from error
            time.sleep(0.1)

    def _clear_stale(self, deadline: float) -> None:
        """Take away the lock files of a server that is proved dead.

        PostgreSQL itself believes any process of that number, also a zombie that nobody buries (in a
        container) or a stranger's after a reboot, and would refuse to start for ever.
        """
        socket = f"{cluster.socket_folder(self.data)}/.s.PGSQL.{cluster.PORT}"
        stale = [f"{self.data}/postmaster.pid", f"{socket}.lock", socket]
        if not any(os.path.lexists(path) for path in stale):
            return
        # After kill -9 of the server its children need a moment to notice; until then nothing may start.
        while anybody_standing(self.data):
            if self._postmaster() is not None:
                return
            if time.monotonic() > deadline:
                raise RegctlError(
                    f"database {self.name}: the server is gone, but a child of it still runs in {self.data}",
                    hint=f"find it with `fuser -v {self.data}` and end it",
                )
            time.sleep(0.05)
        for path in stale:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _launch(self) -> None:
        owner = server_owner(self.data)
        folder = cluster.socket_folder(self.data)
        cluster.make_socket_folder(folder, owner.pw_uid, owner.pw_gid)
        replace_file(f"{self.data}/postgresql.conf", cluster.settings_text(self.name, folder), owner)
        users = ("root", owner.pw_name, user_name(os.geteuid()))
        replace_file(f"{self.data}/pg_ident.conf", cluster.ident_text(users), owner)
        if os.path.exists(self.log) and os.path.getsize(self.log) > _LOG_LIMIT:
            os.replace(self.log, f"{self.log}.1")
        seconds = str(int(_START_SECONDS))
        arguments = ("start", "-D", self.data, "-l", self.log, "-w", "-s", "-t", seconds)
        code, output = self._program("pg_ctl", arguments, _START_SECONDS + 10)
        if code == 0 or self._postmaster() is not None:
            return
        raise RegctlError(
            f"database {self.name} did not start: {output.strip() or 'pg_ctl said nothing'}",
            hint=f"see {self.log}: {tail(self.log)[-600:]}",
        )

    def _ensure_database(self) -> None:
        with self._connect("postgres", read_only=False) as session:
            if session.one(_EXISTS):
                return
            try:
                session.execute("CREATE DATABASE regctl TEMPLATE template0")
            except DatabaseError:
                # A regctl that was killed here leaves the server still at it, and it got there first.
                if not session.one(_EXISTS):
                    raise
