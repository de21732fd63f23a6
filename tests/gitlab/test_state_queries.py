"""What is counted in GitLab's real tables: exactly where that is quick, by estimate where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from ctl.catalog import gc_queues, metadata_state
from ctl.catalog.backend import Count
from ctl.catalog.gc_queues import read_queues, review_delays
from ctl.catalog.metadata_state import read_state
from ctl.database.external import ExternalDatabase
from ctl.secret import Secret
from tests.support.postgres import DatabaseAddress, PostgresServer

Sql = Callable[[str], None]
TASKS = 50


def door(address: DatabaseAddress) -> ExternalDatabase:
    return ExternalDatabase(
        "gitlab",
        "127.0.0.1",
        address.port,
        address.name,
        address.user,
        "disable",
        "",
        lambda: Secret(address.password),
    )


@pytest.fixture
def sql(migrated_database: DatabaseAddress, postgres_server: PostgresServer) -> Iterator[Sql]:
    with closing(postgres_server.connect(migrated_database.name)) as connection:

        def run(statement: str) -> None:
            connection.execute(statement.encode())

        yield run


def test_large_tables_are_estimated_plain_and_partitioned_ones(
    migrated_database: DatabaseAddress, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql("INSERT INTO top_level_namespaces (name) VALUES ('g')")
    sql(
        "INSERT INTO repositories (top_level_namespace_id, name, path) SELECT id, 'r' || n, 'g/r' || n"
        " FROM top_level_namespaces, generate_series(1, 300) AS n"
    )
    sql(
        "INSERT INTO blobs (digest, size, media_type_id) SELECT decode('01' || encode(sha256(n::text::bytea),"
        " 'hex'), 'hex'), n, (SELECT id FROM media_types WHERE media_type = 'application/octet-stream')"
        " FROM generate_series(1, 400) AS n"
    )
    with door(migrated_database).connect(read_only=True) as session:
        exact = read_state(session, ("repositories", "tags", "manifests", "blobs"))
        assert exact.schema
        assert exact.counts == {
            "repositories": Count(300),
            "tags": Count(0),
            "manifests": Count(0),
            "blobs": Count(400),
        }
        monkeypatch.setattr(metadata_state, "COUNTED", 100)
        never = read_state(session, ("repositories", "blobs")).counts
        assert never["repositories"] == Count(101, exact=False)  # at least: nobody has analysed it
    sql("ANALYZE")
    with door(migrated_database).connect(read_only=True) as session:
        counts = read_state(session, ("repositories", "blobs")).counts
        assert counts == {"repositories": Count(300, exact=False), "blobs": Count(400, exact=False)}


def test_a_database_of_another_use_has_no_such_tables(
    empty_database: DatabaseAddress, postgres_server: PostgresServer
) -> None:
    with closing(postgres_server.connect(empty_database.name)) as connection:
        connection.execute(b"CREATE TABLE repositories (id int)")  # as a copy of regctl's own has
        connection.execute(b"CREATE TABLE tags (id int)")
    with door(empty_database).connect(read_only=True) as session:
        assert read_state(session).schema is False
        assert read_queues(session) is None
        assert review_delays(session) == {}


def test_a_queue_that_is_too_long_to_count_is_estimated(
    migrated_database: DatabaseAddress, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql(
        "INSERT INTO gc_blob_review_queue (digest, review_after, review_count, event) SELECT decode('01' ||"
        " encode(sha256(n::text::bytea), 'hex'), 'hex'), now() + (n - 20) * interval '1 hour', n / 10,"
        " CASE WHEN n % 2 = 0 THEN 'blob_upload' ELSE 'layer_delete' END"
        f" FROM generate_series(1, {TASKS}) AS n"
    )
    sql("ANALYZE")
    with door(migrated_database).connect(read_only=True) as session:
        queues = read_queues(session)
        assert queues is not None
        whole = queues["blobs"]
        assert (whole.depth, whole.overdue) == (Count(TASKS), Count(20))  # due from this moment on
        assert whole.stuck == sum(1 for n in range(1, TASKS + 1) if n // 10 >= 3)
        assert whole.most_reviews == 5
        assert whole.events == {"blob_upload": 25, "layer_delete": 25}
        assert timedelta(hours=19) <= whole.oldest_overdue < timedelta(hours=20)
        assert queues["manifests"].depth == Count(0)
        estimated = gc_queues._estimated(session, "public.gc_blob_review_queue")
        assert estimated.depth == Count(TASKS, exact=False)
        assert (estimated.overdue, estimated.stuck) == (Count(20), None)
        assert (estimated.oldest, estimated.latest) == (whole.oldest, whole.latest)
        assert review_delays(session)["blob_upload"] == timedelta(days=1)

        monkeypatch.setattr(gc_queues, "LIMIT_SECONDS", 1)
        slow = "SELECT pg_sleep(3)"

        def whole_is_slow(session: object, table: str) -> object:
            with session.transaction():  # type: ignore[attr-defined]
                session.execute("SET LOCAL statement_timeout = '50ms'")  # type: ignore[attr-defined]
                return session.rows(slow)  # type: ignore[attr-defined]

        monkeypatch.setattr(gc_queues, "_whole", whole_is_slow)
        fallen_back = read_queues(session)
        assert fallen_back is not None
        assert fallen_back["blobs"].depth == Count(TASKS, exact=False)
