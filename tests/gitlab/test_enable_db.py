"""enable-db on the real program: a new installation, and an existing one by one command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.gitlab import GitlabSite
from tests.support.images import image, multi_arch
from tests.support.postgres import DatabaseAddress

pytestmark = [pytest.mark.postgres]


def test_a_new_installation(gitlab_site: Callable[..., GitlabSite], empty_database: DatabaseAddress) -> None:
    with gitlab_site(database=empty_database) as site:
        done = site.ok("enable-db", "--yes", timeout=300)
        assert done["result"] == "changed"
        with site.client() as client:
            client.push("team/app", "one", image("one"))
            client.push("team/app", "two", multi_arch("two"))
            assert len(client.pull_everything()) == 2
        again = site.ok("enable-db", "--yes")
        assert again["result"] == "nothing-to-do"
