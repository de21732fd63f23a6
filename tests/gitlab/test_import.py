"""`regctl registry import` with GitLab's real program: one step, three steps, trials, wrong orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.gitlab import GitlabSite
from tests.support.images import image
from tests.support.importing import Importing, fill
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.transfer import RefusedByRegistryError

IMPORT = ("registry", "import", "--yes")


@pytest.fixture
def importing(
    gitlab_site: Callable[..., GitlabSite],
    migrated_database: DatabaseAddress,
    postgres_server: PostgresServer,
) -> Iterator[Importing]:
    site = gitlab_site(database=migrated_database)
    fill(site.server)  # type: ignore[arg-type]
    with site:
        yield Importing(site, postgres_server)


def test_one_step_takes_in_every_tag_and_keeps_the_registry_closed(importing: Importing) -> None:
    done = importing.site.regctl(*IMPORT, "--row-count")
    assert done.exit_code == 0, str(done)
    assert importing.tags() == importing.tree_tags()
    assert len(importing.tags()) == 9
    assert importing.locks() == {"database-in-use"}
    assert importing.mode() == "read-only"
