"""The support itself: a server in both modes, a site over it."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.postgres import DatabaseAddress


def test_the_real_program_serves_on_a_cloned_database(
    gitlab_server: Callable[..., GitlabServer], migrated_database: DatabaseAddress
) -> None:
    server = gitlab_server(database=migrated_database, enabled=True)
    with server:
        assert "using the metadata database" in server.log_tail(50)
    done = server.run("database", "migrate", "up")
    assert "OK: applied 0 pre-deployment migration(s), 0 post-deployment" in done.stdout, done.stderr


def test_a_site_starts_it(gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress) -> None:
    with gitlab_site(database=migrated_database) as site:
        found = site.ok("status")
        assert found["healthy"] is True
        assert found["registries"]["main"] if isinstance(found["registries"], dict) else found["registries"]
