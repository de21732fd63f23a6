"""What commands remember: a drop-in of its own, written whole or not at all, never a broken site."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ctl.config.files import create, write_atomically
from ctl.config.load import load_site
from ctl.config.persist import drop_in_path, laid_over, persist
from ctl.errors import ConfigError, RefusedError, RegctlError

SITE = "version: 1\nhosts: {a: {}}\nregistries: {}\n"


@pytest.fixture
def site(tmp_path: Path) -> str:
    path = tmp_path / "site.yml"
    path.write_text(SITE)
    return str(path)


def test_values_are_remembered_and_merged_and_the_site_file_is_not_touched(site: str) -> None:
    persist(site, {"hosts": {"a": {"labels": {"rack": "1"}}}})
    loaded = persist(site, {"hosts": {"b": {}}, "state_dir": "/srv/state"})
    assert Path(site).read_text() == SITE
    assert loaded.site.model_dump() == load_site(site).site.model_dump()
    assert loaded.site.hosts["a"].labels == {"rack": "1"}
    assert loaded.site.state_dir == "/srv/state"
    drop_in = Path(drop_in_path(site))
    assert drop_in.name == "50-regctl.yml"
    assert drop_in.stat().st_mode & 0o777 == 0o640


def test_what_would_break_the_site_is_not_written(site: str) -> None:
    with pytest.raises(ConfigError) as caught:
        persist(site, {"state_dir": "relative"})
    assert drop_in_path(site) in caught.value.details[0]
    assert not os.path.exists(drop_in_path(site))


def test_a_later_drop_in_that_would_hide_the_value_is_named(site: str) -> None:
    folder = Path(drop_in_path(site)).parent
    folder.mkdir()
    (folder / "60-mine.yml").write_text("state_dir: /srv/mine\n")
    with pytest.raises(RefusedError, match=r"60-mine.yml:1:1: state_dir"):
        persist(site, {"state_dir": "/srv/state"})
    assert not os.path.exists(drop_in_path(site))
    persist(site, {"hosts": {"b": {}}})
    assert load_site(site).site.state_dir == "/srv/mine"


def test_two_that_remember_at_once_lose_nothing(site: str) -> None:
    names = [f"h{n}" for n in range(12)]
    writers = [threading.Thread(target=persist, args=(site, {"hosts": {name: {}}})) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert set(load_site(site).site.hosts) == {"a", *names}


def test_a_site_that_everybody_may_write_to_is_refused(site: str) -> None:
    os.chmod(site, 0o666)
    with pytest.raises(ConfigError, match="everybody may write") as caught:
        load_site(site)
    assert caught.value.hint == f"chmod o-w {site}"


def test_lists_replace_and_mappings_merge() -> None:
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert laid_over(base, {"a": {"y": [3]}, "c": {}}) == {"a": {"x": 1, "y": [3]}, "b": 1, "c": {}}
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    versions = [bytes([65 + n]) * 20_000 for n in range(3)]
    write_atomically(str(path), versions[0], 0o600)
    stop, torn = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            data = path.read_bytes()
            if data not in versions:
                torn.append(data)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for n in range(150):
        write_atomically(str(path), versions[n % 3], 0o600)
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert os.listdir(tmp_path) == ["f"]


def test_creating_never_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "f"
    create(str(path), b"one", 0o640)
    with pytest.raises(RefusedError):
        create(str(path), b"two", 0o640)
    os.unlink(path)
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(RefusedError):
        create(str(path), b"two", 0o640)
    assert os.listdir(tmp_path) == ["f"]


def test_a_folder_that_is_missing_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(RegctlError, match="No such file"):
        write_atomically(str(tmp_path / "no" / "f"), b"", 0o600)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RegctlError, match="No space left"):
        write_atomically(str(path), b"new", 0o600)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]
