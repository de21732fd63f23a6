"""A tree with more links than are held in memory between the two passes is read the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctl.catalog import delta
from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.catalogs import catalog_of
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("kept", [0, 90, 400])
def test_what_is_kept_between_the_passes_makes_no_difference(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    made = seed_tree(str(tmp_path), SeedPlan(repositories=30, tags_per_repository=3))
    monkeypatch.setattr(delta, "_KEPT_ENTRIES", kept)
    with catalog_of(postgres_server, str(tmp_path)) as catalog:
        done = catalog.bring_in()
        assert catalog.findings() == []
        assert catalog.verify().agree
        content = catalog.content()
        assert (len(content["tags"]), len(content["manifests"])) == (made.tags, made.manifests)
        assert done.written == len(content["blobs"]) + sum(
            len(content[kind]) for kind in ("tags", "revisions", "layers")
        )
