"""Processes that survey: they end with their reader, and their death is an error that may be retried."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.errors import TransientError
from ctl.storage.filesystem import FilesystemStorage
from ctl.storage.survey_pool import survey_in_processes


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
    answers = survey_in_processes(str(tree), ((f"d{n:03d}", None) for n in range(200)), 3)
    next(answers)
    assert len(_children() - before) == 3
    answers.close()  # type: ignore[attr-defined]
    assert _children() <= before


def test_a_killed_process_is_a_transient_error_and_leaves_none_behind(tree: Path) -> None:
    before = _children()
    answers = survey_in_processes(str(tree), ((f"d{n:03d}", "current/link") for n in range(200)), 2)
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
