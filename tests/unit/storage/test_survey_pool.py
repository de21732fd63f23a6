"""Processes that survey: they end with their reader, and their death is an error that may be retried."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.errors import TransientError
from ctl.storage.filesystem import FilesystemStorage
from ctl.storage.survey_pool import Pool


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(200):
        (tmp_path / f"d{number:03d}" / "n" / "current").mkdir(parents=True)
    return tmp_path


def _children() -> set[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def test_processes_end_when_the_reader_stops_early(tree: Path) -> None:
    before = _children()
    answers = Pool(str(tree), 3).survey((f"d{n:03d}", None) for n in range(200))
    next(answers)
    # one for each processor, and more of the three only where the disk is slow to answer
    assert min(3, os.cpu_count() or 1) <= len(_children() - before) <= 3
    answers.close()  # type: ignore[attr-defined]
    assert _children() <= before


def test_a_killed_process_is_a_transient_error_and_leaves_none_behind(tree: Path) -> None:
    before = _children()
    answers = Pool(str(tree), 2).survey((f"d{n:03d}", "current/link") for n in range(200))
    next(answers)
    for pid in _children() - before:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(TransientError):
        list(answers)
    assert _children() <= before


def test_an_error_of_the_requests_comes_through(tree: Path) -> None:
    def requests() -> Iterator[tuple[str, str | None]]:
        for number in range(50):
            yield f"d{number:03d}", None
        raise LookupError("no more")

    before = _children()
    with pytest.raises(LookupError):
        list(FilesystemStorage(str(tree), 2).survey(requests()))
    assert _children() <= before


def test_names_that_are_no_text_survive_the_pipe(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    for number in range(40):
        (tmp_path / f"d{number:02d}" / odd).mkdir(parents=True)
    found = list(FilesystemStorage(str(tmp_path), 2).survey((f"d{n:02d}", "link") for n in range(40)))
    assert [one.names for one in found] == [[odd]] * 40


def test_processes_are_kept_for_the_next_stream_and_end_with_the_storage(tree: Path) -> None:
    for number in range(60):
        (tree / f"d{number:03d}" / "file").write_bytes(bytes([number]) * number)
    paths = [f"d{number:03d}/file" for number in range(60)] * 4
    before = _children()
    storage = FilesystemStorage(str(tree), 2)
    first = list(storage.read_many(paths, 100))
    kept = _children() - before
    assert len(kept) == 2
    assert list(storage.read_many(paths, 100)) == first
    assert _children() - before == kept
    assert first == [(path, bytes([n % 60]) * (n % 60)) for n, path in enumerate(paths)]
    few = list(storage.read_many(paths[:40], 100))
    assert few == first[:40]
    unfinished = storage.read_many(paths, 100)
    assert [next(iter(unfinished)) for _ in paths] == first  # never asked for the end
    del unfinished
    assert _children() - before == kept
    storage.close()
    assert _children() <= before


def test_reads_go_on_while_a_survey_does(tree: Path) -> None:
    (tree / "d000" / "file").write_bytes(b"x")
    storage = FilesystemStorage(str(tree), 2)
    seen = 0
    for survey in storage.survey((f"d{n:03d}", None) for n in range(200)):
        inner = list(storage.survey((f"d{n:03d}", None) for n in range(30)))
        contents = list(storage.read_many(["d000/file"] * 300, 5))
        assert len(inner) == 30
        assert contents == [("d000/file", b"x")] * 300
        seen += bool(survey.names)
        if seen == 5:
            break
    assert seen == 5
    storage.close()
