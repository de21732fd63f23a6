"""Seeded trees: the same for the same seed, the counts they claim, never into a directory in use."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ctl.catalog.digests import is_digest
from ctl.catalog.seeding import SeedPlan, repository_name, seed_tree
from ctl.errors import UsageError

PLAN = SeedPlan(repositories=9, tags_per_repository=12, garbage=10)


def _snapshot(root: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_same_seed_makes_the_same_bytes_and_times(tmp_path: Path) -> None:
    first = seed_tree(str(tmp_path / "a"), PLAN)
    assert seed_tree(str(tmp_path / "b"), PLAN) == first
    assert _snapshot(tmp_path / "a") == _snapshot(tmp_path / "b")
    other = SeedPlan(**{**PLAN.__dict__, "seed": 2})
    seed_tree(str(tmp_path / "c"), other)
    assert _snapshot(tmp_path / "c") != _snapshot(tmp_path / "a")


def test_the_tree_holds_what_was_counted(tmp_path: Path) -> None:
    written = seed_tree(str(tmp_path), PLAN)
    base = tmp_path / "docker" / "registry" / "v2"
    blobs = list((base / "blobs").rglob("data"))
    assert len(blobs) == written.blobs
    assert sum(blob.stat().st_size for blob in blobs) == written.bytes
    assert len(list((base / "repositories").rglob("_manifests/tags/*/current/link"))) == written.tags
    assert written.tags == 9 * 12
    assert len(list((base / "repositories").rglob("_manifests/revisions/*/*/link"))) == written.manifests
    assert sum(1 for path in tmp_path.rglob("*") if path.is_file()) == written.files
    assert 1.2 < written.manifests / written.tags < 1.7
    assert written.garbage_blobs == round((written.blobs - written.garbage_blobs) * 0.1)


def test_every_blob_is_what_its_path_says_and_every_link_what_its_own(tmp_path: Path) -> None:
    seed_tree(str(tmp_path), PLAN)
    base = tmp_path / "docker" / "registry" / "v2"
    for blob in (base / "blobs").rglob("data"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.parent.name
    for link in (base / "repositories").rglob("link"):
        text = link.read_text()
        assert is_digest(text)
        if link.parent.name != "current":
            assert link.parent.name == text.partition(":")[2]


def test_a_repository_may_lie_below_another() -> None:
    names = [repository_name(number) for number in range(100)]
    assert len(set(names)) == 100
    assert any(f"{name}/worker" in names for name in names)


@pytest.mark.parametrize("shape", ["images", "indexes"])
def test_the_shape_decides_on_indexes(tmp_path: Path, shape: str) -> None:
    plan = SeedPlan(repositories=2, tags_per_repository=6, shape=shape)
    seed_tree(str(tmp_path), plan)
    bodies = [path.read_bytes() for path in (tmp_path / "docker").rglob("data")]
    indexes = sum(b'"manifests"' in body for body in bodies)
    assert indexes == (0 if shape == "images" else 2 * 5)


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        seed_tree(str(tmp_path), PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["something"]


def test_an_unknown_case_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no-such-case"):
        seed_tree(str(tmp_path / "new"), PLAN, ["empty-tag-link", "no-such-case"])
    assert not (tmp_path / "new").exists()
