"""What would be lost with the tables of GitLab's metadata database; only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from ctl.database.base import Session

ROW_LIMIT = 1_000_000  # where counting stops


@dataclass(frozen=True)
class TableRows:
    """A table and its rows; `more` where counting stopped before the end."""

    name: str
    rows: int
    more: bool


# One statement for all tables: the server writes the counting queries itself, with its own quoting.
_ROWS: LiteralString = """
    SELECT n.nspname || '.' || c.relname,
           (xpath('/row/c/text()', pg_catalog.query_to_xml(
               format('SELECT count(*) AS c FROM (SELECT FROM %%I.%%I LIMIT %%s) q',
                      n.nspname, c.relname, %s),
               false, true, '')))[1]::text::bigint
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname NOT IN ('schema_migrations', 'post_deploy_schema_migrations', 'gorp_migrations')
    ORDER BY 1
"""
_OBJECTS: LiteralString = """
    SELECT c.relkind IN ('i', 'I'), n.nspname || '.' || c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'partitions') AND c.relkind IN ('r', 'p', 'i', 'I')
"""


def table_rows(session: Session) -> tuple[TableRows, ...]:
    """Return every table that holds rows of a registry, partitions counted with their table."""
    found = session.rows(_ROWS, (ROW_LIMIT + 1,))
    return tuple(
        TableRows(str(name), min(int(rows), ROW_LIMIT), int(rows) > ROW_LIMIT) for name, rows in found
    )


def objects(session: Session) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of all tables and of all indexes, to see afterwards which are gone."""
    rows = session.rows(_OBJECTS)
    tables = frozenset(str(name) for index, name in rows if not index)
    return tables, frozenset(str(name) for index, name in rows if index)
