"""What every Storage promises: the file system here (alone, with processes), on another host, in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from ctl.errors import UnreachableError
from ctl.hosts.posix import PosixHost
from ctl.hosts.programs import SEARCH_PATH
from ctl.hosts.shell import Shell
from ctl.hosts.ssh import SshShell
from ctl.storage.base import Entry, Failure, Storage
from ctl.storage.far import FarStorage
from ctl.storage.filesystem import FilesystemStorage
from ctl.testing.storage import MemoryStorage
from tests.support.programs import find
from tests.support.shells import HereShell, busybox_only, without_python
from tests.support.sshd import SshServer

AT = 1_700_000_000_123_456_789


class Kit(Protocol):
    """A storage and hands that put things into it."""

    storage: Storage

    def put(self, path: str, data: bytes) -> None: ...
    def folder(self, path: str) -> None: ...
    def link(self, path: str, target: str) -> None: ...
    def lose_root(self) -> None: ...


class DiskKit:
    def __init__(self, root: Path, workers: int) -> None:
        self.root = root
        root.mkdir()
        self.storage: Storage = FilesystemStorage(str(root), workers)

    def put(self, path: str, data: bytes) -> None:
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)
        os.utime(full, ns=(AT, AT))

    def folder(self, path: str) -> None:
        (self.root / path).mkdir(parents=True, exist_ok=True)

    def link(self, path: str, target: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).symlink_to(target)

    def lose_root(self) -> None:
        self.root.rename(self.root.with_name("elsewhere"))


class MemoryKit:
    def __init__(self) -> None:
        self.memory = MemoryStorage()
        self.storage: Storage = self.memory

    def put(self, path: str, data: bytes) -> None:
        self.memory.write(path, data, AT)

    def folder(self, path: str) -> None:
        self.memory.folders.add(path)

    def link(self, path: str, target: str) -> None:
        self.memory.links[path] = target

    def lose_root(self) -> None:
        self.memory.there = False


class FarKit(DiskKit):
    """The tree behind a shell, as on another host: with python3, without it, with BusyBox, over sshd."""

    def __init__(self, root: Path, shell: Shell, search_path: str) -> None:
        super().__init__(root, 0)
        host = PosixHost("far", shell, str(root.with_name("jobs")), search_path=search_path)
        self.storage = self.far = FarStorage(str(root), "far", host.open_stream)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshShell]:
    with SshServer(tmp_path_factory.mktemp("sshd")) as server:
        shell = SshShell(server.way())
        yield shell
        shell.close()


KITS = ("alone", "processes", "memory", "far-python", "far-shell", "far-bash", "far-busybox", "far-ssh")


@pytest.fixture(params=KITS)
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    root, here = tmp_path / "root", HereShell("far")
    makers: dict[str, Callable[[], Kit]] = {
        "alone": lambda: DiskKit(root, 0),
        "processes": lambda: DiskKit(root, 3),
        "memory": MemoryKit,
        "far-python": lambda: FarKit(root, here, SEARCH_PATH),
        "far-shell": lambda: FarKit(root, here, without_python(tmp_path)),
        "far-bash": lambda: FarKit(root, here.with_shell("/usr/bin/bash --posix"), without_python(tmp_path)),
        "far-busybox": lambda: FarKit(
            root, here.with_shell(f"{find('busybox')} ash"), busybox_only(tmp_path)
        ),
        "far-ssh": lambda: FarKit(root, request.getfixturevalue("sshd"), SEARCH_PATH),
    }
    made = makers[request.param]()
    yield made
    close = getattr(made.storage, "close", None)
    if close is not None:
        close()


def test_reads_come_in_the_order_asked_for(kit: Kit) -> None:
    kit.put("a/x", b"one")
    kit.put("b", b"")
    paths = ["b", "a/nothing", "a/x", "a"]
    assert list(kit.storage.read_many(paths, 10)) == [
        ("b", b""),
        Failure("a/nothing", "No such file or directory", "missing"),
        ("a/x", b"one"),
        _not_a_file(kit, "a"),
    ]


def _not_a_file(kit: Kit, path: str) -> Failure:
    found = next(iter(kit.storage.read_many([path], 10)))
    assert isinstance(found, Failure)
    assert found.kind == "not-a-file"
    return found


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 40_000, 70_000])
def test_the_limit_of_a_read_is_exact(kit: Kit, size: int) -> None:
    kit.put("file", b"x" * size)
    assert list(kit.storage.read_many(["file"], size)) == [("file", b"x" * size)]
    if size:
        (found,) = kit.storage.read_many(["file"], size - 1)
        assert isinstance(found, Failure)
        assert found.kind == "too-large"


def test_many_large_files_come_whole_and_in_order(kit: Kit) -> None:
    sizes = [number * 37_000 % 300_000 for number in range(260)]
    for number, size in enumerate(sizes):
        kit.put(f"f{number:03d}", bytes([number % 251]) * size)
    found = kit.storage.read_many([f"f{number:03d}" for number in range(260)], 250_000)
    for number, (size, one) in enumerate(zip(sizes, found, strict=True)):
        if size > 250_000:
            assert isinstance(one, Failure)
        else:
            assert one == (f"f{number:03d}", bytes([number % 251]) * size)


def test_stats_tell_size_and_time_exactly(kit: Kit) -> None:
    kit.put("a/b/c", b"12345")
    kit.folder("empty")
    entry, folder, missing = kit.storage.stat_many(["a/b/c", "empty", "none"])
    assert entry == Entry("a/b/c", 5, AT)
    assert isinstance(folder, Failure)
    assert folder.kind == "not-a-file"
    assert isinstance(missing, Failure)
    assert missing.kind == "missing"


def test_no_symbolic_link_is_followed(kit: Kit) -> None:
    kit.put("real/file", b"secret")
    kit.link("file", "real/file")
    kit.link("tags/v1/current", "../../real")
    for found in [*kit.storage.read_many(["file"], 10), *kit.storage.stat_many(["file"])]:
        assert isinstance(found, Failure)
        assert found.kind == "symlink"
    (inside,) = kit.storage.read_many(["tags/v1/current/file"], 10)
    assert isinstance(inside, Failure)
    assert inside.kind in ("symlink", "not-a-file")
    (survey,) = kit.storage.survey([("", None)])
    assert survey.names == ["real", "tags"]
    assert survey.others == [("file", "symlink")]


def test_a_folder_is_followed_where_the_path_asks_for_it(kit: Kit) -> None:
    kit.put("real/x/link", b"data")
    kit.link("here/alias", "../real")
    kit.link("here/nowhere", "../gone")
    plain, followed, nowhere = kit.storage.survey(
        [("here/alias", "link"), ("here/alias/.", "link"), ("here/nowhere/.", None)]
    )
    assert plain.problem == "not a folder, or a symbolic link"
    assert (followed.path, followed.names, followed.sizes) == ("here/alias/.", ["x"], [4])
    assert nowhere.problem == "missing"
    kit.link("one", "real/x")
    assert list(kit.storage.read_many(["one/./link"], 10)) == [("one/./link", b"data")]
    refused = next(iter(kit.storage.read_many(["one/link"], 10)))
    assert isinstance(refused, Failure)


def test_a_scan_is_sorted_by_path_and_reports_links(kit: Kit) -> None:
    for path in ("b/z", "b-a", "b/a/c", "a", "c"):
        kit.put(path, path.encode())
    kit.link("b/link", "../a")
    found = list(kit.storage.scan(""))
    assert [one.path for one in found] == ["a", "b-a", "b/a/c", "b/link", "b/z", "c"]
    assert [type(one) for one in found].count(Failure) == 1
    assert [one.path for one in kit.storage.scan("b/")] == ["b/a/c", "b/link", "b/z"]
    (missing,) = kit.storage.scan("none")
    assert isinstance(missing, Failure)
    assert missing.kind == "missing"


def test_listing_a_directory(kit: Kit) -> None:
    kit.put("d/file", b"")
    kit.put("d/sub/file", b"")
    kit.folder("d/empty")
    assert kit.storage.list_directory("d") == (["empty", "sub"], ["file"])
    with pytest.raises(FileNotFoundError):
        kit.storage.list_directory("none")


def test_a_survey_lists_folders_and_stats_their_leaves(kit: Kit) -> None:
    kit.put("r/one/link", b"123")
    kit.folder("r/two")
    kit.folder("r/three/link")
    kit.link("r/four/link", "../one/link")
    kit.put("r/stray", b"")
    (survey,) = kit.storage.survey([("r", "link")])
    stats = dict(zip(survey.names, survey.sizes, strict=True))
    assert stats == {"four": -2, "one": 3, "three": -3, "two": -1}
    assert survey.mtimes_ns[survey.names.index("one")] == AT
    assert survey.others == [("stray", "file")]
    assert survey.problem == ""


def test_a_survey_of_what_is_no_folder_says_so(kit: Kit) -> None:
    kit.put("file", b"")
    kit.put("real/x/link", b"")
    kit.link("link", "real")
    missing, file, link = kit.storage.survey([("none", None), ("file", None), ("link", "link")])
    assert missing.problem == "missing"
    assert file.problem not in ("", "missing")
    assert link.problem not in ("", "missing")
    assert link.names == []


def test_a_large_survey_keeps_its_order_and_takes_requests_lazily(kit: Kit) -> None:
    for number in range(90):
        for name in range(number % 5):
            kit.put(f"d{number:02d}/n{name}/current/link", b"x" * name)
    asked: list[int] = []

    def requests() -> list[tuple[str, str | None]]:
        return [(f"d{number:02d}", "current/link") for number in range(90)]

    def lazily() -> Iterator[tuple[str, str | None]]:
        for number, request in enumerate(requests()):
            asked.append(number)
            yield request

    answers = kit.storage.survey(lazily())
    first = next(iter(answers))
    assert first.path == "d00"
    assert len(asked) < 90
    found = [first, *answers]
    assert [one.path for one in found] == [path for path, _ in requests()]
    for number, one in enumerate(found):
        assert one.names == [f"n{name}" for name in range(number % 5)]
        assert one.sizes == list(range(number % 5))


def test_hashes_come_in_order(kit: Kit) -> None:
    data = {f"f{number}": bytes([number]) * number * 1000 for number in range(20)}
    for path, content in data.items():
        kit.put(path, content)
    found = list(kit.storage.hash_many([*((path, "sha256") for path in data), ("none", "sha512")]))
    assert found[:-1] == [hashlib.sha256(content).hexdigest() for content in data.values()]
    assert isinstance(found[-1], Failure)


def test_a_lost_root_is_unreachable_and_not_empty(kit: Kit) -> None:
    assert kit.storage.exists()
    kit.lose_root()
    assert not kit.storage.exists()
    for look in (
        lambda: list(kit.storage.scan("")),
        lambda: list(kit.storage.read_many(["a"], 1)),
        lambda: list(kit.storage.stat_many(["a"])),
        lambda: list(kit.storage.survey([("a", None)])),
        kit.storage.space,
    ):
        with pytest.raises(UnreachableError):
            look()


def test_there_is_some_space(kit: Kit) -> None:
    space = kit.storage.space()
    assert 0 < space.free_bytes <= space.total_bytes
