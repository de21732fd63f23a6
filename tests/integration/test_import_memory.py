"""An import's memory does not grow with the tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.catalogs import CatalogUnderTest, catalog_of
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.postgres


def _peak_growth(catalog: CatalogUnderTest) -> int:
    """Import in a child of its own; return by how many kilobytes its peak passed where it began."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        grown = -1
        try:
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the parent
            before = _status("VmRSS")
            catalog.bring_in()
            grown = _status("VmHWM") - before
        finally:
            os.write(writing, str(grown).encode())
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        return int(pipe.read())


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(field)


def test_four_times_the_tree_takes_hardly_more_memory(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    grown = []
    for repositories in (8, 32):
        root = tmp_path / str(repositories)
        seed_tree(str(root), SeedPlan(repositories, 25, layer_size=16))
        with catalog_of(postgres_server, str(root)) as catalog:
            grown.append(_peak_growth(catalog))
            assert catalog.rows("SELECT count(*) FROM regctl.tags") == [(repositories * 25,)]
    small, large = grown
    assert 0 < large < small + 15_000, f"{small} KB for 200 tags, {large} KB for 800"
