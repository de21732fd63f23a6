"""A pre-flight finds every kind of damage, and nothing in a healthy tree. What is foretold is held against
the real program in tests/gitlab/test_preflight_cases.py; here are the same records, without it."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ctl.catalog.corruption import all_cases
from ctl.catalog.preflight import Preflight
from ctl.catalog.preflight_words import KINDS, Effect
from ctl.catalog.seeding import SeedPlan, seed_tree
from ctl.storage.filesystem import FilesystemStorage
from tests.support.damage import damage
from tests.support.preflight import Judged, judge, picture, quarantine

FILE = Path(__file__).parents[2] / "cases" / "gitlab" / "preflight-4.32.0.yaml"
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())
SMALL = SeedPlan(1, 2, garbage=0, shape="images")


def test_every_case_of_seed_is_recorded() -> None:
    assert sorted(EXPECTED) == sorted(all_cases())
    assert len(EXPECTED) >= 100


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_a_case_is_found_as_recorded(tmp_path: Path, case: str) -> None:
    seed_tree(str(tmp_path / "t"), SMALL, [case])
    before = picture(tmp_path / "t")
    judged = judge(tmp_path / "t")
    kinds = {one.kind for one in judged.findings if one.effect is not Effect.INFO}
    assert kinds == set(EXPECTED[case]["kinds"])
    assert judged.stops is EXPECTED[case]["stops"]
    for one in judged.findings:
        assert one.path.isprintable(), one
        assert one.reason.isprintable(), one
        assert one.path.startswith("docker/registry/v2/"), one
        assert bool(one.move) <= KINDS[one.kind].moved, one
        assert one.remedy or one.effect is Effect.INFO, one
        if one.effect is Effect.ABORT:
            assert one.move, one
    quarantine(tmp_path / "t")
    assert not judge(tmp_path / "t").stops
    assert picture(tmp_path / "t") != before or not any(one.move for one in judged.findings)


def test_a_healthy_tree_gives_no_alarm(tmp_path: Path) -> None:
    seed_tree(str(tmp_path / "t"), SeedPlan(14, 10))
    judged = judge(tmp_path / "t")
    assert {one.kind for one in judged.findings} == {"untagged-manifests", "lost-referrer"}
    assert len(judged.tags) == judged.counts.tags == 140
    assert judged.counts.tags_dropped == judged.counts.tags_lost == 0
    assert judged.counts.untagged == sum(one.count for one in judged.findings if one.effect is Effect.INFO)


def test_every_kind_but_what_only_a_disk_makes_is_tried() -> None:
    tried = {kind for one in EXPECTED.values() for kind in one["kinds"]}
    untried = {"no-repositories", "unreadable", "no-tags", "odd-tag-name", "untagged-manifests"}
    assert tried | untried == set(KINDS)
    assert not tried & untried


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    seed_tree(str(tmp_path / "t"), SeedPlan(30, 12), sorted(all_cases())[:40])
    one, several = judge(tmp_path / "t"), judge(tmp_path / "t", workers=4)
    assert one.findings == several.findings
    assert one.tags == several.tags
    assert one.counts == several.counts


def test_small_batches_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed_tree(str(tmp_path / "t"), SeedPlan(5, 12), sorted(set(all_cases()) - {"too-many-descriptors"}))
    whole = judge(tmp_path / "t")
    monkeypatch.setattr("ctl.catalog.preflight.BATCH", 3)
    assert set(judge(tmp_path / "t").findings) == set(whole.findings)
    assert judge(tmp_path / "t").tags == whole.tags


def test_some_repositories_alone(tmp_path: Path) -> None:
    seed_tree(str(tmp_path / "t"), SMALL, ["empty-tag-link", "nested-index", "junk-in-blobs"])
    reading = Preflight(FilesystemStorage(str(tmp_path / "t"), workers=0), only={"corrupt/nested-index"})
    assert {one.kind for one in reading.findings()} == {"nested-index", "bad-blob-path"}


def test_an_empty_storage(tmp_path: Path) -> None:
    assert [one.kind for one in judge(tmp_path).findings] == ["no-repositories"]


def test_a_hidden_repository_is_looked_at_and_hinders_only_later(tmp_path: Path) -> None:
    seed_tree(str(tmp_path / "t"), SMALL, ["newline-tag-link"])
    note = tmp_path / "t/docker/registry/v2/repositories/corrupt/_note"
    note.write_text("all after this is passed over")
    judged = judge(tmp_path / "t")
    assert not judged.stops
    hider = next(one for one in judged.findings if one.kind == "hiding-file")
    assert hider.lost == ("corrupt/newline-tag-link",)
    assert {one.hidden_by for one in judged.findings if one.kind == "bad-length-link"} == {hider.path}
    note.unlink()
    assert judge(tmp_path / "t").stops


def test_the_lost_children_are_named(tmp_path: Path) -> None:
    seed_tree(str(tmp_path / "t"), SMALL, ["index-bad-child-first"])
    judged = judge(tmp_path / "t")
    finding = next(one for one in judged.findings if one.kind == "lost-children")
    assert len(finding.lost) == 3
    assert not {child for _, _, child in judged.children} & set(finding.lost)
    quarantine(tmp_path / "t")
    after = judge(tmp_path / "t")
    assert {child for _, _, child in after.children} == set(finding.lost[1:])


def test_every_lost_tag_is_named(tmp_path: Path) -> None:
    seed_tree(str(tmp_path / "t"), SMALL, ["truncated-manifest"])
    tags = tmp_path / "t/docker/registry/v2/repositories/corrupt/truncated-manifest/_manifests/tags"
    shutil.copytree(tags / "good", tags / "also")
    judged = judge(tmp_path / "t")
    assert {one.tag for one in judged.findings if one.kind == "bad-manifest"} == {"good", "also"}
    assert len({one.move for one in judged.findings if one.move}) == 1
    assert judged.counts.tags_lost == 2


def test_a_folder_in_a_circle_of_links_ends(tmp_path: Path) -> None:
    seed_tree(str(tmp_path / "t"), SMALL)
    base = tmp_path / "t/docker/registry/v2/repositories"
    for name in ("up", "also-up", "once-more"):
        os.symlink("..", base / "team-00" / name)
    judged = judge(tmp_path / "t")
    assert judged.counts.repositories < 50
    assert judged.stops  # as the importer does, at a name that is too long or at too many links
    quarantine(tmp_path / "t")
    assert not judge(tmp_path / "t").stops
    assert judge(tmp_path / "t").counts.repositories == 1


def _everything(judged: Judged) -> tuple[Any, ...]:
    return judged.findings, judged.tags, judged.children


@pytest.mark.parametrize("seed", range(12))
def test_any_damage_is_read_without_a_fault_and_can_be_quarantined(tmp_path: Path, seed: int) -> None:
    root = tmp_path / "t"
    shape = "indexes" if seed % 2 else "mixed"
    seed_tree(str(root), SeedPlan(4, 5, seed=seed, garbage=0, shape=shape))
    damage(root, random.Random(seed), 25)
    before = picture(root)
    judged = judge(root)
    assert picture(root) == before
    assert _everything(judge(root)) == _everything(judged)
    aside = quarantine(root)
    after = judge(root)
    assert not after.stops
    assert {tag[:2] for tag in judged.tags} <= {tag[:2] for tag in after.tags} | {
        (one.repository, one.tag) for one in judged.findings
    }
    aside.put_back()
    assert picture(root) == before
    assert _everything(judge(root)) == _everything(judged)
