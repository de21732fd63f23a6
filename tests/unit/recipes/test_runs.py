"""Run ids, which runs are open, and how long closed ones are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.errors import UsageError
from ctl.recipes import runs
from ctl.recipes.identity import myself
from ctl.recipes.journal import Journal


def make(state_dir: Path, run_id: str, *, closed: bool = True, filler: str = "") -> None:
    journal = Journal.create(runs.folder(str(state_dir), run_id))
    recipe = {"name": "toy", "title": "", "resources": ["toy/one"], "items": []}
    holder = myself().as_json()
    journal.append("start", {"run": run_id, "recipe": recipe, "holder": holder, "epoch": 1})
    if closed:
        journal.append("end", {"state": "done", "reason": filler, "outcome": "ok"})
    journal.close()


@given(st.text(max_size=30))
@settings(max_examples=50, deadline=None)
def test_ids_are_readable_and_safe_as_file_names(recipe: str) -> None:
    assert re.fullmatch(r"[0-9]{8}T[0-9]{6}Z-[a-z0-9-]+-[0-9a-f]{4}", runs.new_id(recipe))


def test_ids_sort_by_time(tmp_path: Path) -> None:
    for run_id in ("20260102T000000Z-gc-0000", "20260101T000000Z-import-ffff"):
        make(tmp_path, run_id)
    assert runs.ids(str(tmp_path)) == ["20260101T000000Z-import-ffff", "20260102T000000Z-gc-0000"]


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    for run_id in ("20260101T000000Z-gc-0000", "20260101T000000Z-gc-0001", "20260203T000000Z-gc-0000"):
        make(tmp_path, run_id)
    assert runs.find(str(tmp_path), "202602") == "20260203T000000Z-gc-0000"
    with pytest.raises(UsageError, match="2 runs have") as error:
        runs.find(str(tmp_path), "202601")
    assert len(error.value.details) == 2
    with pytest.raises(UsageError, match="no run has"):
        runs.find(str(tmp_path), "1999")


def test_the_last_200_and_90_days_are_kept_and_open_runs_always(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)

    def run_id(days: float, number: int) -> str:
        return f"{(now - timedelta(days=days)).strftime('%Y%m%dT%H%M%SZ')}-toy-{number:04x}"

    make(tmp_path, run_id(300, 1), closed=False)
    make(tmp_path, run_id(91, 2))
    for number in range(205):
        make(tmp_path, run_id(80 - number / 10, 0x100 + number))
    gone = runs.prune(str(tmp_path))
    assert gone == [run_id(91, 2), *(run_id(80 - n / 10, 0x100 + n) for n in range(5))]
    kept = runs.ids(str(tmp_path))
    assert kept[0] == run_id(300, 1)
    assert len(kept) == 201
    assert runs.prune(str(tmp_path)) == []


def test_a_folder_without_a_journal_is_no_run_and_goes_some_day(tmp_path: Path) -> None:
    path = Path(runs.folder(str(tmp_path), "20260101T000000Z-gc-0000"))
    path.mkdir(parents=True)
    assert runs.ids(str(tmp_path)) == []
    runs.prune(str(tmp_path))
    assert path.exists()  # perhaps it is being born just now
    os.utime(path, (0, 0))
    runs.prune(str(tmp_path))
    assert not path.exists()


@pytest.mark.parametrize("filler", ["", "x" * 10_000, '"kind":"start"'])
def test_whether_a_run_is_closed_is_read_from_its_last_record(tmp_path: Path, filler: str) -> None:
    make(tmp_path, "20260101T000000Z-gc-0000", filler=filler)
    assert runs.open_runs(str(tmp_path)) == []
    make(tmp_path, "20260101T000000Z-gc-0001", closed=False)
    assert [state.id for state in runs.open_runs(str(tmp_path))] == ["20260101T000000Z-gc-0001"]
    assert [state.id for state in runs.open_runs(str(tmp_path), ("toy/one", "x"))]
    assert runs.open_runs(str(tmp_path), ("toy/two",)) == []


def test_a_run_that_was_killed_before_its_first_record_is_not_open(tmp_path: Path) -> None:
    for content in (b"", b'{"seq":1,"ti'):
        Journal.create(runs.folder(str(tmp_path), "20260101T000000Z-gc-0000")).close()
        path = Path(runs.journal_path(str(tmp_path), "20260101T000000Z-gc-0000"))
        path.write_bytes(content)
        assert runs.open_runs(str(tmp_path)) == []
        path.unlink()


def test_a_state_dir_that_may_not_be_used_is_explained(tmp_path: Path) -> None:
    from tests.unit.recipes.children import forked, wait

    make(tmp_path, "20260101T000000Z-gc-0000")
    tmp_path.chmod(0o755)

    def somebody_else() -> None:
        if os.getuid() == 0:
            os.setuid(65534)
        else:
            (tmp_path / "runs").chmod(0)
        from ctl.errors import RegctlError
        from ctl.recipes.lock import Locks, new_info

        with pytest.raises(RegctlError, match=r"runs: Permission denied") as error:
            runs.open_runs(str(tmp_path))
        assert "usually root" in error.value.hint
        with pytest.raises(RegctlError, match="Permission denied"):
            Locks(os.path.join(tmp_path, "runs", "x")).acquire(["toy/one"], new_info("toy", ""))

    assert wait(forked(somebody_else)) == 0
    (tmp_path / "runs").chmod(0o700)
