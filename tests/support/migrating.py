"""Sites over a metadata database that is migrated by hand, and what stands in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.postgres import DatabaseAddress

Sites = Callable[..., GitlabSite]
ALL = (184, 10)  # migrations of 4.32.0 in the build that ships
LAST_PRE = "20251021070732_bbm_backfill_blobs_id_column"
LAST_POST = "20251015074500_post_create_blobs_null_id_index"
FUTURE = "20991231000000_future_thing"


def written(gitlab_site: Sites, database: DatabaseAddress, name: str = "site", **options: Any) -> GitlabSite:
    """Make a site whose files are written and whose registry was never started."""
    site = gitlab_site(name, database=database, **options)
    site.write()
    return site


def server_of(site: GitlabSite) -> GitlabServer:
    """Return the server behind a site, to call the bare program."""
    assert isinstance(site.server, GitlabServer)
    return site.server


def rows(address: DatabaseAddress, query: str) -> list[tuple[Any, ...]]:
    """Run a statement as the database's owner."""
    import psycopg

    with closing(psycopg.connect(address.tcp_dsn, autocommit=True)) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def applied(address: DatabaseAddress) -> tuple[int, int]:
    """Return how many pre- and post-deployment migrations are applied."""
    found = []
    for table in ("schema_migrations", "post_deploy_schema_migrations"):
        there = rows(address, f"SELECT to_regclass('public.{table}') IS NOT NULL")[0][0]
        found.append(int(rows(address, f"SELECT count(*) FROM {table}")[0][0]) if there else 0)
    return found[0], found[1]


def objects(address: DatabaseAddress) -> int:
    """Return how many tables and indexes there are: what a reading command must not change."""
    return int(
        rows(
            address,
            "SELECT count(*) FROM pg_class WHERE relnamespace >= 16384 OR"
            " relnamespace = 'public'::regnamespace",
        )[0][0]
    )


@contextmanager
def blocked_builds(address: DatabaseAddress, table: str) -> Iterator[None]:
    """Keep a transaction open on a table, so that a concurrent index build on it waits half done."""
    import psycopg

    with closing(psycopg.connect(address.tcp_dsn)) as connection:
        connection.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE".encode())
        yield
        connection.rollback()


def building(address: DatabaseAddress) -> int:
    """Return how many indexes are being built right now."""
    return int(rows(address, "SELECT count(*) FROM pg_stat_progress_create_index")[0][0])


def broken(address: DatabaseAddress) -> list[str]:
    """Return the indexes that no query uses."""
    found = rows(address, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1")
    return [str(name) for (name,) in found]


def locked(address: DatabaseAddress) -> bool:
    """Say whether somebody holds the lock that regctl takes around the program."""
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
    return bool(rows(address, query)[0][0])


def waiting(address: DatabaseAddress) -> bool:
    """Say whether somebody tries to get that lock, again and again."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'regctl' AND state = 'idle'"
    return bool(rows(address, query + " AND query LIKE '%pg_locks%'")[0][0])


def bare_down(server: GitlabServer, *limits: str) -> None:
    """Take migrations back with the program itself, so that something is pending."""
    done = server.run("database", "migrate", "down", "--force", *limits)
    assert done.returncode == 0, done.stderr
