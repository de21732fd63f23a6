"""Entries that are moved aside come back as they were, whatever happens in between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctl.errors import RefusedError, UsageError
from ctl.storage import quarantine as module
from ctl.storage.durable import write_durably
from ctl.storage.entry_print import look
from ctl.storage.quarantine import FOLDER, Quarantine, quarantines
from ctl.storage.renaming import rename_new
from tests.support.preflight import picture

TAGS = "docker/registry/v2/repositories/app/_manifests/tags"
PATHS = [
    f"{TAGS}/v1",
    f"{TAGS}/.DS_Store",
    f"{TAGS}/\udcff",
    "docker/registry/v2/blobs/sha256/zz",
    f"{TAGS}/v1/index",
]


class Crash(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small tree with odd names, modes and times."""
    root = tmp_path / "storage"
    for tag in ("v1", "v2", "\udcff"):
        folder = root / TAGS / tag / "current"
        folder.mkdir(parents=True)
        (folder / "link").write_bytes(b"sha256:" + tag.encode("utf-8", "surrogateescape"))
        (root / TAGS / tag / "index").mkdir()
    (root / TAGS / ".DS_Store").write_bytes(b"\0\1")
    (root / TAGS / ".DS_Store").chmod(0o604)
    (root / "docker/registry/v2/blobs/sha256/zz/junk").mkdir(parents=True, mode=0o751)
    os.symlink("nowhere", root / "docker/registry/v2/blobs/sha256/zz/link")
    for number, path in enumerate(sorted([root, *root.rglob("*")], reverse=True)):
        os.utime(path, ns=(10**18 + number, 10**18 + number * 1001), follow_symlinks=False)
    return root


def aside_of(root: Path) -> Quarantine:
    return Quarantine(str(root), "run-1")


def move(aside: Quarantine, paths: list[str] = PATHS) -> tuple[int, list[str]]:
    return aside.move(aside.describe((path, {"kind": "bad"}) for path in paths), {"registry": "main"})


def test_everything_comes_back_as_it_was(root: Path) -> None:
    before = picture(root)
    aside = aside_of(root)
    assert move(aside) == (4, [])  # v1/index goes with v1
    assert not (root / TAGS / "v1").exists()
    assert (root / TAGS / "v2/current/link").exists()
    assert [item.path for item in aside.items() if aside.held(item)]
    assert aside.header()["registry"] == "main"
    assert quarantines(str(root)) == ["run-1"]
    assert aside.put_back() == 4
    assert picture(root) == before
    assert quarantines(str(root)) == []


def test_a_second_round_is_added_and_comes_back_too(root: Path) -> None:
    before = picture(root)
    aside = aside_of(root)
    assert move(aside, PATHS[:1]) == (1, [])
    assert move(aside, PATHS[1:4]) == (3, [])
    assert move(aside, PATHS) == (0, [])
    assert aside.put_back() == 4
    assert picture(root) == before


def test_two_runs_come_back_in_any_order(root: Path) -> None:
    before = picture(root, times=False)
    first, second = aside_of(root), Quarantine(str(root), "run-2")
    move(first, PATHS[:1])
    move(second, PATHS[1:])
    assert quarantines(str(root)) == ["run-1", "run-2"]
    first.put_back()
    assert quarantines(str(root)) == ["run-2"]
    second.put_back()
    assert picture(root, times=False) == before


def _crashing(monkeypatch: pytest.MonkeyPatch, at: int, when: str) -> Callable[[], int]:
    """Die at the n-th write of any sort, before or after it; return how many there were."""
    count = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == at and when == "before":
                raise Crash
            answer = real(*arguments, **options)
            if count == at and when == "after":
                raise Crash
            return answer

        return called

    monkeypatch.setattr(module, "rename_new", wrap(rename_new))
    monkeypatch.setattr(module, "write_durably", wrap(write_durably))
    for name in ("unlink", "rmdir", "makedirs", "utime"):
        monkeypatch.setattr(f"ctl.storage.quarantine.os.{name}", wrap(getattr(os, name)))
    return lambda: count


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_may_be_killed_at_any_moment(root: Path, when: str) -> None:
    before = picture(root)
    deaths = 0
    for at in range(1, 60):
        died = {"move": False, "back": False}
        for act in ("move", "back"):
            with pytest.MonkeyPatch.context() as patch:
                _crashing(patch, at, when)
                try:
                    aside = aside_of(root)
                    move(aside) if act == "move" else aside.put_back()
                except Crash:
                    died[act] = True
            aside = aside_of(root)
            if act == "move":
                aside.finish()
                move(aside)
                assert not (root / TAGS / "v1").exists()
                assert not (root / TAGS / ".DS_Store").exists()
            else:
                aside.put_back()
        deaths += sum(died.values())
        now = picture(root)
        # the root's own time is lost where it died between two writes of which one would have noted it
        assert {k: v for k, v in now.items() if k != "."} == {k: v for k, v in before.items() if k != "."}, at
        os.utime(root, ns=(0, before["."][4]))
        if not any(died.values()):
            break
    else:
        pytest.fail("it never came through")
    assert deaths >= 20


