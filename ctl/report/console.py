"""The format for people: tables on stdout, everything else on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ctl.report import events
from ctl.report.events import Event
from ctl.report.model import Block, Report, Table
from ctl.report.progress import ProgressBar, ProgressLines
from ctl.report.reporter import Ending, Stream, Streams
from ctl.report.style import fancy
from ctl.report.text import escape, paragraph, plain_table


class Talk:
    """What is said on stderr; every format but jsonl says it in the same words."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._err = streams.err
        bar = streams.err.terminal and fancy(streams.err, streams.color, wanted=streams.color)
        self._progress: ProgressBar | ProgressLines = ProgressBar(streams) if bar else ProgressLines(streams)
        self._at_work: dict[str, str] = {}  # by host: the step that its row is at
        self._hosts: events.Progress | None = None  # how many rows are over
        self._told: set[str] = set()  # lines that were said already

    def event(self, event: Event) -> None:
        """Say an event, if the operator wants to hear it."""
        if isinstance(event, events.Progress):
            if event.unit == "hosts":
                self._hosts = event
                event = replace(event, detail=self._now())
            self._show(event)
            return
        text = _sentence(event, self._streams)
        if text:
            self._progress.pause()
            self._err.line(text)
            self._told.update(text.splitlines())
        if self._keep(event) and self._hosts is not None and not self._hosts.finished:
            self._show(replace(self._hosts, detail=self._now()))

    def _show(self, event: events.Progress) -> None:
        if not self._streams.quiet:
            self._progress.update(event)

    def _keep(self, event: Event) -> bool:
        """Keep what each of several hosts is at; say whether that has changed."""
        if isinstance(event, events.RowEnded):
            self._at_work.pop(event.host, None)
        elif isinstance(event, events.RowStarted):
            self._at_work[event.host] = ""
        elif isinstance(event, events.StepStarted) and event.host_of_row in self._at_work:
            self._at_work[event.host_of_row] = event.title
        else:
            return False
        return True

    def _now(self) -> str:
        return "; ".join(f"{host}: {title}" if title else host for host, title in self._at_work.items())

    def failure(self, ending: Ending) -> None:
        """Say what happened, the details, and what to do next."""
        self.close()
        lines = [f"regctl: {paragraph(ending.message)}"]
        lines += [f"  {paragraph(detail)}" for detail in ending.details]
        if ending.hint:
            lines.append(f"hint: {paragraph(ending.hint)}")
        self._err.line("\n".join(lines))

    def hints(self, hints: Sequence[str]) -> None:
        """Say what the operator may want to do next; not again what stands beside its problem already."""
        self.close()
        if not self._streams.quiet:
            for line in dict.fromkeys(f"hint: {escape(hint)}" for hint in hints):
                if line not in self._told:
                    self._err.line(line)

    def close(self) -> None:
        """Take the progress bar off the terminal."""
        self._progress.close()


class ConsoleReporter:
    """`--output table`."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._talk = Talk(streams)

    def event(self, event: Event) -> None:
        """Say an event on stderr."""
        self._talk.event(event)

    def report(self, report: Report) -> None:
        """Print the report's blocks on stdout, its hints on stderr."""
        self._talk.close()
        print_blocks(report.blocks, self._streams.out, self._streams.color)
        self._talk.hints(report.hints)

    def nothing(self, command: str) -> None:
        """Print nothing."""
        self._talk.close()

    def failure(self, ending: Ending, *, reported: bool) -> None:
        """Say the error on stderr."""
        self._talk.failure(ending)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._talk.close()


def print_blocks(blocks: Sequence[Block], out: Stream, color: bool) -> None:
    """Print paragraphs and tables, a blank line around each table."""
    if fancy(out, color):
        from ctl.report.console_rich import rendered

        text = rendered(blocks, out, color)
        if text is not None:
            out.write(text)
            return
    previous: Block | None = None
    for block in blocks:
        if previous is not None and (isinstance(block, Table) or isinstance(previous, Table)):
            out.line()
        for line in block_lines(block):
            out.line(line)
        previous = block


def block_lines(block: Block) -> list[str]:
    """Return a block as plain lines."""
    if isinstance(block, Table):
        return plain_table(block)
    return paragraph(block.text).split("\n")


def _sentence(event: Event, streams: Streams) -> str:
    """Return an event as one line; "" where it is not to be said."""
    if isinstance(event, events.Message):
        if event.level == "info":
            return "" if streams.quiet else paragraph(event.text)
        return f"{escape(event.level)}: {paragraph(event.text)}"
    if isinstance(event, events.Retrying):
        when = f"again in {event.wait_seconds:.1f}s (attempt {event.attempt})"
        return f"warning: {escape(event.step)}: {escape(event.reason)}; {when}"
    if isinstance(event, events.Planned):
        return _planned(event)
    if streams.quiet:
        return ""
    return _step_sentence(event, streams.verbose)


def _planned(event: events.Planned) -> str:
    """Return what a step is about to do; never left out, because the question that follows is about it."""
    lines = [f"- {escape(event.title)}" + ("" if event.changes else " (nothing to do)")]
    lines += [f"  {line}".rstrip() for block in event.blocks for line in block_lines(block)]
    return "\n".join(lines)


def _step_sentence(event: Event, verbose: int) -> str:
    if isinstance(event, events.StepStarted):
        return f"{_where(event.phase, event.host)}{escape(event.title)} ..." if verbose else ""
    if isinstance(event, events.RowStarted):
        return f"[{escape(event.host)}] begins" if verbose else ""
    if isinstance(event, events.StepEnded | events.RowEnded):
        return _ended(event, verbose)
    if isinstance(event, events.Output):
        return f"{escape(event.host)}| {escape(event.line)}" if verbose else ""
    return ""


def _ended(event: events.StepEnded | events.RowEnded, verbose: int) -> str:
    took = f" ({event.seconds:.1f}s)" if event.seconds >= 0.05 else ""
    reason = f": {escape(event.reason)}" if event.reason else ""
    if isinstance(event, events.RowEnded):
        return f"[{escape(event.host)}] {escape(event.result)}{took}{reason}"
    # Of many hosts only what an operator must see is told step by step.
    if event.host_of_row and not verbose and event.result in ("ok", "changed", "not-applicable"):
        return ""
    where = _where(event.phase, event.host or event.host_of_row)
    return f"{where}{escape(event.title)}: {escape(event.result)}{took}{reason}"


def _where(phase: str, host: str) -> str:
    place = f"[{escape(host)}] " if host else ""
    return place + (f"{escape(phase)} " if phase and phase != "apply" else "")
