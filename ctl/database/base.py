"""What the database door hands out. Only `ctl.database` imports psycopg."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, LiteralString, Protocol

from ctl.secret import Secret

Row = tuple[Any, ...]
Pooling = Literal["none", "session", "transaction"]  # what stands between us and the server


@dataclass(frozen=True)
class ProgramResult:
    """How one of PostgreSQL's programs ended: its exit code and what it printed, both streams."""

    exit_code: int
    output: str


# Runs (argv, as this user or None for ourselves, at most so many seconds). Doors do not import each other,
# so the host that runs PostgreSQL's programs comes in as this.
RunProgram = Callable[[tuple[str, ...], str | None, float], ProgramResult]


@dataclass(frozen=True)
class DatabaseStatus:
    """What can be said of a database by looking only. `version` is the server's, "" if not reached."""

    reachable: bool
    state: str  # "running" | "stopped" | "missing" (embedded, never created) | "unreachable"
    version: str
    detail: str = ""
    address: Mapping[str, str] = field(default_factory=dict)  # how to reach it; never a password


@dataclass(frozen=True)
class ClientCommand:
    """How to call psql on a database. `passfile` is the content of a libpq password file, or None."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    passfile: Secret | None = None


class Session(Protocol):
    """One connection. Errors arrive as RegctlError; UnreachableError and TransientError where they fit.

    A session is a context manager that closes itself.
    """

    def execute(self, query: LiteralString, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; return the number of rows it touched."""
        ...

    def rows(self, query: LiteralString, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query."""
        ...

    def one(self, query: LiteralString, parameters: Sequence[Any] = ()) -> Row | None:
        """Return the first row of a query, or None."""
        ...

    def stream(
        self, query: LiteralString, parameters: Sequence[Any] = (), batch: int = 5000
    ) -> Iterator[Row]:
        """Return rows through a server-side cursor, in bounded memory."""
        ...

    def copy_in(self, statement: LiteralString, rows: Iterable[Sequence[Any]]) -> int:
        """COPY ... FROM STDIN; return the number of rows."""
        ...

    def copy_out(self, statement: LiteralString, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """COPY (...) TO STDOUT as typed rows."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Commit at the end of the block, roll back on an error."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...

    def __enter__(self) -> Session: ...

    def __exit__(self, *_: object) -> None: ...


class Database(Protocol):
    """A database of the site: embedded below state_dir, or somebody's by its address."""

    @property
    def name(self) -> str:
        """Its name in the site."""
        ...

    @property
    def embedded(self) -> bool:
        """Whether it is regctl's own, below state_dir."""
        ...

    def status(self) -> DatabaseStatus:
        """Look only: starts nothing, writes nothing."""
        ...

    def ensure_started(self) -> bool:
        """Create and start an embedded one under a file lock; True if it was not running. External: False."""
        ...

    def stop(self) -> bool:
        """Stop an embedded one; True if it was running."""
        ...

    def connect(self, *, read_only: bool = False) -> Session:
        """Open a session; UnreachableError if it is stopped or does not answer."""
        ...

    def pooling(self) -> Pooling:
        """Say what stands between us and the server, looking only; UnreachableError if it does not answer."""
        ...

    def client_command(self, *, read_only: bool = False) -> ClientCommand:
        """Return how to call psql on it."""
        ...
