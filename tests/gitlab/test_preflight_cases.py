"""What a pre-flight foretells is what the real import does: case by case, all together, and at random."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from ctl.catalog.corruption import all_cases
from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.damage import damage
from tests.support.gitlab import GitlabServer, drop_owned, owned_database
from tests.support.gitlab_oracle import Imported, Oracle
from tests.support.postgres import PostgresServer
from tests.support.preflight import Judged, judge, picture, quarantine

FILE = Path(__file__).parents[1] / "cases" / "gitlab" / "preflight-4.32.0.yaml"
EXPECTED: dict[str, dict[str, object]] = yaml.safe_load(FILE.read_text())
SMALL = SeedPlan(1, 2, garbage=0)
# a link that is a symbolic link itself is never followed by regctl; the importer would, wherever it leads
CAREFUL = {"tag-link-is-symlink"}
SLOW = {"too-many-descriptors"}  # its import takes a minute
STOPPING = sorted(case for case, one in EXPECTED.items() if one["stops"] and case not in CAREFUL)
GOING_ON = sorted(set(EXPECTED) - set(STOPPING) - SLOW - CAREFUL)


@pytest.fixture(scope="module")
def oracle(
    postgres_server: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Oracle]:
    """The real program over an empty storage, with a database of its own."""
    address = owned_database(postgres_server, template=migrated_template)
    with postgres_server.connect() as connection:  # the tables of a clone are somebody else's
        connection.execute(f'ALTER ROLE "{address.user}" SUPERUSER'.encode())
    server = GitlabServer(tmp_path_factory.mktemp("oracle"), database=address)
    server.write_config()
    yield Oracle(server)
    drop_owned(postgres_server, address)


@pytest.fixture
def seeded(oracle: Oracle) -> Iterator[Callable[..., Path]]:
    """Seed the oracle's storage."""
    root = oracle.server.storage
    shutil.rmtree(root, ignore_errors=True)

    def seed(cases: list[str], plan: SeedPlan = SMALL) -> Path:
        seed_tree(str(root), plan, cases)
        return root

    yield seed
    shutil.rmtree(root, ignore_errors=True)


def agree(judged: Judged, imported: Imported) -> None:
    """Hold what was imported against what was foretold."""
    assert imported.complete, imported.stderr[-600:]
    assert imported.tags == judged.tags
    assert imported.children == judged.children


def test_every_case_has_a_record() -> None:
    assert sorted(EXPECTED) == sorted(all_cases())


@pytest.mark.parametrize("case", STOPPING)
def test_the_import_stops_where_it_was_foretold(
    oracle: Oracle, seeded: Callable[..., Path], case: str
) -> None:
    root = seeded([case])
    assert judge(root).stops
    imported = oracle.trial()
    assert imported.stopped, imported.stderr[-600:]
    quarantine(root)
    assert not judge(root).stops


def test_the_import_goes_on_where_it_was_foretold(oracle: Oracle, seeded: Callable[..., Path]) -> None:
    judged = judge(seeded(GOING_ON))
    assert not judged.stops
    agree(judged, oracle.run())


def test_a_healthy_tree_gives_no_alarm(oracle: Oracle, seeded: Callable[..., Path]) -> None:
    judged = judge(seeded([], SeedPlan(6, 6)))
    assert {one.kind for one in judged.findings} <= {"untagged-manifests", "lost-referrer"}
    assert len(judged.tags) == 36
    agree(judged, oracle.run())


def test_all_cases_together_import_after_a_quarantine_and_come_back_byte_for_byte(
    oracle: Oracle, seeded: Callable[..., Path]
) -> None:
    root = seeded(sorted(set(all_cases()) - SLOW))
    before = picture(root)
    judged = judge(root)
    for case, expected in EXPECTED.items():
        if case not in SLOW:
            assert {one.kind for one in judged.findings} >= set(expected["kinds"]), case  # type: ignore[call-overload]
    aside = quarantine(root)
    after = judge(root)
    assert not after.stops
    agree(after, oracle.run())
    shutil.rmtree(root / "docker/registry/lockfiles")
    os.utime(root / "docker/registry", ns=(0, before["docker/registry"][4]))
    aside.put_back()
    assert picture(root) == before


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_is_foretold(oracle: Oracle, seeded: Callable[..., Path], seed: int) -> None:
    _random_damage(oracle, seeded, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 140))
def test_much_random_damage_is_foretold(oracle: Oracle, seeded: Callable[..., Path], seed: int) -> None:
    _random_damage(oracle, seeded, seed)


@pytest.mark.soak
def test_an_index_of_ten_thousand_children_is_imported(oracle: Oracle, seeded: Callable[..., Path]) -> None:
    judged = judge(seeded(sorted(SLOW)))
    agree(judged, oracle.run())


def _random_damage(oracle: Oracle, seeded: Callable[..., Path], seed: int) -> None:
    shape = "indexes" if seed % 2 else "mixed"
    root = seeded([], SeedPlan(4, 5, seed=seed, garbage=0, shape=shape))
    done = damage(root, random.Random(seed), 10)
    before = picture(root)
    judged = judge(root)
    if judged.stops:
        imported = oracle.trial()
        assert imported.stopped, (done, judged.findings)
        shutil.rmtree(root / "docker/registry/lockfiles", ignore_errors=True)
        os.utime(root / "docker/registry", ns=(0, before["docker/registry"][4]))
    aside = quarantine(root)
    after = judge(root)
    assert not after.stops, done
    imported = oracle.run()
    assert imported.complete, (done, imported.stderr[-600:])
    agree(after, imported)
    shutil.rmtree(root / "docker/registry/lockfiles")
    os.utime(root / "docker/registry", ns=(0, before["docker/registry"][4]))
    aside.put_back()
    assert picture(root) == before
