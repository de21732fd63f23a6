"""Foreign text is harmless, tables are aligned, whatever is in them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.report.model import Table
from ctl.report.text import escape, paragraph, plain_table, quantity, width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße 日本", "Grüße 日本"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\r", "a\\x0ab\\x09c\\x0d"),
        ("\u202eevil", "\\u202eevil"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\udc80", "\\udc80"),
        ("\u2028", "\\u2028"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_steers_a_terminal_is_spelt_out(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(st.text(st.characters()))
def test_nothing_escapes_escaping(text: str) -> None:
    shown = escape(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    shown.encode()  # lone surrogates are gone
    assert escape(shown) == shown


def test_a_paragraph_keeps_its_lines() -> None:
    assert paragraph("one\n\ttwo\x07") == "one\n\ttwo\\x07"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_columns_line_up(rows: list[tuple[str, str]]) -> None:
    table = Table(("name", "size"), tuple(rows), right=frozenset({"size"}))
    lines = plain_table(table)
    assert len(lines) == len(rows) + 1
    start = max([width("name"), *(width(escape(name)) for name, _ in rows)]) + 2
    end = start + max([width("size"), *(width(escape(size)) for _, size in rows)])
    for line, (_, size) in zip(lines, [("name", "size"), *rows], strict=True):
        if escape(size).strip():
            assert width(line) <= end
            assert line.endswith(escape(size).rstrip())


def test_a_table_looks_like_this() -> None:
    table = Table(("tag", "bytes"), (("v1", "12"), ("日本", "3")), "tags", frozenset({"bytes"}))
    assert plain_table(table) == ["tags", "tag   bytes", "v1       12", "日本      3"]


@pytest.mark.parametrize(
    ("count", "unit", "text"),
    [(1200, "tags", "1,200 tags"), (1536, "bytes", "1.5 KiB"), (0, "blobs", "0 blobs"), (7, "", "7")],
)
def test_quantities(count: float, unit: str, text: str) -> None:
    assert quantity(count, unit) == text
