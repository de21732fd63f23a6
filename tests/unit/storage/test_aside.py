"""Files kept aside by hard links: put back exactly, after any deletion, and gone without a trace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctl.catalog.digests import blob_path
from ctl.errors import RefusedError, RegctlError
from ctl.storage.aside import FOLDER, Aside

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha512:" + "cd" * 64
LINK = "docker/registry/v2/repositories/team/app/_manifests/tags/v1/current/link"


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file() and FOLDER not in p.parts
    }


def put(root: Path, path: str, data: bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, blob_path(DIGEST), b"layer")
    put(tmp_path, blob_path(OTHER), b"other")
    put(tmp_path, LINK, DIGEST.encode())
    return tmp_path


def test_what_was_deleted_comes_back_with_the_same_bytes_inode_and_owner(root: Path) -> None:
    before, inode = tree(root), (root / blob_path(DIGEST)).stat().st_ino
    os.chown(root / "docker/registry/v2/blobs/sha256", os.getuid(), os.getgid())
    aside = Aside(str(root), "run-1")
    kept = aside.keep([blob_path(DIGEST), blob_path(OTHER), LINK])
    assert (kept.made, kept.already, kept.gone) == (3, 0, ())
    assert aside.missing() == []
    for path in (blob_path(DIGEST), LINK):
        (root / path).unlink()
        (root / path).parent.rmdir()
    assert aside.missing() == sorted([blob_path(DIGEST), LINK])
    assert aside.put_back(aside.missing()) == 2
    assert tree(root) == before
    assert (root / blob_path(DIGEST)).stat().st_ino == inode
    assert aside.missing() == []


def test_a_file_that_is_gone_before_it_could_be_kept_is_reported(root: Path) -> None:
    absent = blob_path("sha256:" + "00" * 32)
    kept = Aside(str(root), "run-1").keep([absent, blob_path(DIGEST)])
    assert (kept.made, kept.gone) == (1, (absent,))


def test_keeping_again_links_only_what_is_new(root: Path) -> None:
    Aside(str(root), "run-1").keep([blob_path(DIGEST), LINK])
    kept = Aside(str(root), "run-1").keep([blob_path(DIGEST), LINK, blob_path(OTHER)])
    assert (kept.made, kept.already) == (1, 2)
    paths = {path for _name, path in Aside(str(root), "run-1").kept()}
    assert paths == {blob_path(DIGEST), blob_path(OTHER), LINK}


def test_a_torn_index_line_never_gives_a_name_to_another_path(root: Path) -> None:
    aside = Aside(str(root), "run-1")
    aside.keep([LINK])
    with open(os.path.join(aside.folder, "index"), "a") as index:
        index.write('["file-1", "docker/registry/v2/repos')
    second = LINK.replace("v1", "v2")
    put(root, second, OTHER.encode())
    aside.keep([LINK, second])
    (root / second).unlink()
    (root / LINK).unlink()
    aside.put_back(aside.missing())
    assert (root / LINK).read_text() == DIGEST
    assert (root / second).read_text() == OTHER


def test_discarding_leaves_the_storage_as_it_was_and_may_be_done_twice(root: Path) -> None:
    before = tree(root)
    aside = Aside(str(root), "run-1")
    aside.keep([blob_path(DIGEST), LINK])
    assert aside.discard() == 2
    assert aside.discard() == 0
    assert tree(root) == before
    assert not (root / FOLDER).exists()


def test_another_runs_links_stay(root: Path) -> None:
    Aside(str(root), "run-1").keep([LINK])
    Aside(str(root), "run-2").keep([LINK])
    Aside(str(root), "run-1").discard()
    assert not Aside(str(root), "run-1").exists()
    assert Aside(str(root), "run-2").exists()


def test_a_storage_without_blobs_or_on_two_file_systems_is_named(root: Path, tmp_path: Path) -> None:
    assert list(Aside(str(root), "r").problems()) == []
    assert "blobs" in next(Aside(str(tmp_path / "nowhere"), "r").problems())
    os.rename(root / "docker/registry/v2/blobs/sha512", root / "elsewhere")
    os.symlink(root / "elsewhere", root / "docker/registry/v2/blobs/sha512")
    (root / "docker/registry/v2/blobs/sha256/ab").rename(root / "ab")
    os.symlink(root / "ab", root / "docker/registry/v2/blobs/sha256/ab")
    assert "another file system" in next(Aside(str(root), "r").problems())


def test_a_file_system_that_makes_no_link_is_refused_before_anything_is_deleted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_args: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    with pytest.raises(RefusedError, match="no hard link"):
        Aside(str(root), "run-1").keep([LINK])


def test_what_was_deleted_on_purpose_is_let_go_and_never_comes_back(root: Path) -> None:
    aside = Aside(str(root), "run-1")
    aside.keep([blob_path(DIGEST), LINK])
    (root / LINK).unlink()
    kept = aside.keep([blob_path(DIGEST)], only=True)
    assert (kept.made, kept.already, kept.dropped) == (0, 1, 1)
    assert aside.missing() == []
    assert [path for _name, path in aside.kept()] == [blob_path(DIGEST)]


def test_a_file_that_was_replaced_is_kept_as_it_is_now(root: Path) -> None:
    aside = Aside(str(root), "run-1")
    aside.keep([LINK])
    (root / f"{LINK}.tmp").write_text(OTHER)
    (root / f"{LINK}.tmp").rename(root / LINK)  # as 3.x moves a tag
    assert aside.keep([LINK]).made == 1
    (root / LINK).unlink()
    aside.put_back([LINK])
    assert (root / LINK).read_text() == OTHER


@pytest.mark.parametrize("tag", ["two\nlines", "tab\there", "b\udcffd", "\u2028"])
def test_a_path_may_hold_any_byte(root: Path, tag: str) -> None:
    path = LINK.replace("v1", tag)
    put(root, path, b"odd")
    aside = Aside(str(root), "run-1")
    aside.keep([path, LINK])
    (root / path).unlink()
    assert Aside(str(root), "run-1").missing() == [path]
    assert aside.put_back([path]) == 1
    assert (root / path).read_bytes() == b"odd"


def test_a_full_disk_is_an_error_that_says_so_and_nothing_stays_behind(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.link, []

    def full(*arguments: object, **options: object) -> None:
        calls.append(arguments)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        real(*arguments, **options)  # type: ignore[arg-type]

    before = tree(root)
    aside = Aside(str(root), "run-1")
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(RegctlError, match="No space left"):
        aside.keep([blob_path(DIGEST), blob_path(OTHER), LINK])
    assert aside.discard() == 1
    assert tree(root) == before
    assert not (root / FOLDER).exists()


def test_a_folder_is_never_there_with_another_owner_than_its_parent(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = blob_path(DIGEST)
    folder = root / os.path.dirname(path)
    aside = Aside(str(root), "run-1")
    aside.keep([path])
    (root / path).unlink()
    folder.rmdir()
    folder.parent.chmod(0o2750)
    with monkeypatch.context() as patch:
        patch.setattr(os, "chmod", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))  # killed here
        with pytest.raises(KeyboardInterrupt):
            aside.put_back([path])
    assert not folder.exists()
    assert aside.put_back([path]) == 1
    assert folder.stat().st_mode & 0o7777 == 0o2750


def test_the_links_of_other_runs_are_named(root: Path) -> None:
    Aside(str(root), "run-1").keep([LINK])
    assert Aside(str(root), "run-2").others() == ["run-1"]
    assert Aside(str(root), "run-1").others() == []


names = st.text("ab", min_size=1, max_size=3)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sets(names, min_size=1, max_size=8), st.data())
def test_any_set_of_deletions_is_put_back(
    tmp_path_factory: pytest.TempPathFactory, repositories: set[str], data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("aside")
    paths = [f"docker/registry/v2/repositories/{r}/_manifests/tags/t/current/link" for r in repositories]
    paths += [blob_path("sha256:" + n.encode().hex().ljust(64, "0")) for n in repositories]
    for path in paths:
        put(root, path, path.encode())
    before = tree(root)
    aside = Aside(str(root), "r")
    aside.keep(paths)
    deleted = data.draw(st.sets(st.sampled_from(paths)))
    for path in deleted:
        (root / path).unlink()
    assert set(aside.missing()) == deleted
    aside.put_back(aside.missing())
    assert tree(root) == before
