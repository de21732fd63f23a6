"""What a program that prepares content says, and how it ended."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.report.events import Event, Message, Progress
from ctl.steps.content_job import DriverEnd, Telling, judged
from ctl.steps.job_following import JobEnd


def line(kind: str, **facts: object) -> bytes:
    return json.dumps({"regctl": kind, **facts}).encode() + b"\n"


OUTPUT = b"".join(
    (
        b"pulp [None]: django: a warning of its own\n",
        line("begin", startup=2.5, pid=1),
        line("progress", done=0, left=100, failed=0, seconds=0.0, worked=0.0),
        line("progress", done=20, left=80, failed=0, seconds=2.0, worked=2.0),
        line("resting", why="the load is 5.1", done=20, left=80, failed=0, seconds=2.5, worked=2.0),
        line("resting", why="the load is 4.9", done=20, left=80, failed=0, seconds=4.5, worked=2.0),
        line("progress", done=59, left=40, failed=1, seconds=10.0, worked=6.0),
        line(
            "end", state="done", why="", done=99, undone=0, failed=1, remaining=1, seconds=15.0, worked=11.0
        ),
    )
)


@given(st.lists(st.integers(min_value=0, max_value=len(OUTPUT)), max_size=12))
def test_it_is_heard_the_same_wherever_the_output_is_cut(cuts: list[int]) -> None:
    events: list[Event] = []
    telling = Telling(events.append, "proxy1")
    places = [0, *sorted(cuts), len(OUTPUT)]
    for begin, end in itertools.pairwise(places):
        telling.feed(OUTPUT[begin:end])

    assert telling.end is not None
    assert (telling.end["done"], telling.startup) == (99, 2.5)
    told = [event for event in events if isinstance(event, Progress)]
    assert [(one.done, one.total, one.rate, one.eta_seconds, one.finished) for one in told] == [
        (0, 100, 0.0, None, False),
        (20, 100, 10.0, 8.0, False),
        (60, 100, 5.9, 40 / 5.9, False),
        (100, 100, 6.6, None, True),
    ]
    # that it rests is said once, not at every look
    assert [event.text for event in events if isinstance(event, Message)] == [
        "[proxy1] rests: the load is 5.1"
    ]


def test_what_an_earlier_program_did_counts() -> None:
    events: list[Event] = []
    Telling(events.append, "proxy1", before=60).feed(
        line("progress", done=10, left=30, failed=0, seconds=1.0)
    )
    [event] = events
    assert isinstance(event, Progress)
    assert (event.done, event.total, event.rate) == (70, 100, 10.0)


@pytest.mark.parametrize(
    ("code", "state", "how"),
    [
        (0, "done", "done"),
        (3, "done", "done"),
        (5, "locked", "locked"),
        (5, "busy", "locked"),
        (6, "stopped", "stopped"),
        (6, "hindered", "hindered"),
        (7, "away", "away"),
        # its last word and its exit code must agree
        (1, "done", "failed"),
        (0, "stopped", "failed"),
        (0, "away", "failed"),
        (1, "failed", "failed"),
        # ended by force after its last word: nobody saw it end well
        (-9, "done", "killed"),
        (None, "done", "killed"),
    ],
)
def test_its_last_word_and_its_exit_code_count_together(code: int | None, state: str, how: str) -> None:
    found = judged(JobEnd("j", code), {"regctl": "end", "state": state, "done": 7}, asked=False)
    assert (found.how, found.done) == (how, 7)


@pytest.mark.parametrize(
    ("code", "asked", "how"),
    [
        (-9, False, "killed"),
        (None, False, "killed"),
        (-9, True, "stopped"),  # by our own KILL, after minutes
        (-15, False, "stopped"),  # before it listened
        (-1, False, "stopped"),
        (-2, False, "stopped"),
        (0, False, "failed"),  # nothing was said: an exit code alone proves nothing
        (1, False, "failed"),
    ],
)
def test_without_a_last_word_nothing_is_taken_for_done(code: int | None, asked: bool, how: str) -> None:
    assert judged(JobEnd("j", code), None, asked=asked) == DriverEnd(
        how,  # type: ignore[arg-type]
        {"killed": "it was ended by force", "stopped": "it was told to stop before it had begun"}.get(how, "")
        if not asked
        else "it was ended by force",
        exit_code=code,
    )


def test_one_that_is_out_of_reach_is_neither_done_nor_failed() -> None:
    end = JobEnd("j", unknown="was out of reach for 600 s and may still be at work (job j)", over=False)
    assert judged(end, None, asked=False).how == "unknown"