def test_what_somebody_wrote_meanwhile_is_never_overwritten(root: Path) -> None:
    aside = aside_of(root)
    move(aside)
    (root / TAGS / "v1/current").mkdir(parents=True)
    (root / TAGS / "v1/current/link").write_bytes(b"pushed anew")
    before = picture(root)
    with pytest.raises(RefusedError, match="there again"):
        aside.put_back()
    assert picture(root) == before
    shutil.rmtree(root / TAGS / "v1")
    assert aside.put_back() == 4


def test_a_folder_that_somebody_changed_keeps_its_new_time(root: Path) -> None:
    before = picture(root)
    aside = aside_of(root)
    move(aside)
    (root / TAGS / "v3").mkdir()
    changed = (root / TAGS).stat().st_mtime_ns
    aside.put_back()
    now = picture(root)
    assert now[TAGS][4] >= changed
    assert now["docker/registry/v2/blobs/sha256"] == before["docker/registry/v2/blobs/sha256"]


def test_an_entry_that_was_mended_stays(root: Path) -> None:
    aside = aside_of(root)
    items = aside.describe((path, {}) for path in PATHS)
    (root / TAGS / "v1/current/link").write_bytes(b"sha256:mended")
    moved, changed = aside.move(items, {})
    assert (moved, changed) == (3, [f"{TAGS}/v1"])
    assert (root / TAGS / "v1/current/link").read_bytes() == b"sha256:mended"


def test_an_entry_that_was_changed_aside_does_not_go_back(root: Path) -> None:
    aside = aside_of(root)
    move(aside)
    held = next(item for item in aside.items() if item.path == f"{TAGS}/v1")
    (Path(aside.folder) / "items" / str(held.number) / "current/link").write_bytes(b"other")
    with pytest.raises(RefusedError, match="was changed since it was moved"):
        aside.put_back()


def test_a_folder_that_is_gone_is_named(root: Path) -> None:
    aside = aside_of(root)
    move(aside)
    shutil.rmtree(root / TAGS)
    assert any("is gone" in one for one in aside.obstacles())


def test_another_file_system_is_refused(root: Path, tmp_path: Path) -> None:
    if os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("one file system only")
    os.symlink("/dev/shm", root / "elsewhere")
    name = next(iter(os.listdir("/dev/shm")), None)
    made = None
    if name is None:
        made = Path("/dev/shm") / f"regctl-test-{os.getpid()}"
        made.touch()
        name = made.name
    try:
        assert any("another file system" in one for one in aside_of(root).problems([f"elsewhere/{name}"]))
    finally:
        if made:
            made.unlink()
    assert list(aside_of(root).problems(PATHS)) == []


def test_a_symbolic_link_in_place_of_its_folder_is_refused(root: Path, tmp_path: Path) -> None:
    os.symlink(tmp_path, root / FOLDER)
    assert any("symbolic link" in one for one in aside_of(root).problems([]))


@pytest.mark.parametrize("run", ["", ".", "..", "../docker", "a/b", ".hidden"])
def test_a_run_is_no_path(root: Path, run: str) -> None:
    with pytest.raises(UsageError):
        Quarantine(str(root), run)


def test_a_rename_never_takes_a_place_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()  # os.rename would replace an empty folder
    with pytest.raises(FileExistsError):
        rename_new(str(tmp_path / "one"), str(tmp_path / "two"))
    rename_new(str(tmp_path / "one"), str(tmp_path / "three"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["three", "two"]


def test_a_print_tells_every_change(root: Path) -> None:
    folder = root / TAGS / "v1"
    prints = [look(str(folder))]
    (folder / "current/link").write_bytes(b"sha256:xx")
    prints.append(look(str(folder)))
    (folder / "current/link").chmod(0o600)
    prints.append(look(str(folder)))
    (folder / "index/more").mkdir()
    prints.append(look(str(folder)))
    assert len(set(prints)) == 4
    assert look(str(folder)) == prints[-1]
