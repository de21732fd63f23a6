"""Following a run: the same story as the run told, to its end, and of one that was cut off."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from ctl.recipes import runs
from ctl.recipes.follow import follow
from ctl.recipes.journal import JournalError
from ctl.recipes.model import Across, Do, Recipe, Row, Within
from ctl.report.events import Event, RowEnded, RowStarted, StepEnded, StepStarted
from tests.unit.recipes.children import forked, killed_at, run_toy, wait
from tests.unit.recipes.toys import Box, Put, Switch

ROWS = tuple(
    Row(host, (Within((Switch(name=f"{host}.s", on=host),), (Do(Put(name=f"{host}.a")),)),))
    for host in ("h1", "h2")
)
RECIPE = Recipe("toy", (Do(Put(name="first")), Across(ROWS, at_once=1), Do(Put(name="last"))), ("toy/one",))


def story(events: list[Event]) -> list[Any]:
    """What was told, without how long it took."""
    found: list[Any] = []
    for event in events:
        if isinstance(event, StepStarted):
            found.append(("started", event.step, event.phase, event.host_of_row))
        elif isinstance(event, StepEnded):
            found.append(("ended", event.step, event.phase, event.host_of_row, event.result, event.reason))
        elif isinstance(event, RowStarted):
            found.append(("row", event.host))
        elif isinstance(event, RowEnded):
            found.append(("row", event.host, event.result, event.reason))
    return found


def told(box: Box, run_id: str) -> tuple[list[Event], Any]:
    events: list[Event] = []

    def no_sleep(seconds: float) -> None:
        raise AssertionError("there is nothing to wait for")

    return events, follow(box.state_dir, run_id, events.append, no_sleep)


@pytest.mark.parametrize("plan", ["", "fail"])
def test_it_tells_what_the_run_told(box: Box, plan: str) -> None:
    box.set("plan:apply h2.a", plan)
    run = run_toy(box, RECIPE)
    events, state = told(box, run.id)
    assert story(events) == story(box.events)
    assert (state.state, state.outcome) == (run.state, run.outcome)


def test_of_one_that_was_cut_off_it_tells_that_nobody_goes_on(box: Box) -> None:
    assert killed_at(20, "before", lambda points: run_toy(box, RECIPE, points))
    run_id = runs.ids(box.state_dir)[0]
    events, state = told(box, run_id)
    assert ("row", "h1") in story(events)
    assert (state.state, state.outcome) == ("open", "")


def test_it_follows_while_lines_are_written_byte_by_byte(box: Box) -> None:
    run = run_toy(box, RECIPE)
    path = runs.journal_path(box.state_dir, run.id)
    with open(path, "rb") as file:
        whole = file.read()
    os.truncate(path, 0)
    pieces = [whole[at : at + 97] for at in range(0, len(whole), 97)]

    def write(seconds: float) -> None:
        with open(path, "ab") as file:
            file.write(pieces.pop(0))

    write(0)
    events: list[Event] = []
    state = follow(box.state_dir, run.id, events.append, write)
    assert state.closed
    assert story(events) == story(box.events)


def test_a_damaged_journal_is_named(box: Box) -> None:
    run = run_toy(box, RECIPE)
    path = runs.journal_path(box.state_dir, run.id)
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data.replace(b"first", b"farst", 1))
    with pytest.raises(JournalError, match=r"journal.jsonl:1:"):
        told(box, run.id)


def test_a_living_run_is_followed_to_its_end(box: Box) -> None:
    box.set("plan:apply h1.a", "slow")
    child = forked(lambda: run_toy(box, RECIPE))
    while not runs.ids(box.state_dir):
        pass
    events: list[Event] = []
    waited = threading.Event()

    def sleep(seconds: float) -> None:
        waited.wait(0.01)

    state = follow(box.state_dir, runs.ids(box.state_dir)[0], events.append, sleep)
    assert wait(child) == 0
    assert (state.state, story(events)[-1]) == ("done", ("ended", "3", "apply", "", "changed", ""))
