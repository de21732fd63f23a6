"""The database's plan of garbage is the pure function's, also when the tree changed since the import."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ctl.catalog.corruption import CASES, add_case
from ctl.catalog.seeding import SeedPlan, TreeWriter, seed_tree
from ctl.catalog.surveyed import survey_tree
from ctl.plans.garbage import GarbagePlan, plan_garbage
from ctl.steps.read_catalog import plan_from_catalog
from ctl.steps.read_garbage import holdings_of_tree
from ctl.storage.filesystem import FilesystemStorage
from tests.integration.test_import_properties import ACTIONS, Mutable
from tests.support.catalogs import CatalogUnderTest, catalog_of
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.postgres
# A manifest whose stored bytes went or were cut after the import: the catalog still knows what it needs, the
# tree does not. Both plans are safe, and they differ.
CHANGES = sorted(set(ACTIONS) - {"truncate_blob", "delete_blob"})


def from_catalog(catalog: CatalogUnderTest, *, delete_untagged: bool) -> GarbagePlan:
    with catalog.store.open() as reader:
        storage = FilesystemStorage(catalog.root, workers=0)
        look = partial(survey_tree, storage)
        return plan_from_catalog(reader, storage, look, delete_untagged=delete_untagged)[0]


def from_tree(catalog: CatalogUnderTest, *, delete_untagged: bool) -> GarbagePlan:
    holdings, _sample = holdings_of_tree(FilesystemStorage(catalog.root, workers=0))
    return plan_garbage(holdings, delete_untagged=delete_untagged)


def agree(catalog: CatalogUnderTest, *, layers_known: bool = True) -> None:
    """Assert that both planners say the same.

    Layer links decide no blob's fate, so a look over the tree passes over them: one that somebody took away
    since the import is still counted for its repository, until the next import.
    """
    for delete_untagged in (False, True):
        ours = from_catalog(catalog, delete_untagged=delete_untagged)
        theirs = from_tree(catalog, delete_untagged=delete_untagged)
        assert set(ours.opaque) ^ set(theirs.opaque) == set(), (len(ours.opaque), len(theirs.opaque))
        assert ours.blobs == theirs.blobs
        assert ours.manifests == theirs.manifests
        assert (ours.kept_blobs, ours.kept_bytes) == (theirs.kept_blobs, theirs.kept_bytes)
        if layers_known:
            assert ours.repositories == theirs.repositories


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 4), st.lists(st.sampled_from(CHANGES), max_size=6))
@example(1, ["delete_repository", "delete_layer_link", "delete_layer_link"])
def test_both_planners_agree_after_random_changes(
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    actions: list[str],
) -> None:
    root = tmp_path_factory.mktemp("tree")
    seed_tree(str(root), SeedPlan(repositories=3, tags_per_repository=4, seed=seed, garbage=5))
    with catalog_of(postgres_server, str(root)) as catalog:
        catalog.bring_in()
        agree(catalog)
        tree = Mutable(root, seed)
        for action in actions:
            ACTIONS[action](tree)
        agree(catalog, layers_known="delete_layer_link" not in actions)
        catalog.bring_in()
        agree(catalog)
    shutil.rmtree(root)


@pytest.mark.parametrize("when", ["before", "after"])
def test_both_planners_agree_on_every_damage(
    postgres_server: PostgresServer, tmp_path: Path, when: str
) -> None:
    seed_tree(str(tmp_path), SeedPlan(repositories=2, tags_per_repository=3))
    with catalog_of(postgres_server, str(tmp_path)) as catalog:
        if when == "after":
            catalog.bring_in()
        for case in CASES:
            add_case(TreeWriter(str(tmp_path)), case)
        if when == "before":
            catalog.bring_in()
        agree(catalog)


def test_nothing_that_a_damaged_repository_may_need_is_garbage(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    seed_tree(str(tmp_path), SeedPlan(repositories=1, tags_per_repository=2, garbage=0))
    with catalog_of(postgres_server, str(tmp_path)) as catalog:
        catalog.bring_in()
        next(tmp_path.glob("docker/registry/v2/repositories/**/revisions/sha256/*/link")).write_bytes(b"")
        plan = from_catalog(catalog, delete_untagged=True)
        linked = {path.parent.name for path in tmp_path.glob("docker/registry/v2/repositories/**/link")}
        assert plan.opaque
        assert not {digest.partition(":")[2] for digest in plan.blobs} & linked


def test_a_manifest_cut_after_the_import_still_keeps_what_it_needs(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    seed_tree(str(tmp_path), SeedPlan(repositories=2, tags_per_repository=3, garbage=0))
    with catalog_of(postgres_server, str(tmp_path)) as catalog:
        catalog.bring_in()
        needed = {row[3] for row in catalog.content()["references"]}
        for digest in {row[1] for row in catalog.content()["revisions"]}:
            hexadecimal = digest.partition(":")[2]
            (tmp_path / f"docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data").write_bytes(
                b""
            )
        assert not needed & set(from_catalog(catalog, delete_untagged=False).blobs)
        assert not needed & set(from_tree(catalog, delete_untagged=False).blobs)
