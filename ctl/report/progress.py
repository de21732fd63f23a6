"""Progress on stderr: a bar that redraws itself on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import shutil
import time

from ctl.report.events import Progress
from ctl.report.reporter import Streams
from ctl.report.text import escape, quantity, width
from ctl.report.units import duration_text

REDRAW_SECONDS = 0.1
LINE_SECONDS = 5.0


def figures(event: Progress) -> str:
    """Return how far a job is: "1,200 of 40,000 tags, 3,100 tags/s, 12s left"."""
    done = quantity(event.done, event.unit)
    if event.total:
        done = f"{quantity(event.done, event.unit)} of {quantity(event.total, event.unit)}"
        if event.unit not in ("bytes", "B"):
            done = f"{event.done:,} of {event.total:,} {escape(event.unit)}".rstrip()
    parts = [done]
    if event.rate > 0:
        parts.append(f"{quantity(event.rate, event.unit)}/s")
    if event.eta_seconds is not None and not event.finished:
        parts.append(f"{duration_text(event.eta_seconds)} left")
    if event.detail and not event.finished:
        parts.append(f"now {escape(event.detail)}")
    return ", ".join(parts)


class ProgressLines:
    """A line every few seconds, and one at the end: for logs and pipes."""

    def __init__(self, streams: Streams) -> None:
        self._err = streams.err
        self._last: dict[str, float] = {}

    def update(self, event: Progress) -> None:
        """Print a line if the last one is old enough, or this is the end."""
        now = time.monotonic()
        # The first line comes after the first pause as well: what is over in a moment needs no progress.
        since = self._last.setdefault(event.task, now)
        if event.finished or now - since >= LINE_SECONDS:
            self._last[event.task] = now
            self._err.line(f"{escape(event.task)}: {figures(event)}")

    def pause(self) -> None:
        """Nothing to take away."""

    def close(self) -> None:
        """Nothing to take away."""


class ProgressBar:
    """One line at the bottom of a terminal, redrawn ten times a second at most."""

    def __init__(self, streams: Streams) -> None:
        self._err = streams.err
        self._drawn = False
        self._next = 0.0

    def update(self, event: Progress) -> None:
        """Redraw; the end stays on the screen as an ordinary line."""
        now = time.monotonic()
        if event.finished:
            self.pause()
            self._err.line(f"{escape(event.task)}: {figures(event)}")
        elif now >= self._next:
            self._next = now + REDRAW_SECONDS
            columns = shutil.get_terminal_size().columns
            self._err.write(f"\r\x1b[K{bar_line(event, columns - 1)}")
            self._drawn = True

    def pause(self) -> None:
        """Take the bar away, so that a line can be printed."""
        if self._drawn:
            self._err.write("\r\x1b[K")
            self._drawn = False
            self._next = 0.0  # what is taken away for a line comes back after it

    def close(self) -> None:
        """Take the bar away."""
        self.pause()


def bar_line(event: Progress, columns: int) -> str:
    """Return a line with as much of a bar as fits; figures come first where room is short."""
    text = f"{escape(event.task)}: {figures(event)}"
    room = columns - width(text) - 3
    if not event.total or room < 10:
        return text[: max(0, columns)]
    cells = min(room, 30)
    filled = min(cells, cells * event.done // event.total)
    return f"{text} [{'#' * filled}{'.' * (cells - filled)}]"
