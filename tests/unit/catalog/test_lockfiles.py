"""The two lock files are read as GitLab's registry reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctl.catalog.lockfiles import DATABASE, FILESYSTEM, LockFiles, lock_path, read_lock_files
from ctl.errors import UnreachableError
from ctl.storage.filesystem import FilesystemStorage


def storage(folder: Path, *names: str) -> FilesystemStorage:
    for name in names:
        path = folder / lock_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"version":1}')
    return FilesystemStorage(str(folder), workers=0)


@pytest.mark.parametrize(
    ("names", "expected", "words"),
    [
        ((), LockFiles(), "no lock file"),
        ((DATABASE,), LockFiles(True, False), "database-in-use"),
        ((FILESYSTEM,), LockFiles(False, True), "filesystem-in-use"),
        ((DATABASE, FILESYSTEM), LockFiles(True, True), "database-in-use and filesystem-in-use"),
        (("something-else",), LockFiles(), "no lock file"),
    ],
)
def test_what_is_there_is_what_is_read(
    tmp_path: Path, names: tuple[str, ...], expected: LockFiles, words: str
) -> None:
    found = read_lock_files(storage(tmp_path, *names))
    assert found == expected
    assert found.describe() == words


def test_a_directory_in_the_place_of_a_lock_counts_as_absent_and_is_named(tmp_path: Path) -> None:
    (tmp_path / lock_path(DATABASE)).mkdir(parents=True)
    assert read_lock_files(storage(tmp_path)) == LockFiles(odd=(DATABASE,))


def test_a_link_in_the_place_of_a_lock_counts_as_there(tmp_path: Path) -> None:
    place = tmp_path / lock_path(DATABASE)
    place.parent.mkdir(parents=True)
    place.symlink_to("elsewhere")
    assert read_lock_files(storage(tmp_path)).database_in_use


def test_a_storage_that_is_not_there_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="cannot be read"):
        read_lock_files(storage(tmp_path / "not-mounted"))


def test_a_folder_that_cannot_be_looked_into_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "docker/registry").mkdir(parents=True)
    (tmp_path / "docker/registry/lockfiles").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnreachableError, match="lockfiles"):
        read_lock_files(storage(tmp_path))
