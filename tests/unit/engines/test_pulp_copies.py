"""Files that hold copies of a Pulp's rows: what is not as it was written is refused."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctl.resources import read_resource

ROWS = [{"pk": str(number), "fields": {"data": "é" * number}, "links": []} for number in range(40)]


@pytest.fixture
def copies(tmp_path: Path) -> SimpleNamespace:
    """The program's part that knows the files, run outside of Pulp."""
    said: list[dict[str, Any]] = []
    space: dict[str, Any] = {
        "REQUEST": {"folder": str(tmp_path / "kept")},
        "settings": SimpleNamespace(DEPLOY_ROOT="/nowhere", WORKING_DIRECTORY="/nowhere/tmp"),
        "json": json,
        "os": os,
        "say": lambda kind, **facts: said.append({"regctl": kind, **facts}),
        "said": said,
    }
    exec(compile(read_resource("templates", "pulp/copies.py"), "copies", "exec"), space)
    return SimpleNamespace(**space)


def written(copies: SimpleNamespace, name: str = "one", rows: Any = ROWS) -> Path:
    header, path = copies.whole_or_not_at_all(name, {"format": 1, "name": name}, iter(rows))
    assert header["rows"] == len(list(rows))
    return Path(path)


def test_a_copy_is_private_whole_and_alone(copies: SimpleNamespace) -> None:
    path = written(copies)
    header, *rows = list(copies.rows_of(str(path)))
    assert rows == ROWS
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [one.name for one in path.parent.iterdir()] == ["one.jsonl.gz"]
    assert copies.names() == ["one"]
    assert json.loads(gzip.decompress(path.read_bytes()).split(b"\n")[0]) == header


def test_nothing_stays_of_a_copy_that_could_not_be_finished(copies: SimpleNamespace) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield ROWS[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        copies.whole_or_not_at_all("one", {"format": 1}, broken())
    assert os.listdir(copies.folder()) == []


def test_what_an_attempt_that_was_killed_left_behind_goes(copies: SimpleNamespace) -> None:
    os.makedirs(copies.folder())
    for left in (".one.rows", ".one.new", ".other.new"):
        Path(copies.folder(), left).write_bytes(b"half")
    written(copies)
    assert sorted(os.listdir(copies.folder())) == [".other.new", "one.jsonl.gz"]


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_whatever_is_changed_in_it_is_found(
    copies: SimpleNamespace, where: float, bit: int, cut: bool
) -> None:
    """One flipped bit, or an end that is missing; bytes of gzip that mean nothing may change unseen."""
    path = written(copies)
    whole = path.read_bytes()
    place = int(where * len(whole))
    damaged = bytearray(whole)
    damaged[place] ^= 1 << bit
    path.write_bytes(whole[:place] if cut else bytes(damaged))
    try:
        header, *rows = list(copies.rows_of(str(path)))
    except copies.Refused:
        return
    assert not cut
    assert (header["rows"], rows) == (len(ROWS), ROWS)


def rewritten(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change lines, and pack them as well as before: only the checksums tell."""
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(change(lines))))


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [lines[0], *reversed(lines[1:])],
        lambda lines: [lines[0], lines[1].replace(b'"0"', b'"7"'), *lines[2:]],
        lambda lines: [lines[0].replace(b'"rows": 40', b'"rows": 41'), *lines[1:]],
        lambda lines: [lines[0].replace(b'"format": 1', b'"format": 2'), *lines[1:]],
        lambda lines: [b"{}\n", *lines[1:]],
        lambda lines: [b"7\n", *lines[1:]],
        lambda lines: [],
    ],
)
def test_well_packed_lies_are_found_by_the_checksums(
    copies: SimpleNamespace, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    path = written(copies)
    rewritten(path, change)
    with pytest.raises(copies.Refused, match="is damaged"):
        copies.checked(str(path))


def test_repacked_and_unchanged_it_is_whole(copies: SimpleNamespace) -> None:
    """The control of the test above: it is not the packing that is refused."""
    path = written(copies)
    rewritten(path, lambda lines: lines)
    assert copies.checked(str(path))["rows"] == 40


@pytest.mark.parametrize("name", ["", ".", "..", "../one", "a/b", ".hidden"])
def test_a_name_never_leads_out_of_the_folder(copies: SimpleNamespace, name: str) -> None:
    with pytest.raises(copies.Refused, match="is no name of a copy"):
        copies.path_of(name)


def test_a_refusal_is_an_answer(copies: SimpleNamespace) -> None:
    copies.REQUEST["action"] = "read"
    code = copies.answered({"read": lambda: copies.checked(copies.path_of("none"))})
    assert code == 3
    assert [(one["regctl"], "there is no copy" in one["message"]) for one in copies.said] == [
        ("refused", True)
    ]
