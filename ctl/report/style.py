"""Whether a stream gets more than plain text. Nothing is ever said by colour alone."""

from __future__ import annotations

import os

from ctl.report.reporter import Stream


def fancy(stream: Stream, color: bool, wanted: bool = True) -> bool:
    """Say whether tables may be drawn for a terminal: FORCE_COLOR says yes to a pipe, TERM=dumb says no."""
    if not wanted or os.environ.get("TERM") == "dumb":
        return False
    return stream.terminal or (color and bool(os.environ.get("FORCE_COLOR")))


def colored(stream: Stream, color: bool) -> bool:
    """Say whether colours may be used: --no-color, NO_COLOR and TERM=dumb say no, in that order."""
    if not color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.terminal or bool(os.environ.get("FORCE_COLOR"))
