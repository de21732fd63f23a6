"""What people see: data on stdout, everything else on stderr, nothing by colour alone."""

from __future__ import annotations

import re

import pytest

from ctl.errors import Outcome
from ctl.report.console import ConsoleReporter
from ctl.report.events import (
    Event,
    Message,
    Output,
    Planned,
    Progress,
    Retrying,
    RowEnded,
    RowStarted,
    StepEnded,
    StepStarted,
)
from ctl.report.model import Report, Table, Text
from ctl.report.reporter import Ending
from tests.unit.report.conftest import MakeStreams, text_of

REPORT = Report(
    "toy",
    Outcome.CHANGED,
    {"n": 1},
    (Text("first"), Table(("name", "size"), (("a\x1b[2J", "10"), ("b", "9")), right=frozenset({"size"}))),
    hints=("look again",),
)
PLAIN = "first\n\nname      size\na\\x1b[2J    10\nb            9\n"


def test_a_report_goes_to_stdout_and_its_hints_to_stderr(make_streams: MakeStreams) -> None:
    streams = make_streams()
    ConsoleReporter(streams).report(REPORT)
    assert text_of(streams.out) == PLAIN
    assert text_of(streams.err) == "hint: look again\n"


def test_a_hint_that_stood_beside_its_problem_is_not_said_again(make_streams: MakeStreams) -> None:
    streams = make_streams()
    reporter = ConsoleReporter(streams)
    reporter.event(Message("it is full\nhint: look again", "error"))
    reporter.report(REPORT)
    assert text_of(streams.err) == "error: it is full\nhint: look again\n"


