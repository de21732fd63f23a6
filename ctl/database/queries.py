"""Named queries: SQL lives in `.sql` files, Python names it and binds parameters.

A block begins with `-- name: some_name` and ends at the next one. Lines before the first are comments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import LiteralString

from ctl.errors import RegctlError

_NAME = re.compile(r"--\s*name:\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*")


def parse_queries(text: str, source: str) -> dict[str, LiteralString]:
    """Return the named blocks of one SQL text; RegctlError for a name twice or a block with nothing in it."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        match = _NAME.fullmatch(line.strip())
        if match:
            if match["name"] in found:
                raise RegctlError(f"{source}: query {match['name']} stands there twice")
            current = found[match["name"]] = []
        elif current is not None:
            current.append(line)
    empty = [name for name, lines in found.items() if not "".join(lines).strip()]
    if empty:
        raise RegctlError(f"{source}: query {empty[0]} is empty")
    # What ships inside the package is as literal as a string in a module.
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def load_queries(package: str) -> Mapping[str, LiteralString]:
    """Return every named query of the `.sql` files in a package folder, such as "ctl.catalog.sql".

    A name must be unique in the folder. Parameters are `%s`, and a literal percent sign is `%%` in a
    query that has parameters.
    """
    queries: dict[str, LiteralString] = {}
    for file in sorted(resources.files(package).iterdir(), key=lambda item: item.name):
        if not file.name.endswith(".sql"):
            continue
        for name, query in parse_queries(file.read_text(encoding="utf-8"), file.name).items():
            if name in queries:
                raise RegctlError(f"{package}: query {name} stands in two files")
            queries[name] = query
    return queries
