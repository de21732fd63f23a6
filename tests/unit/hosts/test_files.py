"""Files are replaced whole or not at all, whatever fails, and are never more open than in the end."""

from __future__ import annotations

import errno
import os
import pwd
import resource
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctl.errors import RefusedError, RegctlError, UsageError
from ctl.hosts import files
from tests.support.embedded import let_pass

NOBODY = pwd.getpwnam("nobody").pw_uid
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
WRITING = ("open", "write", "fchown", "fchmod", "fsync", "rename")


class FaultyOs:
    """The os module, whose k-th writing call fails; tells the widest mode that a file in `folder` had."""

    def __init__(self, folder: Path, fails_at: int, number: int) -> None:
        self.calls: list[str] = []
        self.widest = 0
        self._folder, self._fails_at, self._number = folder, fails_at, number

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in WRITING:
            return real

        def call(*args: Any, **options: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) == self._fails_at:
                raise OSError(self._number, os.strerror(self._number))
            result = real(*args, **options)
            for path in self._folder.iterdir():
                self.widest |= stat.S_IMODE(path.stat().st_mode)
            return result

        return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failure_at_any_call_leaves_the_old_or_the_new_bytes_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "config.yml"
    told: list[RegctlError] = []
    for fails_at in range(1, 50):
        path.write_bytes(b"old")
        path.chmod(0o600)
        faulty = FaultyOs(tmp_path, fails_at, number)
        monkeypatch.setattr(files, "os", faulty)
        try:
            files.write(str(path), b"new", 0o640, "nobody", "nogroup")
        except RegctlError as error:
            told.append(error)
        else:
            break
        finally:
            monkeypatch.setattr(files, "os", os)
        renamed = "rename" in faulty.calls[:-1]
        assert path.read_bytes() == (b"new" if renamed else b"old")
        assert os.listdir(tmp_path) == ["config.yml"]
    assert path.read_bytes() == b"new"
    assert len(told) == len(faulty.calls) >= 7  # open, open, write, fchown, fchmod, fsync, rename, fsync
    assert all(str(path) in error.message and error.hint for error in told)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_a_file_is_never_more_open_than_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    faulty = FaultyOs(tmp_path, 0, 0)
    monkeypatch.setattr(files, "os", faulty)
    before = os.umask(0)
    try:
        files.write(str(tmp_path / "secret"), b"canary", mode, None, None)
    finally:
        os.umask(before)
    assert faulty.widest == mode


def test_the_watch_over_modes_sees_a_file_that_was_too_open(tmp_path: Path) -> None:
    faulty = FaultyOs(tmp_path, 0, 0)
    handle = faulty.open(str(tmp_path / "secret"), os.O_CREAT | os.O_WRONLY, 0o644)
    faulty.fchmod(handle, 0o600)
    os.close(handle)
    assert faulty.widest == 0o644


def torn_reads(path: Path, write: Callable[[bytes], None], rounds: int) -> tuple[int, int]:
    """Write old and new by turns under a looping reader; return (reads, torn ones)."""
    contents = (b"a" * 300_000, b"b" * 100_000)
    path.write_bytes(contents[0])
    done = threading.Event()
    counts = [0, 0]

    def read() -> None:
        while not done.is_set():
            counts[0] += 1
            counts[1] += path.read_bytes() not in contents

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(rounds):
            write(contents[(turn + 1) % 2])
    finally:
        done.set()
        reader.join()
    return counts[0], counts[1]


def test_a_looping_reader_sees_the_old_bytes_or_the_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    reads, torn = torn_reads(path, lambda data: files.write(str(path), data, 0o600, None, None), 300)
    assert reads > 100
    assert torn == 0


def test_the_looping_reader_catches_a_writer_in_place(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"

    def in_place(data: bytes) -> None:
        with open(path, "wb") as file:
            file.write(data[:1000])
            file.flush()
            time.sleep(0.005)
            file.write(data[1000:])

    assert torn_reads(path, in_place, 20)[1] > 0


def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(RegctlError, match=r"config\.yml"):
            files.write(str(path), b"x" * 10_000, 0o600, None, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["config.yml"]


@needs_root
def test_a_directory_that_we_may_not_write_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    let_pass(tmp_path)
    path = tmp_path / "config.yml"
    path.write_bytes(b"old")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            files.write(str(path), b"new", 0o600, None, None)
        except RegctlError as error:
            os.write(writer, f"{error.message}|{error.hint}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as told:
        assert told.read() == (
            f"cannot write {path}: Permission denied|run regctl as root, or as a user who may do this"
        )
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["config.yml"]


@needs_root
def test_owner_and_group_stay_unless_given(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_bytes(b"old")
    os.chown(path, NOBODY, -1)
    files.write(str(path), b"new", 0o640, None, "nogroup")
    found = files.stat(str(path))
    assert found is not None
    assert (found.owner, found.group, found.mode) == ("nobody", "nogroup", 0o640)
    files.write(str(path), b"newer", 0o600, "root", None)
    found = files.stat(str(path))
    assert found is not None
    assert (found.owner, found.group) == ("root", "nogroup")
    with pytest.raises(UsageError, match="no-such-user"):
        files.write(str(path), b"", 0o600, "no-such-user", None)
    assert path.read_bytes() == b"newer"


def test_our_own_symbolic_link_is_written_through_and_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "real" / "config.yml"
    real.parent.mkdir()
    real.write_bytes(b"old")
    middle, link = tmp_path / "middle", tmp_path / "link"
    middle.symlink_to("real/config.yml")
    link.symlink_to(middle)
    files.write(str(link), b"new", 0o600, None, None)
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    found = files.stat(str(link))
    assert found is not None
    assert found.kind == "symlink"
    assert os.listdir(real.parent) == ["config.yml"]


@needs_root
def test_somebody_elses_symbolic_link_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "shadow"
    target.write_bytes(b"old")
    link, detour = tmp_path / "link", tmp_path / "detour"
    link.symlink_to(target)
    os.lchown(link, NOBODY, -1)
    detour.symlink_to(link)  # ours, but it leads to theirs
    for path in (link, detour):
        with pytest.raises(RefusedError, match="nobody"):
            files.write(str(path), b"new", 0o600, None, None)
    assert target.read_bytes() == b"old"


def test_links_in_a_circle_and_things_that_are_no_files_are_refused(tmp_path: Path) -> None:
    one, other, pipe = tmp_path / "one", tmp_path / "other", tmp_path / "pipe"
    one.symlink_to(other)
    other.symlink_to(one)
    os.mkfifo(pipe)
    for path in (one, pipe, tmp_path):
        with pytest.raises(RefusedError):
            files.write(str(path), b"", 0o600, None, None)
    with pytest.raises(RegctlError, match="not a regular file"):
        files.read(str(pipe))


def test_what_a_killed_writer_left_is_swept_by_the_next_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    old, fresh, other, kept = (
        tmp_path / name
        for name in (
            ".config.yml.regctl-tmp-1",
            ".config.yml.regctl-tmp-2",
            ".other.yml.regctl-tmp-1",
            ".config.yml.regctl-original",
        )
    )
    for leftover in (old, fresh, other, kept):
        leftover.write_bytes(b"")
    for leftover in (old, other, kept):
        os.utime(leftover, (time.time() - 7200,) * 2)
    files.write(str(path), b"new", 0o600, None, None)
    assert sorted(os.listdir(tmp_path)) == sorted([fresh.name, other.name, kept.name, path.name])


def test_parents_are_made_open_and_the_folder_itself_as_asked(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.make_directory(str(tmp_path / "a" / "b"), 0o700, None, None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