def test_a_terminal_gets_the_same_words_drawn(
    make_streams: MakeStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    streams = make_streams(terminal=True)
    ConsoleReporter(streams).report(REPORT)
    drawn = text_of(streams.out)
    assert "\x1b[1m" in drawn, "headings are bold"
    bare = re.sub(r"\x1b\[[0-9;]*m", "", drawn)
    assert "\x1b" not in bare, "nothing foreign steers the terminal"
    assert re.findall(r"[\w\\\[]+", bare) == re.findall(r"[\w\\\[]+", PLAIN)


@pytest.mark.parametrize(
    ("environment", "color"),
    [
        ({"NO_COLOR": "1"}, True),
        ({}, False),
        ({"TERM": "dumb"}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True),
    ],
)
def test_no_color_means_none(
    environment: dict[str, str], color: bool, make_streams: MakeStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = make_streams(terminal=True, color=color)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ConsoleReporter(streams).report(REPORT)
    assert "\x1b" not in text_of(streams.out)
    assert "name" in text_of(streams.out)


def test_force_color_draws_into_a_pipe(make_streams: MakeStreams, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = make_streams()
    monkeypatch.setenv("FORCE_COLOR", "1")
    ConsoleReporter(streams).report(REPORT)
    assert "\x1b[1m" in text_of(streams.out)


@pytest.mark.parametrize("columns", ["20", "40", "200"])
def test_a_narrow_terminal_folds_and_cuts_nothing(
    columns: str, make_streams: MakeStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    streams = make_streams(terminal=True, color=False)
    digest = "sha256:" + "0123456789abcdef" * 4
    ConsoleReporter(streams).report(Report("toy", Outcome.OK, {}, (Table(("digest",), ((digest,),)),)))
    assert digest in re.sub(r"\s", "", text_of(streams.out))


def ended(phase: str, host: str, result: str, seconds: float, reason: str = "") -> StepEnded:
    return StepEnded("r", "1", host, "collect", phase, result, seconds, reason)


Said = tuple[str, str, str]  # quietly, normally, with -v


def always(text: str) -> Said:
    return text, text, text


SAID: list[tuple[Event, Said]] = [
    (Message("hello"), ("", "hello\n", "hello\n")),
    (Message("careful", "warning"), always("warning: careful\n")),
    (Message("bad\x1b", "error"), always("error: bad\\x1b\n")),
    (
        Retrying("copy", 2, 1.5, "no route"),
        always("warning: copy: no route; again in 1.5s (attempt 2)\n"),
    ),
    (StepStarted("r", "1", "reg1", "collect", "apply"), ("", "", "[reg1] collect ...\n")),
    (
        ended("apply", "reg1", "changed", 2.25, "3 blobs"),
        ("", "[reg1] collect: changed (2.2s): 3 blobs\n", "[reg1] collect: changed (2.2s): 3 blobs\n"),
    ),
    (ended("leave", "", "ok", 0), ("", "leave collect: ok\n", "leave collect: ok\n")),
    (Output("reg1", "stdout", "x\x07"), ("", "", "reg1| x\\x07\n")),
    (Planned("restart", (Text("a\nb"),), True), always("- restart\n  a\n  b\n")),
    (Planned("restart", (), False), always("- restart (nothing to do)\n")),
]


@pytest.mark.parametrize(("event", "said"), SAID, ids=lambda case: type(case).__name__)
@pytest.mark.parametrize("manner", [0, 1, 2], ids=["quiet", "normal", "verbose"])
def test_events_are_said_on_stderr_only(
    event: Event, said: Said, manner: int, make_streams: MakeStreams
) -> None:
    streams = make_streams(quiet=manner == 0, verbose=int(manner == 2))
    ConsoleReporter(streams).event(event)
    assert text_of(streams.err) == said[manner]
    assert text_of(streams.out) == ""


def progress(done: int, *, finished: bool = False) -> Progress:
    return Progress("import", done, 1000, "tags", 250.0, (1000 - done) / 250, finished)


def test_progress_without_a_terminal_is_a_line_now_and_then(
    make_streams: MakeStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    streams = make_streams()
    reporter = ConsoleReporter(streams)
    for done in range(0, 1000, 10):
        clock[0] = done / 100
        reporter.event(progress(done))
    reporter.event(progress(1000, finished=True))
    assert text_of(streams.err) == (
        "import: 500 of 1,000 tags, 250 tags/s, 2.0 s left\nimport: 1,000 of 1,000 tags, 250 tags/s\n"
    )


def test_progress_on_a_terminal_is_one_line_redrawn(
    make_streams: MakeStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    streams = make_streams(terminal=True)
    reporter = ConsoleReporter(streams)
    for done in (0, 250, 500):
        clock[0] += 1
        reporter.event(progress(done))
    reporter.event(Message("by the way"))
    reporter.close()
    text = text_of(streams.err)
    drawn = text.split("\r\x1b[K")
    assert drawn[0] == ""
    assert drawn[1].startswith("import: 0 of 1,000 tags")
    assert re.search(r" \[#+\.+\]$", drawn[3].partition("by")[0].rstrip())
    assert all(len(line) < 80 for line in drawn[1:4])
    assert text.endswith("\r\x1b[Kby the way\n"), "the bar makes room for lines"


def test_quiet_has_no_progress(make_streams: MakeStreams) -> None:
    streams = make_streams(terminal=True, quiet=True)
    ConsoleReporter(streams).event(progress(10, finished=True))
    assert text_of(streams.err) == ""


def test_an_error_says_what_and_what_next(make_streams: MakeStreams) -> None:
    streams = make_streams()
    ending = Ending("toy", Outcome.FAILED, "it \x1bbroke", "mend it", ("at line 1",))
    ConsoleReporter(streams).failure(ending, reported=False)
    assert text_of(streams.err) == "regctl: it \\x1bbroke\n  at line 1\nhint: mend it\n"
    assert text_of(streams.out) == ""


ROWS: list[Event] = [
    RowStarted("r", "1.r1", "h1"),
    RowStarted("r", "1.r2", "h2"),
    Progress("hosts", 0, 2, "hosts"),
    StepStarted("r", "1.r1.1", "h1", "write a", "apply", "h1"),
    StepEnded("r", "1.r1.1", "h1", "write a", "apply", "changed", 0.2, "", "h1"),
    RowEnded("r", "1.r1", "h1", "changed", 0.25),
    Progress("hosts", 1, 2, "hosts"),
    StepStarted("r", "1.r2.1", "", "write b", "apply", "h2"),
    StepEnded("r", "1.r2.1", "", "write b", "apply", "failed", 1.0, "no room", "h2"),
    RowEnded("r", "1.r2", "h2", "failed", 1.1, "no room"),
    Progress("hosts", 2, 2, "hosts", finished=True),
]


def test_of_many_hosts_each_is_said_in_a_line_and_steps_only_where_they_failed(
    make_streams: MakeStreams,
) -> None:
    streams = make_streams()
    reporter = ConsoleReporter(streams)
    for event in ROWS:
        reporter.event(event)
    assert text_of(streams.err).splitlines() == [
        "[h1] changed (0.2s)",
        "[h2] write b: failed (1.0s): no room",
        "[h2] failed (1.1s): no room",
        "hosts: 2 of 2 hosts",
    ]
    loud = make_streams(verbose=1)
    reporter = ConsoleReporter(loud)
    for event in ROWS:
        reporter.event(event)
    assert "[h1] begins" in text_of(loud.err)
    assert "[h1] write a: changed (0.2s)" in text_of(loud.err)
    quiet = make_streams(quiet=True)
    reporter = ConsoleReporter(quiet)
    for event in ROWS:
        reporter.event(event)
    assert text_of(quiet.err) == ""


def test_a_terminal_shows_what_each_host_is_at(
    make_streams: MakeStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("ctl.report.progress.REDRAW_SECONDS", 0.0)
    streams = make_streams(terminal=True)
    reporter = ConsoleReporter(streams)
    for event in ROWS:
        reporter.event(event)
    drawn = text_of(streams.err)
    assert "hosts: 0 of 2 hosts, now h1; h2" in drawn
    assert "hosts: 0 of 2 hosts, now h1: write a; h2" in drawn
    assert "hosts: 1 of 2 hosts, now h2: write b" in drawn
    assert drawn.endswith("hosts: 2 of 2 hosts\n")
