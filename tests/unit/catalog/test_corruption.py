"""Every broken entry becomes the finding that it should, and harms nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ctl.catalog.corruption import CASES
from ctl.catalog.findings import KINDS
from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.catalogs import CatalogUnderTest, catalog_of
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.postgres
EXPECTED: dict[str, dict[str, str]] = yaml.safe_load(
    (Path(__file__).parents[2] / "cases" / "storage" / "findings.yaml").read_text()
)
PLAN = SeedPlan(repositories=3, tags_per_repository=4, garbage=0)


@pytest.fixture(scope="module")
def broken(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CatalogUnderTest]:
    """All cases in one tree, imported once."""
    root = tmp_path_factory.mktemp("broken")
    seed_tree(str(root), PLAN, list(CASES))
    with catalog_of(postgres_server, str(root)) as catalog:
        catalog.bring_in()
        yield catalog


@pytest.fixture(scope="module")
def healthy(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CatalogUnderTest]:
    root = tmp_path_factory.mktemp("healthy")
    seed_tree(str(root), PLAN)
    with catalog_of(postgres_server, str(root)) as catalog:
        catalog.bring_in()
        yield catalog


def test_every_case_has_an_expectation() -> None:
    assert sorted(CASES) == sorted(EXPECTED)
    assert len(CASES) >= 50


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_a_broken_entry_is_found(broken: CatalogUnderTest, case: str) -> None:
    expected = EXPECTED[case]
    found = [(one.kind, one.path) for one in broken.findings()]
    assert any(kind == expected["kind"] and expected["path"] in path for kind, path in found), (
        f"{expected} is not among {[one for one in found if case in one[1]] or found}"
    )


def test_every_kind_found_is_documented(broken: CatalogUnderTest) -> None:
    assert {one.kind for one in broken.findings()} <= set(KINDS)


def test_paths_and_reasons_are_printable_and_relative(broken: CatalogUnderTest) -> None:
    for one in broken.findings():
        assert one.path.isprintable(), one
        assert one.reason.isprintable(), one
        assert one.path.startswith("docker/registry/v2/"), one


def test_what_is_healthy_beside_it_is_imported_whole(
    broken: CatalogUnderTest, healthy: CatalogUnderTest
) -> None:
    ours, clean = broken.content(), healthy.content()
    assert clean["findings"] == []
    for kind in ("tags", "revisions", "layers", "repositories", "manifests", "references", "blobs"):
        assert set(clean[kind]) <= set(ours[kind]), kind


def test_a_second_import_finds_the_same(broken: CatalogUnderTest) -> None:
    before = broken.content()
    again = broken.bring_in()
    assert broken.content() == before
    assert again.written == 0


def test_what_is_mended_is_found_no_more(postgres_server: PostgresServer, tmp_path: Path) -> None:
    cases = [
        "empty-tag-link",
        "truncated-manifest",
        "missing-layer",
        "stray-file-in-tags",
        "missing-manifest",
    ]
    seed_tree(str(tmp_path / "broken"), PLAN, cases)
    with catalog_of(postgres_server, str(tmp_path / "broken")) as catalog:
        assert catalog.bring_in().counts.problems == 7  # two of the blobs leave an empty folder too
        for path, data in _undone(tmp_path).items():
            if data is None:
                (tmp_path / "broken" / path).unlink()
            else:
                (tmp_path / "broken" / path).write_bytes(data)
        catalog.bring_in()
        assert catalog.findings() == []
        assert catalog.verify(checksums=True).agree


def _undone(tmp_path: Path) -> dict[str, bytes | None]:
    """What to write (None: delete) to take the five cases above back."""
    from ctl.catalog import corruption
    from ctl.catalog.digests import blob_path, tag_path
    from ctl.catalog.seeding import TreeWriter

    undo: dict[str, bytes | None] = {}
    for number, case in enumerate(
        ["empty-tag-link", "truncated-manifest", "missing-layer", "missing-manifest"]
    ):
        one = corruption.Broken(TreeWriter(str(tmp_path / f"good{number}")), case)
        undo[tag_path(one.name, "good")] = one.digest.encode()
        undo[blob_path(one.digest)] = one.payload()
        undo[blob_path(one.layer)] = f"layer of {case}".encode()
    undo["docker/registry/v2/repositories/corrupt/stray-file-in-tags/_manifests/tags/.nfs0001"] = None
    return undo
