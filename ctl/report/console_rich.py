"""Tables for a terminal, drawn by rich."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text as RichText

from ctl.report.model import Block, Table
from ctl.report.reporter import Stream
from ctl.report.style import colored
from ctl.report.text import escape, paragraph


def rendered(blocks: Sequence[Block], out: Stream, color: bool) -> str:
    """Return blocks as the text to write; it may hold colour codes, of our own making only."""
    buffer = io.StringIO()
    with_color = colored(out, color)
    console = Console(
        file=buffer,
        force_terminal=with_color,
        color_system="standard" if with_color else None,
        no_color=not with_color,
        width=_columns(out),
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    previous: Block | None = None
    for block in blocks:
        if previous is not None and (isinstance(block, Table) or isinstance(previous, Table)):
            console.print()
        if isinstance(block, Table):
            console.print(_table(block))
        else:
            console.print(RichText(paragraph(block.text)), soft_wrap=True)
        previous = block
    return buffer.getvalue()


def _columns(out: Stream) -> int | None:
    """Return the terminal's width; a pipe that was forced to colours gets room enough to cut nothing."""
    return None if out.terminal else 200


def _table(table: Table) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    if table.title:
        drawn.title = RichText(escape(table.title))
        drawn.title_justify = "left"
        drawn.title_style = "bold"
    for column in table.columns:
        drawn.add_column(
            RichText(escape(column)),
            justify="right" if column in table.right else "left",
            overflow="fold",
        )
    for row in table.rows:
        drawn.add_row(*(RichText(escape(cell)) for cell in row))
    return drawn
