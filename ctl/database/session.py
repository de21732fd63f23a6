"""A Session over psycopg 3. Outside `transaction()` every statement commits by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, LiteralString

from ctl.database.base import Row
from ctl.database.errors import shorten, translated
from ctl.errors import RegctlError

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

    from ctl.secret import Secret

_COPY_IN = re.compile(
    r"\s*COPY\s+(?P<table>[^\s(]+)\s*\((?P<columns>[^()]*)\)\s*FROM\s+STDIN\s*;?\s*", re.IGNORECASE
)
_COPY_OUT = re.compile(r"\s*COPY\s*\((?P<query>.*)\)\s*TO\s+STDOUT\s*;?\s*", re.IGNORECASE | re.DOTALL)

# Types that psycopg writes and reads in binary exactly as the server does. Any other column, such as
# numeric or jsonb, and the whole statement goes as text, which is always right and a little slower.
_BINARY_TYPES = frozenset(
    {"bool", "bytea", "int2", "int4", "int8", "text", "varchar", "float4", "float8", "uuid", "oid"}
    | {"date", "timestamp", "timestamptz", "interval"}
    | {"bool[]", "bytea[]", "int2[]", "int4[]", "int8[]", "text[]"}
)


class PostgresSession:
    """One connection. Not for use by two threads at once.

    A statement with no parameters is sent as it stands; with parameters, `%s` are their places and a
    literal percent sign is `%%`.
    """

    def __init__(self, connection: psycopg.Connection[Row], database: str) -> None:
        self._connection = connection
        self._database = database
        self._streams = 0
        self._names = 0

    def execute(self, query: LiteralString, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; return the number of rows it touched (0 where it does not say)."""
        with translated(self._database, query):
            return max(0, self._connection.execute(query, parameters or None).rowcount)

    def run(self, statement: sql.SQL | sql.Composed, shown: str) -> None:
        """Run a statement composed of quoted names and values; only `shown` appears in an error."""
        with translated(self._database, shown):
            self._connection.execute(statement)

    def scram_verifier(self, role: str, password: Secret) -> str:
        """Return what a server stores of a password instead of it; computed here, nothing is sent."""
        verifier = self._connection.pgconn.encrypt_password(
            password.reveal().encode(), role.encode(), b"scram-sha-256"
        )
        return verifier.decode()

    def rows(self, query: LiteralString, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query."""
        with translated(self._database, query):
            return self._connection.execute(query, parameters or None).fetchall()

    def one(self, query: LiteralString, parameters: Sequence[Any] = ()) -> Row | None:
        """Return the first row of a query, or None."""
        with translated(self._database, query):
            return self._connection.execute(query, parameters or None).fetchone()

    def stream(
        self, query: LiteralString, parameters: Sequence[Any] = (), batch: int = 5000
    ) -> Iterator[Row]:
        """Return rows through a server-side cursor, `batch` rows in memory at a time.

        Several streams of one session may be read in turns: they see one snapshot each, or all the same
        one inside a repeatable-read `transaction()`. Without a transaction around it the stream opens
        one of its own, which the last open stream ends; write through another session meanwhile.
        """
        name = f"regctl_stream_{self._names}"
        self._names += 1
        with translated(self._database, query), self._stream_transaction():
            cursor = self._connection.cursor(name)
            try:
                cursor.itersize = batch
                cursor.execute(query, parameters or None)
                yield from cursor
            finally:
                cursor.close()  # asks nothing of a connection that is broken or in error

    def copy_in(self, statement: LiteralString, rows: Iterable[Sequence[Any]]) -> int:
        """Run `COPY table (columns) FROM STDIN`; return the number of rows. All of them or none arrive.

        Written exactly like that, it asks the server for the columns' types and sends binary where all
        of them allow; with options of its own the statement is sent as it stands, in text.
        """
        types = self._copy_in_types(statement)
        binary = _all_binary(types)
        count = 0
        with (
            translated(self._database, statement),
            self._connection.cursor() as cursor,
            cursor.copy(_with_format(statement, binary)) as copy,
        ):
            if binary:
                copy.set_types([oid for oid, _ in types])
            for row in rows:
                try:
                    copy.write_row(row)
                except (TypeError, ValueError, OverflowError) as error:
                    message = f"database {self._database}: row {count + 1} does not fit its columns"
                    raise RegctlError(f"{message}; statement: {shorten(statement)}") from error
                count += 1
        return count

    def copy_out(self, statement: LiteralString, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """Run `COPY (query) TO STDOUT`; yield rows with Python values, as `rows` would.

        The connection is busy until the rows are read to the end or the iterator is closed.
        """
        types = self._copy_out_types(statement, parameters)
        binary = _all_binary(types)
        with (
            translated(self._database, statement),
            self._connection.cursor() as cursor,
            cursor.copy(_with_format(statement, binary), parameters or None) as copy,
        ):
            if types:
                copy.set_types([oid for oid, _ in types])
            yield from copy.rows()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit at the end of the block, roll back on an error. Inside another one: a savepoint."""
        with translated(self._database, "a transaction"), self._connection.transaction():
            yield

    def close(self) -> None:
        """Close the connection; what was not committed is gone."""
        self._connection.close()

    @property
    def closed(self) -> bool:
        """Say whether the connection was closed or is known to be broken."""
        return self._connection.closed

    def __enter__(self) -> PostgresSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _in_error(self) -> bool:
        from psycopg.pq import TransactionStatus

        return self._connection.info.transaction_status == TransactionStatus.INERROR

    @contextmanager
    def _stream_transaction(self) -> Iterator[None]:
        from psycopg.pq import TransactionStatus

        if not self._streams and self._connection.info.transaction_status != TransactionStatus.IDLE:
            yield  # somebody's transaction: it is theirs to end
            return
        if not self._streams:
            self._connection.execute("BEGIN")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
            if not self._streams and not self._connection.closed:
                self._connection.execute("ROLLBACK" if self._in_error() else "COMMIT")

    def _copy_in_types(self, statement: str) -> list[tuple[int, str]]:
        match = _COPY_IN.fullmatch(statement)
        if not match:
            return []
        # Made of parts of the caller's own literal, as below.
        query = f"SELECT {match['columns']} FROM {match['table']} LIMIT 0"  # noqa: S608
        return self._types(query, ())

    def _copy_out_types(self, statement: str, parameters: Sequence[Any]) -> list[tuple[int, str]]:
        match = _COPY_OUT.fullmatch(statement)
        if not match:
            return []
        # The line break ends a comment on the query's last line.
        query = f"SELECT * FROM (\n{match['query']}\n) AS q LIMIT 0"  # noqa: S608
        return self._types(query, parameters)

    def _types(self, query: LiteralString, parameters: Sequence[Any]) -> list[tuple[int, str]]:
        with translated(self._database, query):
            cursor = self._connection.execute(query, parameters or None)
            described = cursor.description or []
            return [(column.type_code, column.type_display) for column in described]


def _all_binary(types: Sequence[tuple[int, str]]) -> bool:
    return bool(types) and all(_bare(name) in _BINARY_TYPES for _, name in types)


def _bare(name: str) -> str:
    """Return a type's name without its length: varchar(20) is varchar."""
    return re.sub(r"\(.*?\)", "", name)


def _with_format(statement: LiteralString, binary: bool) -> LiteralString:
    if not binary:
        return statement
    return statement.rstrip().rstrip(";") + " (FORMAT BINARY)"
