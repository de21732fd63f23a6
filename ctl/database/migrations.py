"""Versioned migrations: what ships in a package folder, and what a database says of them. Reads only.

A migration is two files, `NNNN_name.PHASE.up.sql` and `.down.sql`. Phase `pre` runs before the programs that
need it are deployed, `post` afterwards. All pending `pre` migrations run before the first `post` one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, LiteralString

from ctl.errors import RegctlError

if TYPE_CHECKING:
    from ctl.database.base import Session

Phase = Literal["pre", "post"]
_FILE = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z][a-z0-9_]*)\.(?P<phase>pre|post)\.(?P<way>up|down)\.sql")
_MARKER = "-- no-transaction"
# Outside a transaction a statement may have run already, or half: only these can simply be run again.
REPEATABLE = re.compile(
    r"(CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\s+(?P<index>\w+)\s+ON\s+\w+\.\w+"
    r"|DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS|ANALYZE)\b.*",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Migration:
    """One migration as it ships. `checksum` is the SHA-256 of its up file."""

    number: int
    name: str
    phase: Phase
    up: LiteralString
    down: LiteralString
    checksum: str

    @property
    def id(self) -> str:
        """What it is called everywhere, such as "0001_catalog.pre"."""
        return f"{self.number:04d}_{self.name}.{self.phase}"

    @property
    def order(self) -> tuple[bool, int]:
        """Sort key of the order in which migrations are applied."""
        return (self.phase == "post", self.number)


@dataclass(frozen=True)
class Applied:
    """A migration as the database recorded it. `seconds` is how long it took; `version` regctl's own."""

    id: str
    checksum: str
    applied_at: datetime
    seconds: float
    version: str


@dataclass(frozen=True)
class MigrationState:
    """What a database and the shipped migrations say together. `applied` stands in the order of applying."""

    applied: tuple[Applied, ...]
    pending: tuple[Migration, ...]
    unknown: tuple[str, ...] = ()  # applied, and not known to this regctl
    changed: tuple[str, ...] = ()  # applied from a file with other content
    invalid_indexes: tuple[str, ...] = ()  # left by a CREATE INDEX CONCURRENTLY that did not finish
    foreign: str = ""  # whose tables stand in this database, "" if nobody's

    @property
    def version(self) -> str:
        """The id of the migration applied last, "" if none is."""
        return self.applied[-1].id if self.applied else ""

    def chosen(self, limit: int | None, *, skip_post: bool) -> tuple[Migration, ...]:
        """Return the pending migrations that a run with these options applies, in order."""
        wanted = [one for one in self.pending if not (skip_post and one.phase == "post")]
        return tuple(wanted[:limit])


def is_transactional(sql: str) -> bool:
    """Say whether a migration file runs in one transaction with its bookkeeping."""
    return not any(line.strip() == _MARKER for line in sql.splitlines())


def split_statements(sql: LiteralString) -> list[LiteralString]:
    """Split a file without transaction: one statement ends at a semicolon at the end of a line."""
    lines = [line for line in sql.splitlines() if not line.strip().startswith("--")]
    parts = re.split(r";[ \t]*(?:\n|$)", "\n".join(lines))
    return [part.strip() for part in parts if part.strip()]


def parse_migrations(files: Iterable[tuple[str, LiteralString]]) -> tuple[Migration, ...]:
    """Make migrations of (file name, content); RegctlError for a file that does not fit."""
    found: dict[tuple[str, str, str], dict[str, LiteralString]] = {}
    for file, text in files:
        match = _FILE.fullmatch(file)
        if not match:
            raise RegctlError(f"migration {file} is not called NNNN_name.pre|post.up|down.sql")
        found.setdefault((match["number"], match["name"], match["phase"]), {})[match["way"]] = text
        if not is_transactional(text):
            bad = [part for part in split_statements(text) if not REPEATABLE.fullmatch(part)]
            if bad:
                raise RegctlError(
                    f"migration {file} runs without transaction and cannot repeat: {bad[0][:80]}"
                )
    made: list[Migration] = []
    for (number, name, phase), ways in found.items():
        if len(ways) != 2:
            raise RegctlError(f"migration {number}_{name}.{phase} needs both an up and a down file")
        checksum = hashlib.sha256(ways["up"].encode()).hexdigest()
        kind: Phase = "pre" if phase == "pre" else "post"
        made.append(Migration(int(number), name, kind, ways["up"], ways["down"], checksum))
    made.sort(key=lambda one: one.order)
    for before, after in pairwise(made):
        if before.order == after.order:
            raise RegctlError(f"migrations {before.id} and {after.id} have the same number")
    return tuple(made)


def load_migrations(package: str) -> tuple[Migration, ...]:
    """Return the migrations of a package folder, such as "ctl.catalog.migrations", in order."""
    from importlib import resources  # 20 ms, which only migrations cost

    folder = resources.files(package)
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return parse_migrations((file.name, file.read_text(encoding="utf-8")) for file in files)


# Tables by which another application's database is known, all of a line together.
_FOREIGN: tuple[tuple[str, frozenset[str]], ...] = (
    ("a GitLab container registry", frozenset({"media_types", "repositories"})),
    ("a GitLab container registry", frozenset({"top_level_namespaces"})),
    ("Pulp", frozenset({"core_content"})),
    ("Pulp", frozenset({"core_repository"})),
    ("another application", frozenset({"schema_migrations"})),
)
_FOREIGN_QUERY = """
    SELECT c.relname::text FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relname = ANY (%s)
      AND n.nspname NOT IN ('regctl', 'pg_catalog', 'information_schema')
"""
_APPLIED_QUERY = """
    SELECT id, checksum, applied_at, seconds, version
    FROM regctl.regctl_schema_migrations ORDER BY position
"""
_INVALID_QUERY = """
    SELECT c.relname::text FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'regctl' AND NOT i.indisvalid ORDER BY 1
"""


def whose_tables(session: Session) -> str:
    """Say whose tables stand in the database, "" if nobody's but regctl's."""
    names = sorted(frozenset().union(*(tables for _, tables in _FOREIGN)))
    present = {row[0] for row in session.rows(_FOREIGN_QUERY, (names,))}
    return next((owner for owner, tables in _FOREIGN if tables <= present), "")


def has_bookkeeping(session: Session) -> bool:
    """Say whether regctl's own table of migrations is there."""
    row = session.one("SELECT to_regclass('regctl.regctl_schema_migrations') IS NOT NULL")
    return bool(row and row[0])


def invalid_indexes(session: Session) -> tuple[str, ...]:
    """Return the indexes of regctl's schema that a concurrent build left unfinished."""
    return tuple(row[0] for row in session.rows(_INVALID_QUERY))


def read_state(session: Session, migrations: Sequence[Migration]) -> MigrationState:
    """Compare the shipped migrations with the database; reads only, a read-only session will do."""
    applied: tuple[Applied, ...] = ()
    if has_bookkeeping(session):
        applied = tuple(Applied(*row) for row in session.rows(_APPLIED_QUERY))
    shipped = {one.id: one for one in migrations}
    done = {one.id for one in applied}
    return MigrationState(
        applied=applied,
        pending=tuple(one for one in migrations if one.id not in done),
        unknown=tuple(one.id for one in applied if one.id not in shipped),
        changed=tuple(
            one.id for one in applied if one.id in shipped and shipped[one.id].checksum != one.checksum
        ),
        invalid_indexes=invalid_indexes(session),
        foreign=whose_tables(session),
    )
