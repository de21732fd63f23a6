"""A read that nobody wants any more ends soon, and the processes that answered it end with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ctl.catalog.seeding import SeedPlan, seed_tree
from ctl.catalog.surveyed import Look, survey_tree
from ctl.errors import InterruptedRunError, UnreachableError
from ctl.storage.filesystem import FilesystemStorage
from ctl.storage.stoppable import Stoppable


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_it_answers_like_the_storage_behind_it(tmp_path: Path) -> None:
    seed_tree(str(tmp_path), SeedPlan(repositories=3, tags_per_repository=2))
    plain = FilesystemStorage(str(tmp_path), workers=0)
    wrapped = Stoppable(plain, lambda: False)
    paths = [entry.path for entry in plain.scan("docker")]
    assert list(wrapped.scan("docker")) == list(plain.scan("docker"))
    assert list(wrapped.stat_many(paths)) == list(plain.stat_many(paths))
    assert list(wrapped.read_many(paths, 100)) == list(plain.read_many(paths, 100))
    hashes = [(path, "sha256") for path in paths]
    assert list(wrapped.hash_many(hashes)) == list(plain.hash_many(hashes))
    assert wrapped.list_directory("docker") == plain.list_directory("docker")
    assert (wrapped.root, wrapped.exists()) == (plain.root, True)
    assert wrapped.space().total_bytes == plain.space().total_bytes
    assert survey_tree(wrapped).shards == survey_tree(plain).shards


def test_a_look_that_is_given_up_leaves_no_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seed_tree(str(tmp_path), SeedPlan(repositories=120, tags_per_repository=3))
    storage = FilesystemStorage(str(tmp_path), workers=2)
    before = children()
    for _ in range(5):
        with Look(storage) as look:
            pass
        storage.close()
        assert children() == before
        with pytest.raises(InterruptedRunError):
            look.result()
    assert capfd.readouterr().err == ""


def test_a_look_without_a_storage_says_so(tmp_path: Path) -> None:
    with Look(FilesystemStorage(str(tmp_path / "gone"))) as look, pytest.raises(UnreachableError):
        look.result()
