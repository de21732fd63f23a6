"""Files that are put into a tree, and taken out of it: whole, like their neighbours, and with a way back."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from unittest import mock

import pytest

from ctl.errors import RegctlError
from ctl.storage.tree_files import FOLDER, TreeFiles

BASE = "docker/registry/v2/repositories"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with an empty tree."""
    (tmp_path / BASE).mkdir(parents=True)
    return tmp_path


def test_a_file_appears_whole_and_only_once(root: Path) -> None:
    files = TreeFiles(str(root), "run")
    assert files.put(f"{BASE}/a/link", b"one")
    assert not files.put(f"{BASE}/a/link", b"one")
    assert (root / BASE / "a/link").read_bytes() == b"one"
    files.flush()
    assert os.listdir(root / FOLDER / "run" / "new") == []


def test_what_is_new_has_owner_and_mode_of_the_folder_it_comes_into(root: Path) -> None:
    (root / BASE).chmod(0o2750)
    if os.geteuid() == 0:
        os.chown(root / BASE, 1234, 4321)
    TreeFiles(str(root), "run").put(f"{BASE}/a/b/c/link", b"one")
    for path in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((root / BASE / path).stat().st_mode) == 0o2750
    found = (root / BASE / "a/b/c/link").stat()
    assert stat.S_IMODE(found.st_mode) == 0o640
    if os.geteuid() == 0:
        assert (found.st_uid, found.st_gid) == (1234, 4321)
    assert stat.S_IMODE((root / FOLDER).stat().st_mode) & 0o077 == 0  # nobody else looks into ours


def test_what_was_there_first_comes_back(root: Path) -> None:
    place, moved = root / BASE / "a/link", root / BASE / "gone/deep/link"
    for path in (place, moved):
        path.parent.mkdir(parents=True)
    place.write_bytes(b"first")
    moved.write_bytes(b"moved")
    files = TreeFiles(str(root), "run")
    files.put(f"{BASE}/a/link", b"second")
    files.put(f"{BASE}/a/link", b"third")
    assert files.take_out(f"{BASE}/gone")
    assert not files.take_out(f"{BASE}/gone")
    assert not (root / BASE / "gone").exists()
    assert files.kept() == [(f"{BASE}/a/link", "replaced"), (f"{BASE}/gone", "moved")]
    assert TreeFiles(str(root), "run").restore() == (2, [])  # another process, knowing only the disk
    assert (place.read_bytes(), moved.read_bytes()) == (b"first", b"moved")
    assert TreeFiles(str(root), "run").restore() == (0, [])


def test_nothing_is_put_over_what_came_since(root: Path) -> None:
    (root / BASE / "a").mkdir()
    (root / BASE / "a/old").write_bytes(b"old")
    files = TreeFiles(str(root), "run")
    files.take_out(f"{BASE}/a")
    (root / BASE / "a").mkdir()
    assert files.restore() == (0, [f"{BASE}/a"])
    assert os.listdir(root / BASE / "a") == []


def test_what_goes_twice_keeps_its_first_state_to_come_back(root: Path) -> None:
    files = TreeFiles(str(root), "run")
    for content in ("first", "second"):
        (root / BASE / "a").mkdir()
        (root / BASE / "a/file").write_text(content)
        assert files.take_out(f"{BASE}/a")
    assert files.restore() == (1, [])
    assert (root / BASE / "a/file").read_text() == "first"
    assert (root / FOLDER / "run/later-1" / BASE / "a/file").read_text() == "second"


@pytest.mark.parametrize("call", ["rename", "link", "mkdir", "open"])
def test_a_crash_at_any_point_leaves_the_old_file_or_the_new_one(root: Path, call: str) -> None:
    (root / BASE / "a").mkdir()
    (root / BASE / "a/link").write_bytes(b"old")
    real = getattr(os, call)
    for number in range(8):
        calls = [0]

        def dying(
            *arguments: object, calls: list[int] = calls, at: int = number, **options: object
        ) -> object:
            calls[0] += 1
            if calls[0] > at:
                raise OSError(5, "Input/output error")
            return real(*arguments, **options)

        with mock.patch.object(os, call, dying), contextlib.suppress(RegctlError):
            TreeFiles(str(root), "run").put(f"{BASE}/a/link", b"new")
            TreeFiles(str(root), "run").put(f"{BASE}/new/folder/link", b"new")
        assert (root / BASE / "a/link").read_bytes() in (b"old", b"new")
        new = root / BASE / "new"
        assert (
            not new.exists()
            or not (new / "folder/link").exists()
            or (new / "folder/link").read_bytes() == b"new"
        )
    TreeFiles(str(root), "run").put(f"{BASE}/a/link", b"new")
    TreeFiles(str(root), "run").put(f"{BASE}/new/folder/link", b"new")
    TreeFiles(str(root), "run").restore()
    assert (root / BASE / "a/link").read_bytes() == b"old"


def test_a_torn_record_names_nothing(root: Path) -> None:
    (root / BASE / "a").mkdir()
    files = TreeFiles(str(root), "run")
    files.take_out(f"{BASE}/a")
    with (root / FOLDER / "run/index").open("a") as index:
        index.write('\n["docker/regi')
    (root / BASE / "b").mkdir()
    files.take_out(f"{BASE}/b")
    assert files.kept() == [(f"{BASE}/a", "moved"), (f"{BASE}/b", "moved")]


def test_a_tree_that_cannot_be_changed_is_named_before(root: Path) -> None:
    assert list(TreeFiles(str(root), "run").problems()) == []
    (root / "docker/registry/v2/blobs").symlink_to("/tmp")
    assert "nothing can be moved aside" in next(TreeFiles(str(root), "run").problems())
