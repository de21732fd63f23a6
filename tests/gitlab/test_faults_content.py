"""The faults of the notes that are about what a registry holds before and after the switch."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.enabling import header
from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.gitlab_content import database_tags, first_content, served
from tests.support.postgres import DatabaseAddress


def test_fault_13_a_registry_with_content_is_not_enabled_before_it_is_imported(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    site = gitlab_site(database=migrated_database)
    with site:
        with site.client() as client:
            content = first_content(client)
        refused = site.regctl("enable-db", "--yes")
        assert refused.exit_code == 2, refused
        assert "--import" in refused.stderr
        assert (header(site.server), database_tags(migrated_database)) == ("false", {})
        assert served(site.server.url).keys() == content.tags.keys()
        verified = site.regctl("registry", "verify")
        assert verified.exit_code == 3, verified
        assert verified.json["missing"] >= len(content.tags)
        site.ok("service", "stop", "--yes")
    # the positive control: the program itself starts, says nothing, and hides everything
    server = site.server
    assert isinstance(server, GitlabServer)
    server.enabled = True
    server.write_config()
    with server:
        assert served(server.url) == {}
