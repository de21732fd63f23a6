"""Somebody's PostgreSQL, by its address. regctl never starts or stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ctl.database.base import ClientCommand, DatabaseStatus, Pooling
from ctl.database.connect import connect, server_version
from ctl.database.pooler import pooling
from ctl.database.session import PostgresSession
from ctl.errors import RegctlError
from ctl.secret import Secret

_STATUS_TIMEOUT = 5  # seconds
_SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"  # Debian's package ca-certificates


@dataclass(frozen=True)
class ExternalDatabase:
    """A database at host and port. `password` is asked for only when a connection is made."""

    name: str
    host: str
    port: int
    dbname: str
    user: str
    sslmode: str
    sslrootcert: str  # "" where the system's own authorities are meant
    password: Callable[[], Secret | None]
    embedded: bool = False

    @property
    def address(self) -> str:
        """What messages show: user, host, port and database, never the password."""
        return f"{self.user}@{self.host}:{self.port}/{self.dbname}"

    def status(self) -> DatabaseStatus:
        """Look only: connect, ask for the version, close."""
        place = {"host": self.host, "port": str(self.port), "dbname": self.dbname, "user": self.user}
        try:
            with self._connect(read_only=True, timeout=_STATUS_TIMEOUT) as session:
                return DatabaseStatus(True, "running", server_version(session), self.address, place)
        except RegctlError as error:
            return DatabaseStatus(False, "unreachable", "", error.message, place)

    def ensure_started(self) -> bool:
        """Do nothing: it is not ours to start."""
        return False

    def stop(self) -> bool:
        """Do nothing: it is not ours to stop."""
        return False

    def connect(self, *, read_only: bool = False) -> PostgresSession:
        """Open a session; UnreachableError if it does not answer or refuses the login."""
        return self._connect(read_only=read_only, timeout=10)

    def pooling(self) -> Pooling:
        """Open two sessions and compare whom they are served by; nothing is set in either."""
        return pooling(self.name, self.address, self._parameters())

    def client_command(self, *, read_only: bool = False) -> ClientCommand:
        """Return how to call psql on it; the password travels apart, never in argv or environment."""
        password = self.password()
        passfile = None
        if password is not None:
            fields = (self.host, str(self.port), self.dbname, self.user, password.reveal())
            passfile = Secret(":".join(_escaped(field) for field in fields) + "\n")
        env = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGDATABASE": self.dbname,
            "PGUSER": self.user,
            "PGSSLMODE": self.sslmode,
            "PGSSLROOTCERT": self._authorities(),
            "PGAPPNAME": "regctl",
            "PGCONNECT_TIMEOUT": "10",
        }
        if read_only:
            env["PGOPTIONS"] = "-c default_transaction_read_only=on"
        return ClientCommand(("psql",), env, passfile)

    def _authorities(self) -> str:
        """Return the file of trusted certificates. libpq's own default is a file that hardly anybody has."""
        return self.sslrootcert or _SYSTEM_AUTHORITIES

    def _connect(self, *, read_only: bool, timeout: int) -> PostgresSession:
        return connect(self.name, self.address, self._parameters(), read_only=read_only, timeout=timeout)

    def _parameters(self) -> dict[str, str]:
        parameters = {
            "host": self.host,
            "port": str(self.port),
            "dbname": self.dbname,
            "user": self.user,
            "sslmode": self.sslmode,
            "sslrootcert": self._authorities(),
        }
        password = self.password()
        if password is not None:
            parameters["password"] = password.reveal()
        return parameters


def _escaped(field: str) -> str:
    """Escape a field of a password file: https://www.postgresql.org/docs/15/libpq-pgpass.html."""
    return field.replace("\\", "\\\\").replace(":", "\\:")
