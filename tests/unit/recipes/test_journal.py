"""The journal: what is flushed is read back, a torn end is forgotten, damage before it is named."""

from __future__ import annotations

import os
import resource
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.errors import RegctlError
from ctl.recipes.journal import FencedError, Journal, JournalError, decode, encode, parse, read
from tests.unit.recipes.children import forked, wait

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
payloads = st.dictionaries(st.text(max_size=8), json_values, max_size=4)


def written(tmp_path: Path, *kinds: str) -> Path:
    journal = Journal.create(str(tmp_path / "state" / "runs" / "one"))
    for number, kind in enumerate(kinds):
        journal.append(kind, {"number": number, "text": "ä\nb"})
    journal.close()
    return tmp_path / "state" / "runs" / "one" / "journal.jsonl"


@given(st.lists(st.tuples(st.text(max_size=5), payloads), max_size=6))
@settings(max_examples=60, deadline=None)
def test_what_is_encoded_is_read_back(given_records: list[tuple[str, dict[str, Any]]]) -> None:
    import hashlib

    data, previous = b"", ""
    for number, (kind, payload) in enumerate(given_records, 1):
        line = encode(number, "2026-01-01T00:00:00Z", kind, payload, previous)
        assert line.count(b"\n") == 1
        previous = hashlib.sha256(line[:-1]).hexdigest()
        data += line
    reading = parse(data, "x")
    assert [(r.kind, r.payload) for r in reading.records] == given_records
    assert (reading.end, reading.torn) == (len(data), False)


def test_files_are_private(tmp_path: Path) -> None:
    path = written(tmp_path, "start")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_a_journal_cut_at_any_byte_loses_only_its_last_line(tmp_path: Path) -> None:
    path = written(tmp_path, "start", "intent", "outcome", "end")
    whole = path.read_bytes()
    kinds = ["start", "intent", "outcome", "end"]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        assert [r.kind for r in read(str(path)).records] == kinds[:complete]
        assert path.read_bytes() == whole[:length], "a reader wrote"
        journal = Journal(str(path))
        records = journal.take_over("resume", {})
        journal.append("end", {})
        journal.close()
        assert [r.kind for r in records] == [*kinds[:complete], "resume"]
        assert [r.kind for r in read(str(path)).records] == [*kinds[:complete], "resume", "end"]


def test_a_tail_of_zeros_is_torn(tmp_path: Path) -> None:
    path = written(tmp_path, "start", "intent")
    good = path.read_bytes()
    path.write_bytes(good + b"\0" * 40 + b"\n")
    reading = read(str(path))
    assert (len(reading.records), reading.end, reading.torn) == (2, len(good), True)


def test_a_flipped_bit_before_the_end_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = written(tmp_path, "start", "intent", "outcome")
    whole = bytearray(path.read_bytes())
    ends = [index for index, byte in enumerate(whole) if byte == 10]
    tried = 0
    for index in range(ends[1] + 1):
        for bit in (0x01, 0x20):
            damaged = bytearray(whole)
            damaged[index] ^= bit
            path.write_bytes(damaged)
            line = 1 if index <= ends[0] else 2
            with pytest.raises(JournalError, match=rf"journal.jsonl:{line}: ") as error:
                read(str(path))
            assert "abandon" in error.value.hint
            tried += 1
    assert tried > 300


def test_a_whole_last_line_that_is_wrong_is_damage_and_not_a_torn_tail(tmp_path: Path) -> None:
    path = written(tmp_path, "start", "intent")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"kind":"intent"', b'"kind":"intemt"'))
    with pytest.raises(JournalError, match=r"journal.jsonl:2: .*checksum"):
        read(str(path))


def test_a_missing_line_in_the_middle_is_damage(tmp_path: Path) -> None:
    path = written(tmp_path, "start", "intent", "outcome")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(JournalError, match=r":2: .*number is 3"):
        read(str(path))


def test_a_line_of_another_journal_does_not_fit(tmp_path: Path) -> None:
    line = encode(2, "t", "intent", {}, "0" * 64).rstrip(b"\n")
    with pytest.raises(ValueError, match="does not follow"):
        decode(line, 2, "1" * 64)


def test_whoever_wrote_before_a_takeover_writes_no_more(tmp_path: Path) -> None:
    path = written(tmp_path, "start")
    old, new = Journal(str(path)), Journal(str(path))
    old.take_over("resume", {"who": "old"})
    old.append("intent", {})
    new.take_over("resume", {"who": "new"})
    before = path.read_bytes()
    with pytest.raises(FencedError):
        old.append("outcome", {})
    assert path.read_bytes() == before
    new.append("outcome", {})
    assert [r.kind for r in read(str(path)).records] == ["start", "resume", "intent", "resume", "outcome"]


def test_a_full_disk_leaves_whole_lines_only(tmp_path: Path) -> None:
    path = written(tmp_path, "start")

    def fill() -> None:
        journal = Journal(str(path))
        journal.take_over("resume", {})
        limit = os.stat(path).st_size + 100
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(RegctlError, match="cannot be written"):
            journal.append("intent", {"long": "x" * 500})
        assert [r.kind for r in read(str(path)).records] == ["start", "resume"]

    assert wait(forked(fill)) == 0
    assert not read(str(path)).torn


def test_a_payload_that_is_not_json_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    journal = Journal.create(str(tmp_path / "runs" / "one"))
    for bad in ({"x": object()}, {"x": float("nan")}):
        with pytest.raises((TypeError, ValueError)):
            journal.append("intent", bad)
    assert os.stat(journal.path).st_size == 0
    journal.close()


def test_threads_share_flushes_and_each_line_is_on_the_disk_when_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.create(str(tmp_path / "runs" / "one"))
    flushed, flushes, mutex = [0], [0], threading.Lock()
    real = os.fsync

    def slow(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        time.sleep(0.01)
        real(descriptor)
        flushes[0] += 1
        flushed[0] = max(flushed[0], size)

    monkeypatch.setattr("ctl.recipes.journal.os.fsync", slow)
    told: list[bool] = []

    def work(number: int) -> None:
        for turn in range(5):
            with mutex:
                _, end = journal.put("note", {"number": number, "turn": turn})
            journal.flush(end)
            told.append(flushed[0] >= end)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [True] * 40
    assert flushes[0] < 30, "threads that wait share a flush"
    records = read(journal.path).records
    assert sorted((r.payload["number"], r.payload["turn"]) for r in records) == [
        (number, turn) for number in range(8) for turn in range(5)
    ]
    journal.close()


def test_after_a_flush_that_failed_nothing_is_believed_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.create(str(tmp_path / "runs" / "one"))
    journal.append("start", {})

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("ctl.recipes.journal.os.fsync", broken)
        with pytest.raises(RegctlError, match="Input/output error"):
            journal.append("intent", {})
    with pytest.raises(RegctlError, match="Input/output error"):
        journal.append("outcome", {})
    journal.close()
