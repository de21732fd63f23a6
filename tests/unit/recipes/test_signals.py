"""Ctrl-C once, Ctrl-C twice, SIGTERM, a lost terminal: in real processes."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ctl.errors import Outcome
from ctl.recipes import runs
from ctl.recipes.model import Before, Do, Recipe, RunReport, Scope, Target, Within
from tests.unit.recipes.children import forked, runner, until, wait
from tests.unit.recipes.toys import Box, Put, Switch, Wait, box_of

RESOURCES = ("toy/one",)


class Deaf(Put):
    """Cannot be interrupted: it finishes what it began."""

    def apply(self, here: Target, before: Before) -> None:  # type: ignore[override]
        box_of(here).log("begin")
        time.sleep(0.3)
        super().apply(here, before)


class SlowSwitch(Switch):
    """Takes its time to be left."""

    def leave(self, here: Target, before: Before) -> None:  # type: ignore[override]
        box_of(here).log("leaving")
        time.sleep(0.3)
        super().leave(here, before)


def window(*scopes: Scope, body: tuple[Do, ...]) -> Recipe:
    return Recipe("toy", (Within(scopes, body), Do(Put(name="z"))), RESOURCES)


def start(box: Box, recipe: Recipe) -> int:
    """Run it in a child whose exit code is the outcome's."""

    def child() -> None:
        from ctl.errors import EXIT_CODES

        signal.signal(signal.SIGINT, signal.default_int_handler)
        report: RunReport = runner(box).run(recipe, yes=True)
        os._exit(EXIT_CODES[report.outcome])

    return forked(child)


def signalled(box: Box, recipe: Recipe, after: str, *numbers: signal.Signals) -> int:
    pid = start(box, recipe)
    until(lambda: after in box.logged())
    for number in numbers:
        os.kill(pid, number)
        time.sleep(0.05)
    return wait(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_stops_at_the_next_safe_point_and_leaves_the_scopes(
    box: Box, number: signal.Signals
) -> None:
    recipe = window(Switch(name="s"), body=(Do(Wait()), Do(Put(name="b"))))
    assert signalled(box, recipe, "apply wait", number) == 130
    assert box.logged() == ["enter s", "apply wait", "leave s"]
    (run_id,) = runs.ids(box.state_dir)
    state = runs.load(box.state_dir, run_id)
    assert (state.state, box.get()["s"]) == ("interrupted", "on")


def test_a_step_that_cannot_be_interrupted_is_finished_first(box: Box) -> None:
    recipe = window(Switch(name="s"), body=(Do(Deaf(name="a")), Do(Put(name="b"))))
    assert signalled(box, recipe, "begin", signal.SIGINT) == 130
    assert box.logged() == ["enter s", "begin", "apply a", "leave s"]
    assert box.get()["a"] == 1


def test_a_second_ctrl_c_stops_at_once_and_the_run_stays_open(
    box: Box, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = window(Switch(name="s"), body=(Do(Deaf(name="a")), Do(Put(name="b"))))
    assert signalled(box, recipe, "begin", signal.SIGINT, signal.SIGINT) == 130
    assert "Ctrl-C again stops at once" in capfd.readouterr().err
    assert box.logged() == ["enter s", "begin"]
    (state,) = runs.open_runs(box.state_dir)
    assert [state.at(path).title for path in state.open_scopes()] == ["switch s off"]
    assert runner(box).resume(state.id).outcome == Outcome.CHANGED
    assert box.get()["s"] == "on"


def test_a_lost_session_sends_several_signals_and_still_the_scopes_are_left(box: Box) -> None:
    recipe = window(SlowSwitch(name="s"), body=(Do(Wait()),))
    hang_up = (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP)
    assert signalled(box, recipe, "apply wait", *hang_up) == 130
    assert box.get()["s"] == "on"
    assert runs.open_runs(box.state_dir) == []


def test_the_first_ctrl_c_does_not_cut_a_leave_short(box: Box) -> None:
    recipe = window(SlowSwitch(name="s"), body=(Do(Put(name="a")),))
    assert signalled(box, recipe, "leaving", signal.SIGINT) == 130
    assert box.logged() == ["enter s", "apply a", "leaving", "leave s"]  # and z was not begun
    assert box.get()["s"] == "on"


def test_a_signal_that_the_caller_ignores_stays_ignored(box: Box) -> None:
    recipe = window(Switch(name="s"), body=(Do(Deaf(name="a")),))

    def child() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        assert runner(box).run(recipe, yes=True).state == "done"
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # given back

    pid = forked(child)
    until(lambda: "begin" in box.logged())
    os.kill(pid, signal.SIGHUP)
    assert wait(pid) == 0
    assert box.get()["z"] == 1
