"""Text for people: foreign characters made harmless, tables aligned, figures readable."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ctl.report.model import Table
from ctl.report.units import size_text

# Cc control, Cf invisible and direction-changing, Cs undecodable bytes, Zl and Zp other line ends
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def escape(text: str, keep: str = "") -> str:
    """Return text with every character that could steer a terminal, or hide, spelt as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in _UNSAFE
        else _spelt(character)
        for character in text
    )


def paragraph(text: str) -> str:
    """Return text of several lines with everything but its line ends and tabs made harmless."""
    return escape(text, keep="\n\t")


def _spelt(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def width(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    combined = sum(unicodedata.combining(character) != 0 for character in text)
    return len(text) + wide - combined


def plain_table(table: Table) -> list[str]:
    """Return a table as aligned lines, never cut: for pipes, logs and narrow terminals."""
    rows = [table.columns, *table.rows]
    cells = [[escape(cell) for cell in row] for row in rows]
    widths = [max(width(row[index]) for row in cells) for index in range(len(table.columns))]
    right = [column in table.right for column in table.columns]
    lines = [escape(table.title)] if table.title else []
    lines += [_row(row, widths, right) for row in cells]
    return lines


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = []
    for cell, size, to_right in zip(cells, widths, right, strict=True):
        space = " " * (size - width(cell))
        parts.append(space + cell if to_right else cell + space)
    return "  ".join(parts).rstrip()


def quantity(count: float, unit: str) -> str:
    """Return a count with its unit; bytes in powers of 1024."""
    if unit in ("bytes", "B"):
        return size_text(round(count))
    return f"{count:,.0f} {unit}".rstrip()
