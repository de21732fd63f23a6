"""Health checks and maintenance of GitLab's registry on its database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.support.gitlab import GitlabSite
from tests.support.gitlab_state import push_some, server_of
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.site import SiteUnderTest

OF_THE_DATABASE = ("backend", "database-reachable", "database-migrations", "online-gc", "maintenance")


@pytest.fixture
def site(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> Iterator[SiteUnderTest]:
    with gitlab_site(database=migrated_database, enabled=True) as made:
        push_some(made, 1)
        yield made


def results(site: SiteUnderTest) -> tuple[int, dict[str, str]]:
    done = site.regctl("check", *OF_THE_DATABASE)
    return done.exit_code, {one["name"]: one["result"] for one in done.json["checks"]}


def test_checks_of_the_database_and_a_maintenance_from_on_to_off(
    site: SiteUnderTest, postgres_server: PostgresServer
) -> None:
    assert results(site) == (0, dict.fromkeys(OF_THE_DATABASE, "ok"))
    on = site.ok("maintenance", "on", "--yes")
    assert (on["result"], on["state"]) == ("changed", "on")
    assert results(site) == (0, dict.fromkeys(OF_THE_DATABASE, "ok"))
    site.ok("maintenance", "off", "--yes")

    database = server_of(site).database
    assert database is not None
    with closing(postgres_server.connect(database.name)) as connection:
        connection.execute(
            b"UPDATE gc_blob_review_queue SET review_count = 12, review_after = now() - interval '3 days'"
        )
    code, found = results(site)
    assert (code, found["online-gc"]) == (3, "warned")
    with closing(postgres_server.connect(database.name)) as connection:
        connection.execute(
            b"DELETE FROM schema_migrations WHERE id = (SELECT max(id) FROM schema_migrations)"
        )
    code, found = results(site)
    assert (code, found["database-migrations"]) == (1, "failed")
