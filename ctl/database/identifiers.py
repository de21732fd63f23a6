"""Names of tables, roles and databases inside statements, which parameters cannot carry."""

from __future__ import annotations

from typing import LiteralString

from ctl.errors import UsageError


def quoted(name: str) -> str:
    """Return a name as PostgreSQL reads it back exactly: https://www.postgresql.org/docs/15/sql-syntax-lexical.html."""
    if not name or "\0" in name:
        raise UsageError(f"{name!r} cannot be a name in PostgreSQL")
    return '"' + name.replace('"', '""') + '"'


def with_names(statement: LiteralString, *names: str) -> LiteralString:
    """Put quoted names in the places `{}` of a statement; UsageError for what cannot be a name."""
    # The statement is the caller's own literal, and a quoted name cannot end its quotes.
    return statement.format(*(quoted(name) for name in names))
