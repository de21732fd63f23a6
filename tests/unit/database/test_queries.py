"""Named queries in .sql files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ctl.database.queries import load_queries, parse_queries
from ctl.errors import RegctlError


def test_blocks_have_names() -> None:
    text = "-- a file\n\n-- name: first\nSELECT 1;\n-- why\nSELECT 2\n\n--  name:second \nSELECT '%%', %s\n"
    assert parse_queries(text, "x.sql") == {
        "first": "SELECT 1;\n-- why\nSELECT 2",
        "second": "SELECT '%%', %s",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-- name: a\nSELECT 1\n-- name: a\nSELECT 2", "x.sql: query a stands there twice"),
        ("-- name: a\n\n-- name: b\nSELECT 1", "x.sql: query a is empty"),
    ],
)
def test_a_mistake_is_named(text: str, said: str) -> None:
    with pytest.raises(RegctlError) as caught:
        parse_queries(text, "x.sql")
    assert str(caught.value) == said


def test_a_package_folder_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_queries_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.sql").write_text("-- name: one\nSELECT 1")
    (package / "b.sql").write_text("-- name: two\nSELECT 'é'")
    (package / "notes.txt").write_text("-- name: three\nSELECT 3")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert load_queries(package.name) == {"one": "SELECT 1", "two": "SELECT 'é'"}
        (package / "c.sql").write_text("-- name: one\nSELECT 1")
        with pytest.raises(RegctlError, match="one stands in two files"):
            load_queries(package.name)
    finally:
        sys.modules.pop(package.name, None)
