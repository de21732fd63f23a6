"""What GitLab's metadata database says of itself: how much it holds, and how its imports ended. Reads only.

Every table is looked for first, so that an older schema, an empty database or somebody else's is no error.
Schema: docs/reference/lockfiles.md, read on GitLab's registry 4.32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from ctl.catalog.backend import Count, ImportRun

if TYPE_CHECKING:
    from ctl.database.base import Row, Session

LIMIT_SECONDS = 5  # for all statements together: a table is never worth waiting longer for
COUNTED = 100_000  # rows that are counted one by one; beyond, PostgreSQL's own estimate has to do

_STEPS = ("one", "two", "three")
_TABLES: dict[str, LiteralString] = {
    "repositories": "public.repositories",
    "tags": "public.tags",
    "manifests": "public.manifests",
    "blobs": "public.blobs",
    "layers": "public.layers",
}


@dataclass(frozen=True)
class MetadataState:
    """What a database holds. Without GitLab's tables `schema` is False and the rest is empty."""

    schema: bool
    counts: dict[str, Count]
    imports: tuple[ImportRun, ...] = ()


def read_state(
    session: Session, tables: tuple[str, ...] = ("repositories", "tags"), *, imports: int = 1
) -> MetadataState:
    """Count rows, exactly up to 100,000 and by estimate beyond, and read the newest import rows.

    Writes nothing and holds no lock that anything waits for; ends after 5 s with an error.
    """
    with session.transaction():
        session.execute(f"SET LOCAL statement_timeout = '{LIMIT_SECONDS}s'")
        if not _has_tables(session):
            return MetadataState(False, {})
        counts = {name: _count(session, _TABLES[name]) for name in tables}
        return MetadataState(True, counts, tuple(_imports(session, imports)) if imports else ())


def _has_tables(session: Session) -> bool:
    # top_level_namespaces is GitLab's alone: regctl's own copies have tables of the other names
    names = ("public.schema_migrations", "public.top_level_namespaces", "public.repositories", "public.tags")
    row = session.one(f"SELECT {', '.join('to_regclass(%s) IS NOT NULL' for _ in names)}", names)
    return row is not None and all(row)


def _count(session: Session, table: LiteralString) -> Count:
    row = session.one(f"SELECT count(*) FROM (SELECT FROM {table} LIMIT {COUNTED + 1}) AS found")  # noqa: S608
    found = int(row[0]) if row else 0
    if found <= COUNTED:
        return Count(found)
    # of a partitioned table only the leaves know; -1 is a table that was never analysed
    estimate = session.one(
        "SELECT sum(greatest(reltuples, 0))::bigint FROM pg_class"
        " WHERE (oid = %s::regclass AND relkind = 'r')"
        " OR oid IN (SELECT relid FROM pg_partition_tree(%s::regclass) WHERE isleaf)",
        (table, table),
    )
    return Count(max(found, int(estimate[0] or 0) if estimate else 0), exact=False)


def _imports(session: Session, most: int) -> Iterator[ImportRun]:
    there = session.one("SELECT to_regclass('public.import_statistics') IS NOT NULL")
    if not there or not there[0]:
        return
    yield from map(
        _import,
        session.rows(
            "SELECT id, started_at, finished_at, pre_import, tag_import, blob_import, pre_import_error,"
            " tag_import_error, blob_import_error, repositories_count, tags_count, manifests_count,"
            " blobs_count, blobs_size_bytes, storage_driver FROM public.import_statistics"
            " ORDER BY id DESC LIMIT %s",
            (most,),
        ),
    )


def _import(row: Row) -> ImportRun:
    flags, errors = row[3:6], row[6:9]
    return ImportRun(
        id=row[0],
        started_at=row[1],
        finished_at=row[2],
        steps=tuple(step for step, flag in zip(_STEPS, flags, strict=True) if flag),
        errors={step: text for step, text in zip(_STEPS, errors, strict=True) if text},
        repositories=row[9],
        tags=row[10],
        manifests=row[11],
        blobs=row[12],
        blobs_bytes=row[13],
        storage_driver=row[14] or "",
    )
