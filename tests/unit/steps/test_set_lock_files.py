"""Lock files are set in an order that is safe at every point, and undone byte for byte."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ctl.catalog.lockfiles import CONTENT, DATABASE, FILESYSTEM, lock_path
from ctl.hosts.local import LocalHost
from ctl.recipes.model import Target
from ctl.steps.set_lock_files import SetLockFiles
from ctl.storage.filesystem import FilesystemStorage
from ctl.testing.world import MemoryRun, MemoryWorld


class DeadError(Exception):
    """The process ends here."""


class DyingHost(LocalHost):
    """A machine whose controller is killed before its n-th change."""

    left = 99

    def _change(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise DeadError

    def write(self, *arguments: Any, **options: Any) -> None:
        self._change()
        super().write(*arguments, **options)

    def remove(self, path: str) -> None:
        self._change()
        super().remove(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir(mode=0o750)
    return tmp_path / "storage"


@pytest.fixture
def host(tmp_path: Path) -> DyingHost:
    return DyingHost("here", str(tmp_path / "jobs"))


@pytest.fixture
def here(root: Path, host: DyingHost) -> Target:
    registry = SimpleNamespace(storage=SimpleNamespace(host=None), nodes=[SimpleNamespace(host="here")])
    world = MemoryWorld(SimpleNamespace(registries={"main": registry}))
    world.hosts = {"here": host}  # type: ignore[dict-item]
    world.storages = {"main": FilesystemStorage(str(root), workers=0)}
    return Target(world, MemoryRun())


def step(database: bool, filesystem: bool) -> SetLockFiles:
    return SetLockFiles(registry="main", database_in_use=database, filesystem_in_use=filesystem)


def put(root: Path, *names: str) -> None:
    (root / lock_path(DATABASE)).parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / lock_path(name)).write_bytes(CONTENT)


def there(root: Path) -> set[str]:
    return {name for name in (DATABASE, FILESYSTEM) if (root / lock_path(name)).exists()}


def tree(root: Path) -> Mapping[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
    }


ALL = [(), (DATABASE,), (FILESYSTEM,), (DATABASE, FILESYSTEM)]
WANTED = [(False, False), (True, False), (False, True), (True, True)]


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("before", ALL)
def test_every_state_is_reached_from_every_state_and_back(
    root: Path, here: Target, before: tuple[str, ...], wanted: tuple[bool, bool]
) -> None:
    put(root, *before)
    shape = tree(root)
    change = step(*wanted)
    assert not list(change.check(here))
    seen = change.observe(here)
    expected = {name for name, on in zip((DATABASE, FILESYSTEM), wanted, strict=True) if on}
    assert change.preview(here).changes == (expected != set(before))
    assert tree(root) == shape  # looking writes nothing
    report = change.apply(here, seen)
    assert report.changed == (expected != set(before))
    assert there(root) == expected
    assert change.probe(here, seen) == "done"
    assert not list(change.verify(here))
    change.undo(here, seen)
    assert tree(root) == shape


def test_killed_between_its_writes_both_files_are_there_and_it_can_be_finished_or_undone(
    root: Path, here: Target, host: DyingHost
) -> None:
    for finish in (True, False):
        put(root, FILESYSTEM)
        (root / lock_path(DATABASE)).unlink(missing_ok=True)
        change = step(True, False)
        seen = change.observe(here)
        host.left = 1
        with pytest.raises(DeadError):
            change.apply(here, seen)
        host.left = 99
        assert there(root) == {DATABASE, FILESYSTEM}  # never none: that would look like a fresh storage
        assert change.probe(here, seen) == "partial"
        if finish:
            change.apply(here, seen)
            assert there(root) == {DATABASE}
        else:
            change.undo(here, seen)
            assert there(root) == {FILESYSTEM}


def test_the_bytes_are_the_programs_own_and_owner_and_mode_fit(root: Path, here: Target) -> None:
    change = step(True, False)
    change.apply(here, change.observe(here))
    found = root / lock_path(DATABASE)
    assert found.read_bytes() == b'{"version":1}'
    assert found.stat().st_mode & 0o777 == 0o640  # the root is 0750
    assert found.parent.stat().st_mode & 0o777 == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_new_files_belong_to_whom_the_neighbours_belong(root: Path, here: Target) -> None:
    os.chown(root, 65534, 65534)
    change = step(False, True)
    change.apply(here, change.observe(here))
    for path in (root / "docker", root / lock_path(FILESYSTEM)):
        assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_a_directory_in_the_place_of_a_lock_is_a_problem_and_stays(root: Path, here: Target) -> None:
    (root / lock_path(DATABASE)).mkdir(parents=True)
    problems = list(step(True, False).check(here))
    assert "is a directory, where a lock file belongs" in problems[0].message
    assert (root / lock_path(DATABASE)).is_dir()


def test_a_storage_that_is_not_there_is_a_problem(root: Path, here: Target) -> None:
    root.rmdir()
    problems = list(step(True, False).check(here))
    assert problems
    assert problems[0].blocking


def test_folders_that_were_made_stay_where_something_else_is_in_them(root: Path, here: Target) -> None:
    change = step(True, False)
    seen = change.observe(here)
    change.apply(here, seen)
    (root / "docker/registry/v2").mkdir()
    change.undo(here, seen)
    assert (root / "docker/registry/v2").is_dir()
    assert not (root / "docker/registry/lockfiles").exists()
