"""Damage that GitLab's import minds harms no other reader of the same tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctl.catalog.corruption import CASES, all_cases
from ctl.catalog.corruption_gitlab import GITLAB_CASES
from ctl.catalog.findings import KINDS
from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.catalogs import catalog_of
from tests.support.postgres import PostgresServer
from tests.support.preflight import picture

PLAN = SeedPlan(repositories=2, tags_per_repository=3, garbage=0)


def test_no_case_has_two_meanings() -> None:
    assert not set(CASES) & set(GITLAB_CASES)
    assert set(all_cases()) == {*CASES, *GITLAB_CASES}


def test_the_same_options_make_the_same_tree(tmp_path: Path) -> None:
    for name in ("one", "two"):
        seed_tree(str(tmp_path / name), PLAN, sorted(all_cases()))
    one, two = picture(tmp_path / "one", times=False), picture(tmp_path / "two", times=False)
    assert one == two
    assert len(one) > 1000


@pytest.mark.postgres
def test_a_catalog_takes_all_of_it_with_findings_that_are_known(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    seed_tree(str(tmp_path / "t"), PLAN, sorted(all_cases()))
    with catalog_of(postgres_server, str(tmp_path / "t")) as catalog:
        catalog.bring_in()
        assert {one.kind for one in catalog.findings()} <= set(KINDS)
        before = catalog.content()
        assert catalog.bring_in().written == 0
        assert catalog.content() == before
