"""A tree on another host: the same answers as here in every way of reading it, and never half of one."""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ctl.catalog.corruption import all_cases
from ctl.catalog.seeding import SeedPlan, seed_tree
from ctl.errors import CommandFailedError, RefusedError, RegctlError, UnreachableError
from ctl.hosts.posix import PosixHost
from ctl.hosts.programs import SEARCH_PATH
from ctl.storage import far_source, far_talk
from ctl.storage.base import Storage
from ctl.storage.far import FarStorage
from ctl.storage.far_acting import demand_here, open_aside
from ctl.storage.far_script import ShellTalk
from ctl.storage.far_talk import PythonTalk, Stream
from ctl.storage.filesystem import FilesystemStorage
from tests.support.programs import find
from tests.support.shells import HereShell, busybox_only, without_python

HOSTILE = (
    "a b",
    "-rf",
    "new\nline",
    "//",
    "*?[x]",
    "'\"\\$(id)`",
    "\udcff\udc81\udc88",
    "é\u2028",
    "x" * 255,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with many sorts of damage, names that hurt, and what is no file."""
    folder = tmp_path_factory.mktemp("far")
    seed_tree(str(folder), SeedPlan(repositories=3, tags_per_repository=3), [*all_cases()][::4])
    for name in HOSTILE:
        if "/" not in name:
            place = folder / "hostile" / name / "current"
            place.mkdir(parents=True)
            (place / "link").write_bytes(name.encode("utf-8", "surrogateescape"))
    (folder / "hostile/to-folder").symlink_to("a b")
    (folder / "hostile/file").write_text("f")
    (folder / "hostile/nowhere").symlink_to("gone")
    os.link(folder / "hostile/a b/current/link", folder / "hostile/a b/current/second")
    (folder / "hostile/behind").mkdir()
    (folder / "hostile/behind/current").symlink_to("../a b/current")
    return folder


def shells(folder: Path) -> dict[str, tuple[HereShell, str]]:
    box = HereShell("far").with_shell(f"{find('busybox')} ash")
    return {
        "python": (HereShell("far"), SEARCH_PATH),
        "shell": (HereShell("far"), without_python(folder)),
        "busybox": (box, busybox_only(folder)),
    }


_OPENED: list[FarStorage] = []


def storage_at(root: Path, way: tuple[HereShell, str], open_stream: Any = None) -> FarStorage:
    shell, path = way
    host = PosixHost("far", shell, "/nowhere", search_path=path)
    _OPENED.append(FarStorage(str(root), "far", open_stream or host.open_stream))
    return _OPENED[-1]


@pytest.fixture(autouse=True)
def close_all() -> Iterator[None]:
    yield
    while _OPENED:
        _OPENED.pop().close()


@pytest.fixture(params=["python", "shell", "busybox"])
def far(request: pytest.FixtureRequest, root: Path, tmp_path: Path) -> FarStorage:
    made = storage_at(root, shells(tmp_path)[request.param])
    talk = made.take()
    assert isinstance(talk, PythonTalk if request.param == "python" else ShellTalk)
    made.give_back(talk)
    return made


def everything(storage: Storage, root: Path) -> dict[str, Any]:
    """All that a storage says of a tree, asked in every way."""
    folders, files = [""], []
    for place, below, names in os.walk(root):
        relative = os.path.relpath(place, root)
        start = "" if relative == "." else f"{relative}/"
        folders += [start + name for name in below]
        files += [start + name for name in (*names, *below)]
    folders.sort(key=lambda path: (path.count("/"), path))  # as a tree is walked: those of a level together
    files.sort()
    strange = [
        "none",
        "none/at/all",
        "hostile/file",
        "hostile/file/x",
        "hostile/to-folder",
        "hostile/nowhere",
    ]
    asked = [(path, leaf) for leaf in (None, "link", "data", "current/link") for path in (*folders, *strange)]
    asked += [(f"{path}/.", "current/link") for path in ("hostile", "hostile/to-folder", "hostile/nowhere")]
    paths = [*files, *strange, "hostile/to-folder/current/link", "hostile/to-folder/./current/link"]
    # a named pipe opens at once and is empty, or is no file: both are right, and no registry makes one
    read = [path for path in paths if not (root / path).is_fifo()]
    return {
        "survey": list(storage.survey(asked)),
        "stat": list(storage.stat_many(paths)),
        "read": list(storage.read_many(read, 700)),
        "hash": list(storage.hash_many((path, "sha256") for path in read[::12])),
        "sha512": list(storage.hash_many((path, "sha512") for path in read[::50])),
        "scan": [
            list(storage.scan(prefix)) for prefix in ("", "hostile", "hostile/", "none", "hostile/file")
        ],
        "list": storage.list_directory("hostile"),
        "exists": storage.exists(),
        "total": storage.space().total_bytes,
    }


def test_every_way_of_reading_a_damaged_tree_says_the_same(far: FarStorage, root: Path) -> None:
    here = everything(FilesystemStorage(str(root), 0), root)
    there = everything(far, root)
    for verb, expected in here.items():
        assert there[verb] == expected, verb
    assert {one.problem for one in here["survey"]} >= {"", "missing", "not a folder, or a symbolic link"}


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A tree in which not everybody may read everything; pytest's own folders are closed, so not there."""
    folder = Path(tempfile.mkdtemp(prefix="regctl-closed-"))
    folder.chmod(0o755)
    for name in ("open", "no-list", "no-enter", "shut"):
        (folder / f"r/{name}/current").mkdir(parents=True)
        (folder / f"r/{name}/current/link").write_text(name)
    (folder / "r/no-list").chmod(0o311)
    (folder / "r/no-enter/current").chmod(0o644)
    (folder / "r/shut").chmod(0o700)
    (folder / "r/open/current/secret").write_text("x")
    (folder / "r/open/current/secret").chmod(0o600)
    yield folder
    shutil.rmtree(folder)


def test_what_may_not_be_read_is_told_alike_with_python_and_without(closed: Path, tmp_path: Path) -> None:
    as_nobody = HereShell(
        "far", changes=(("env -i", "setpriv --reuid=65534 --regid=65534 --clear-groups env -i"),)
    )
    tools = Path(tempfile.mkdtemp(prefix="regctl-tools-", dir="/tmp"))
    tools.chmod(0o755)
    found = {}
    try:
        for name, path in (("python", SEARCH_PATH), ("shell", without_python(tools))):
            storage = storage_at(closed, (as_nobody, path))
            surveys = [("r", "current/link"), ("r/shut", None), ("r/no-list", "link"), ("r/open", "secret")]
            paths = [
                f"r/{n}/current/{leaf}" for n in ("open", "shut", "no-enter") for leaf in ("link", "secret")
            ]
            found[name] = [
                *storage.survey(surveys),
                *storage.stat_many(paths),
                *storage.read_many(paths, 100),
                *storage.hash_many((path, "sha256") for path in paths),
                *(one for name in ("open", "shut", "no-list") for one in storage.scan(f"r/{name}")),
            ]
    finally:
        shutil.rmtree(tools)
    assert found["python"] == found["shell"]
    assert "Permission denied" in repr(found["python"])


# -- broken connections -----------------------------------------------------------------------------


class Cut:
    """Streams that end after so many bytes came, as a cut line does."""

    def __init__(self, root: Path, way: tuple[HereShell, str], budgets: Iterator[int]) -> None:
        shell, path = way
        self._open = PosixHost("far", shell, "/nowhere", search_path=path).open_stream
        self._budgets = budgets
        self.opened = 0

    def __call__(self, script: str) -> Stream:
        self.opened += 1
        return CutStream(self._open(script), next(self._budgets))


class CutStream:
    def __init__(self, stream: Any, budget: int) -> None:
        self._stream, self._left = stream, budget
        self.said = stream.said
        self.send, self.errors, self.close = stream.send, stream.errors, stream.close

    def receive(self) -> bytes:
        found = bytes(self._stream.receive()[: self._left]) if self._left else b""
        self._left -= len(found)
        return found


def asked(storage: FarStorage) -> list[Any]:
    found = [*storage.survey([("hostile", "current/link"), ("hostile/a b", None)])]
    return [*found, *storage.read_many([f"hostile/{n}/current/link" for n in ("a b", "-rf", "none")], 100)]


def never_short(root: Path, way: tuple[HereShell, str], whole: list[Any]) -> int:
    """Cut streams anywhere: all is answered, or there is an error. Return how often there was."""
    chance, errors = random.Random(7), 0
    for _ in range(40):
        budgets = (chance.choice((chance.randrange(1, 200), chance.randrange(1, 6000))) for _ in range(99))
        storage = storage_at(root, way, Cut(root, way, budgets))
        try:
            assert asked(storage) == whole
        except UnreachableError:
            errors += 1
    return errors


@pytest.mark.parametrize("name", ["python", "shell"])
def test_a_cut_connection_is_never_a_short_answer(name: str, root: Path, tmp_path: Path) -> None:
    whole = asked(storage_at(root, (HereShell("far"), SEARCH_PATH)))
    assert never_short(root, shells(tmp_path)[name], whole) > 5


def test_a_reader_that_takes_the_end_for_an_answer_fails_that_test(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = asked(storage_at(root, (HereShell("far"), SEARCH_PATH)))

    def credulous(self: far_talk.Incoming, mark: bytes, limit: int = 0) -> bytes:
        while mark not in self._kept and (chunk := self._stream.receive()):
            self._kept += chunk
        found, _, rest = bytes(self._kept).partition(mark)
        self._kept[:] = rest
        return found

    monkeypatch.setattr(far_talk.Incoming, "until", credulous)
    with pytest.raises((AssertionError, ValueError, IndexError)):
        never_short(root, shells(tmp_path)["shell"], whole)


def test_what_broke_before_anything_was_delivered_is_asked_anew(root: Path, tmp_path: Path) -> None:
    way = (HereShell("far"), SEARCH_PATH)
    whole = asked(storage_at(root, way))
    cut = Cut(root, way, iter([100, 10**9, 10**9]))
    storage = storage_at(root, way, cut)
    assert asked(storage) == whole
    assert cut.opened == 2


def test_what_broke_later_is_an_error_and_the_next_reader_begins_anew(root: Path) -> None:
    way = (HereShell("far"), SEARCH_PATH)
    cut = Cut(root, way, iter([1000, 10**9]))
    storage = storage_at(root, way, cut)
    paths = [f"hostile/{name}/current/link" for name in ("a b", "-rf")] * 2000
    answers = storage.read_many(paths, 100)
    next(answers)
    with pytest.raises(UnreachableError, match="ended in the middle"):
        list(answers)
    assert len(list(storage.read_many(paths, 100))) == 4000


def test_bytes_that_are_no_answer_are_an_error_with_a_hint(root: Path) -> None:
    class Noise(CutStream):
        def receive(self) -> bytes:
            return b"\0\0\0\4\0\0\0\0\0\0\0\4nope" if super().receive() else b""

    open_stream: Callable[[str], Any] = PosixHost("far", HereShell("far"), "/nowhere").open_stream
    way = (HereShell("far"), SEARCH_PATH)
    storage = storage_at(root, way, lambda script: Noise(open_stream(script), 10**9))
    with pytest.raises(CommandFailedError) as caught:
        storage.exists()
    assert "host check far" in caught.value.hint


def test_without_python_and_without_find_the_reason_is_told(root: Path, tmp_path: Path) -> None:
    tools = Path(without_python(tmp_path))
    (tools / "find").unlink()
    storage = storage_at(root, (HereShell("far"), str(tools)))
    with pytest.raises(RefusedError, match=r"neither python3 .* nor find"):
        storage.exists()


def test_several_readers_at_once_have_a_stream_each(far: FarStorage) -> None:
    outer = far.survey([("hostile", None)] * 300)
    seen = 0
    for _ in outer:
        seen += 1
        if seen % 100 == 0:
            assert [*far.read_many(["hostile/file"], 5)] == [("hostile/file", b"f")]
    assert seen == 300


def test_a_reader_given_up_leaves_no_answers_to_the_next(far: FarStorage) -> None:
    for _ in far.read_many([f"hostile/{name}/current/link" for name in ("a b", "-rf")] * 300, 100):
        break
    assert [*far.read_many(["hostile/file"], 5)] == [("hostile/file", b"f")]


# -- the program that goes there --------------------------------------------------------------------


def test_what_is_sent_is_understood_by_an_old_python() -> None:
    for name in far_source._READING:
        ast.parse(far_source.portable(name), feature_version=(3, 6))
    for _, text in far_source.acting():
        ast.parse(text, feature_version=(3, 7))
    sent = ast.parse(far_source.reading())
    assert not [node for node in ast.walk(sent) if isinstance(node, ast.AnnAssign)]
    assert "typing" not in far_source.reading()


def test_nothing_of_a_request_is_seen_among_the_processes(root: Path) -> None:
    storage = storage_at(root, (HereShell("far"), SEARCH_PATH))
    answers = storage.survey([("hostile/a b", None)] * 1000)
    next(answers)
    seen = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "python3 -I -S -c" in seen
    assert str(root) not in seen


# -- acting -----------------------------------------------------------------------------------------


def test_what_is_kept_aside_over_there_is_what_is_kept_aside_here(tmp_path: Path) -> None:
    blob = "docker/registry/v2/blobs/sha256/ab/" + "ab" * 32 + "/data"
    odd = "docker/registry/v2/repositories/odd\udcff\n/_layers/link"
    for place in ("here", "there"):
        for path in (blob, odd):
            (tmp_path / place / path).parent.mkdir(parents=True)
            (tmp_path / place / path).write_bytes(b"x")
    far = storage_at(tmp_path / "there", (HereShell("far"), SEARCH_PATH))
    told = []
    for storage, place in ((FilesystemStorage(str(tmp_path / "here")), "here"), (far, "there")):
        aside = open_aside(storage, "run-1")
        said: list[Any] = [aside.exists(), list(aside.problems()), aside.keep([blob, odd, "gone"])]
        (tmp_path / place / blob).unlink()
        (tmp_path / place / odd).unlink()
        said += [aside.exists(), sorted(aside.kept()), aside.missing(), aside.put_back([blob, odd])]
        said += [aside.missing(), (tmp_path / place / odd).read_bytes(), aside.keep([blob], only=True)]
        said += [open_aside(storage, "run-2").others(), aside.discard(), aside.exists()]
        told.append(said)
    assert told[0] == told[1]
    assert not (tmp_path / "there/.regctl-aside").exists()


def test_two_that_change_one_tree_wait_for_each_other(tmp_path: Path) -> None:
    import fcntl
    import threading

    far = storage_at(tmp_path, (HereShell("far"), SEARCH_PATH))
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    done = threading.Event()

    def look() -> None:
        open_aside(far, "run").exists()
        done.set()

    thread = threading.Thread(target=look)
    thread.start()
    assert not done.wait(0.5)
    os.close(handle)
    assert done.wait(5)
    thread.join()


def test_errors_of_what_acts_over_there_are_raised_here(tmp_path: Path) -> None:
    far = storage_at(tmp_path, (HereShell("far"), SEARCH_PATH))
    (tmp_path / ".regctl-aside").write_text("in the way")
    with pytest.raises(RegctlError, match="could not be kept aside"):
        open_aside(far, "run").keep(["a"])
    with pytest.raises(NotADirectoryError):
        open_aside(far, "other").put_back(["a"])


def test_without_python_nothing_acts_and_the_hint_says_what_to_do(tmp_path: Path) -> None:
    far = storage_at(tmp_path, (HereShell("far"), without_python(tmp_path)))
    with pytest.raises(RefusedError) as caught:
        open_aside(far, "run").keep([])
    assert "install python3" in caught.value.hint
    assert "install python3" in next(open_aside(far, "run").problems())


def test_what_works_on_this_disk_only_refuses_another_hosts_tree(tmp_path: Path) -> None:
    far = storage_at(tmp_path, (HereShell("far"), SEARCH_PATH))
    with pytest.raises(RefusedError, match="is on far"):
        demand_here(far, "writing a tree")
    assert demand_here(FilesystemStorage(str(tmp_path)), "writing a tree") == str(tmp_path)


def test_a_break_while_something_is_changed_says_that_doing_it_again_is_safe(tmp_path: Path) -> None:
    way = (HereShell("far"), SEARCH_PATH)
    (tmp_path / "a").write_text("x")
    budgets = iter([220, 10**9])  # the greeting, the modules and the object; then the line goes
    far = storage_at(tmp_path, way, Cut(tmp_path, way, budgets))

    def go_on() -> None:
        for number in range(50):
            open_aside(far, f"run-{number}").keep(["a"])

    with pytest.raises(UnreachableError) as caught:
        go_on()
    assert "again is safe" in caught.value.hint
    assert open_aside(far, "run-0").keep(["a"]).already == 1
