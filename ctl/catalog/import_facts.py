"""Read from GitLab's tables how far an import has come, whether anybody used it, and who is at work there.

Reads only. Schema and triggers: GitLab's registry 4.32, migrations up to 20251021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.catalog.import_state import ImportContent

if TYPE_CHECKING:
    from ctl.database.base import Row, Session

APPLICATION = "regctl import "  # and the run's id: the name that an import of ours has in pg_stat_activity
_OWN = "regctl"  # every other session of regctl's

_PROGRESS = """
SELECT count(*), count(last_published_at), min(last_published_at) FROM public.repositories
"""
# An import inserts each tag once and deletes nothing, so each of these needs a registry that served. A push
# gives its repository the tag's own time, to the microsecond; an import takes another clock for that.
_TRACES = """
SELECT EXISTS (SELECT FROM public.tags WHERE updated_at IS NOT NULL),
       EXISTS (SELECT FROM public.repositories r JOIN public.tags t
                   ON (t.top_level_namespace_id, t.repository_id) = (r.top_level_namespace_id, r.id)
                WHERE r.last_published_at = t.created_at),
       EXISTS (SELECT FROM public.repositories WHERE deleted_at IS NOT NULL),
       EXISTS (SELECT FROM public.manifests WHERE subject_id IS NOT NULL),
       EXISTS (SELECT FROM public.gc_manifest_review_queue WHERE review_count > 0
                   OR event IN ('tag_delete', 'tag_switch', 'manifest_list_delete')),
       EXISTS (SELECT FROM public.gc_blob_review_queue WHERE review_count > 0
                   OR event IN ('layer_delete', 'manifest_delete'))
"""
_TRACE_WORDS = (
    "a tag was moved",
    "a tag was pushed",
    "a repository was deleted",
    "a manifest with a subject was pushed",
    "online collection has reviewed manifests, or tags were deleted",
    "online collection has reviewed blobs, or images were deleted",
)
_SESSIONS = """
SELECT pid, coalesce(application_name, ''), coalesce(client_addr::text, ''), backend_start
  FROM pg_catalog.pg_stat_activity
 WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
 ORDER BY pid
"""
_LAST_IMPORT = """
SELECT id, started_at, finished_at, pre_import, pre_import_error, tag_import, tag_import_finished_at,
       tag_import_error, blob_import, blob_import_error, repositories_count, tags_count, manifests_count,
       blobs_count, blobs_size_bytes, storage_driver
  FROM public.import_statistics WHERE id > %s ORDER BY id DESC LIMIT 1
"""
STATISTICS = (
    "id",
    "started_at",
    "finished_at",
    "pre_import",
    "pre_import_error",
    "tag_import",
    "tag_import_finished_at",
    "tag_import_error",
    "blob_import",
    "blob_import_error",
    "repositories_count",
    "tags_count",
    "manifests_count",
    "blobs_count",
    "blobs_size_bytes",
    "storage_driver",
)


@dataclass(frozen=True)
class OtherSession:
    """A session of the registry's role on its database that is not ours."""

    pid: int
    application: str
    address: str
    since: str

    def describe(self) -> str:
        """Say who it is."""
        return f"process {self.pid} ({self.application or 'unnamed'}) from {self.address or 'a socket'}"

    @property
    def imports(self) -> bool:
        """Whether it is an import that a regctl started."""
        return self.application.startswith(APPLICATION)


def read_content(session: Session) -> ImportContent:
    """Read how far the import has come; the schema must be there."""
    repositories, marked, oldest = session.one(_PROGRESS) or (0, 0, None)
    tags = bool((session.one("SELECT EXISTS (SELECT FROM public.tags)") or (False,))[0])
    # They matter only where there are tags to take out, and take their time over hundreds of partitions.
    found = (session.one(_TRACES) or ()) if tags else ()
    traces = tuple(word for word, there in zip(_TRACE_WORDS, found, strict=False) if there)
    return ImportContent(repositories, marked, oldest, tags, traces)


def other_sessions(session: Session, run: str = "") -> list[OtherSession]:
    """List who else works on the database as the registry's role; our own sessions and import are not."""
    rows = (OtherSession(r[0], r[1], r[2], str(r[3])) for r in session.rows(_SESSIONS))
    return [one for one in rows if not _ours(one, run)]


def _ours(one: OtherSession, run: str) -> bool:
    if one.imports:
        return bool(run) and one.application == application_name(run)
    return one.application.startswith(_OWN)


def application_name(run: str) -> str:
    """Return how an import names itself to the database; 63 bytes are what PostgreSQL keeps."""
    return f"{APPLICATION}{run}"[:63]


def newest_statistics_id(session: Session) -> int:
    """Return the id of the newest row of import statistics, 0 where there is none."""
    there = session.one("SELECT to_regclass('public.import_statistics') IS NOT NULL")
    if not there or not there[0]:
        return 0
    row = session.one("SELECT coalesce(max(id), 0) FROM public.import_statistics")
    return int(row[0]) if row else 0


def statistics_after(session: Session, newest: int) -> dict[str, object] | None:
    """Return the newest row of import statistics beyond an id, JSON-able; None where there is none."""
    there = session.one("SELECT to_regclass('public.import_statistics') IS NOT NULL")
    row: Row | None = session.one(_LAST_IMPORT, (newest,)) if there and there[0] else None
    if row is None:
        return None
    values = (value.isoformat() if hasattr(value, "isoformat") else value for value in row)
    return dict(zip(STATISTICS, values, strict=True))


def count_tags(session: Session) -> int:
    """Count the tags, exactly."""
    row = session.one("SELECT count(*) FROM public.tags")
    return int(row[0]) if row else 0


def empty_tags(session: Session) -> None:
    """Take all tags out: only for an import that nobody ever used. TRUNCATE fires none of their triggers."""
    session.execute("TRUNCATE public.tags")
