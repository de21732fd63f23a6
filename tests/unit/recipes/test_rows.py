"""Rows of several hosts: order, limits, results, and that each leaves its own scopes."""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import threading
import time
from typing import Any

import pytest

from ctl.errors import InterruptedRunError, Outcome, RegctlError
from ctl.recipes import runs
from ctl.recipes.failpoints import Failpoints
from ctl.recipes.journal import FencedError, read
from ctl.recipes.model import (
    Across,
    Before,
    Do,
    Item,
    Recipe,
    Row,
    RunReport,
    Step,
    StepReport,
    Target,
    Within,
)
from ctl.recipes.unfinished import unfinished
from ctl.report.events import Message, Progress, RowEnded, RowStarted
from tests.unit.recipes.children import killed_at, run_toy, runner
from tests.unit.recipes.toys import Box, Burn, Put, Switch, box_of

RESOURCES = ("toy/one",)
HOSTS = ("h1", "h2", "h3", "h4")


def recipe(*items: Item, undo: bool = False) -> Recipe:
    return Recipe("toy", items, RESOURCES, undo_on_failure=undo)


def row(host: str) -> Row:
    """Two steps in a scope of the host's own, and one after it."""
    scope = (Switch(name=f"{host}.s", on=host),)
    inner = (Do(Put(name=f"{host}.a")), Do(Put(name=f"{host}.b")))
    return Row(host, (Within(scope, inner), Do(Put(name=f"{host}.c"))))


def fleet(*hosts: str, **limits: Any) -> Across:
    return Across(tuple(row(host) for host in hosts or HOSTS), **limits)


def results(run: RunReport) -> dict[str, str]:
    return {one.host: one.result for one in run.hosts}


def journal(box: Box, run: RunReport) -> list[tuple[str, str]]:
    """The records of rows: what happened, and on which host."""
    records = read(runs.journal_path(box.state_dir, run.id)).records
    return [(one.kind, one.payload["host"]) for one in records if one.kind.startswith("row-")]


def test_all_rows_are_done_and_said(box: Box) -> None:
    run = run_toy(box, recipe(fleet()))
    assert (run.state, run.outcome) == ("done", Outcome.CHANGED)
    assert results(run) == dict.fromkeys(HOSTS, "changed")
    assert {box.get()[f"{host}.{step}"] for host in HOSTS for step in "abc"} == {1}
    assert {box.get()[f"{host}.s"] for host in HOSTS} == {"on"}
    for host in HOSTS:
        mine = [entry.split() for entry in box.logged() if entry.split()[1].startswith(host)]
        order = [(verb, what[3:]) for verb, what in mine]
        assert order == [("enter", "s"), ("apply", "a"), ("apply", "b"), ("leave", "s"), ("apply", "c")]
    started = [event.host for event in box.events if isinstance(event, RowStarted)]
    ended = {event.host: event.result for event in box.events if isinstance(event, RowEnded)}
    assert sorted(started) == list(HOSTS)
    assert ended == dict.fromkeys(HOSTS, "changed")
    told = [event for event in box.events if isinstance(event, Progress)]
    assert (told[-1].done, told[-1].total, told[-1].finished) == (4, 4, True)


def test_a_second_run_has_nothing_to_do(box: Box) -> None:
    run_toy(box, recipe(fleet()))
    run = run_toy(box, recipe(fleet()))
    assert (run.outcome, run.id) == (Outcome.NOTHING_TO_DO, "")
    assert results(run) == dict.fromkeys(HOSTS, "ok")


def test_a_row_that_fails_leaves_its_own_scopes_and_no_other_is_begun(box: Box) -> None:
    box.set("plan:apply h2.b", "fail")
    run = run_toy(box, recipe(fleet(at_once=1), Do(Put(name="after"))))
    assert (run.state, run.outcome) == ("failed", Outcome.FAILED)
    assert results(run) == {"h1": "changed", "h2": "failed", "h3": "not-attempted", "h4": "not-attempted"}
    assert run.hosts[1].reason == "apply h2.b failed as planned"
    assert "2 not attempted" in run.hosts[2].reason
    assert box.get()["h2.s"] == "on"
    assert box.get()["h2.a"] == 1  # what it had done stays
    assert not {"h2.c", "h3.a", "after"} & set(box.get())
    assert {one.path for one in run.steps if one.result == "not-attempted"} >= {"1.r2.2", "1.r3.1.s1", "2"}


def test_other_rows_of_the_batch_finish(box: Box) -> None:
    box.set("plan:apply h1.a", "fail")
    slow = Row("h1", (Do(Slow(name="h1.a")),)), Row("h2", (Do(Slow(name="h2.0")), Do(Slow(name="h2.a"))))
    run = run_toy(box, recipe(Across((*slow, row("h3")), at_once=2)))
    assert results(run) == {"h1": "failed", "h2": "changed", "h3": "not-attempted"}
    assert box.get()["h2.a"] == 1


def test_failures_within_the_limit_do_not_stop_the_others(box: Box) -> None:
    box.set("plan:apply h1.a", "fail")
    box.set("plan:apply h3.s", "bug")
    run = run_toy(box, recipe(fleet(at_once=1, max_fail=2), Do(Put(name="after"))))
    assert (run.state, run.outcome) == ("failed", Outcome.FAILED)
    assert results(run) == {"h1": "failed", "h2": "changed", "h3": "failed", "h4": "changed"}
    assert box.get()["after"] == 1
    assert {box.get()[f"{host}.s"] for host in ("h1", "h2", "h4")} == {"on"}
    assert run.hosts[2].reason.startswith("unexpected ValueError: apply h3.s has a bug")


@pytest.mark.parametrize("at_once", [1, 4])
def test_the_canary_goes_alone_and_a_failure_there_stops_all(box: Box, at_once: int) -> None:
    box.set("plan:apply h1.c", "fail")
    run = run_toy(box, recipe(fleet(canary=1, at_once=at_once, max_fail=3)))
    assert results(run) == {
        "h1": "failed",
        "h2": "not-attempted",
        "h3": "not-attempted",
        "h4": "not-attempted",
    }
    assert "one of them went first alone" in run.hosts[1].reason


def test_the_others_begin_when_the_canary_has_ended(box: Box) -> None:
    run = run_toy(box, recipe(fleet(canary=2, at_once=4)))
    order = journal(box, run)
    assert {host for _, host in order[:4]} == {"h1", "h2"}
    assert results(run) == dict.fromkeys(HOSTS, "changed")


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_never_more_rows_at_once(box: Box, at_once: int) -> None:
    rows = tuple(Row(host, (Do(Slow(name=f"{host}.a")),)) for host in HOSTS)
    order = journal(box, run_toy(box, recipe(Across(rows, at_once=at_once))))
    running = most = 0
    for kind, _ in order:
        running += 1 if kind == "row-begin" else -1
        most = max(most, running)
    assert most == at_once


# -- before any change ---------------------------------------------------------------------------------


def test_a_host_that_is_not_reached_counts_and_the_others_go_on(box: Box) -> None:
    box.far = HOSTS
    box.set("plan:reach h2", "unreachable")
    run = run_toy(box, recipe(fleet(max_fail=1)))
    assert results(run) == {"h1": "changed", "h2": "unreachable", "h3": "changed", "h4": "changed"}
    assert run.hosts[1].reason == "h2 does not answer"
    assert (run.state, run.outcome) == ("failed", Outcome.UNREACHABLE)
    assert not any(key.startswith("h2.") for key in box.get())
    assert runs.open_runs(box.state_dir) == []


def test_more_of_them_than_allowed_and_nothing_is_changed(box: Box) -> None:
    box.far = HOSTS
    box.set("plan:reach h2", "unreachable")
    box.set("plan:reach h4", "unreachable")
    run = run_toy(box, recipe(Do(Put(name="before")), fleet(max_fail=1)))
    assert (run.id, run.state, run.outcome) == ("", "failed", Outcome.UNREACHABLE)
    assert results(run) == {
        "h1": "not-attempted",
        "h2": "unreachable",
        "h3": "not-attempted",
        "h4": "unreachable",
    }
    assert box.logged() == []
    assert runs.ids(box.state_dir) == []


def test_a_host_whose_checks_refuse_counts_as_one_that_failed(box: Box) -> None:
    box.set("plan:check h3.b", "refused")
    run = run_toy(box, recipe(fleet(max_fail=1)))
    assert results(run) == {"h1": "changed", "h2": "changed", "h3": "failed", "h4": "changed"}
    assert (run.hosts[2].reason, run.outcome) == ("h3.b is not right", Outcome.FAILED)
    run = run_toy(box, recipe(fleet(), Do(Put(name="after"))))
    assert (run.outcome, run.hosts[0].result) == (Outcome.REFUSED, "not-attempted")
    assert "after" not in box.get()


def test_a_skipped_check_of_one_host_lets_it_begin(box: Box) -> None:
    box.set("plan:check h3.b", "refused")
    asked = runner(box)
    run = asked.run(recipe(fleet()), yes=True, skip=["h3.b-right"], skip_reason="seen by eye")
    assert results(run) == {"h1": "changed", "h2": "changed", "h3": "warned", "h4": "changed"}


def test_the_canary_is_taken_from_the_hosts_that_are_reached(box: Box) -> None:
    box.far = HOSTS
    box.set("plan:reach h1", "unreachable")
    box.set("plan:apply h2.a", "fail")
    run = run_toy(box, recipe(fleet(canary=1, max_fail=2)))
    assert results(run) == {
        "h1": "unreachable",
        "h2": "failed",
        "h3": "not-attempted",
        "h4": "not-attempted",
    }


def test_a_dry_run_shows_every_host_and_writes_nothing(box: Box) -> None:
    box.far = HOSTS
    box.set("plan:reach h4", "unreachable")
    asked = runner(box)
    run = asked.run(recipe(fleet(canary=1, at_once=2, max_fail=1)), dry_run=True)
    assert run.outcome is Outcome.PENDING
    titles = [preview.title for preview in run.previews]
    assert titles[0].startswith("across 3 hosts: h1 first, alone; then 2 at once: h2, h3;")
    assert "[h2] put h2.a" in titles
    assert not [title for title in titles if "h4" in title]
    assert results(run)["h4"] == "unreachable"
    assert not os.path.exists(box.state_dir)


# -- a host that has failed ------------------------------------------------------------------------------


def test_a_host_that_failed_is_left_out_of_later_rows(box: Box) -> None:
    box.set("plan:apply h2.a", "fail")
    later = Across(tuple(Row(host, (Do(Put(name=f"{host}.later")),)) for host in HOSTS))
    run = run_toy(box, recipe(fleet(max_fail=1), later))
    assert results(run) == {"h1": "changed", "h2": "failed", "h3": "changed", "h4": "changed"}
    assert "h2.later" not in box.get()
    assert box.get()["h4.later"] == 1


def test_a_host_that_goes_away_in_the_middle_is_unreachable(box: Box) -> None:
    rows = tuple(Row(host, (Do(Put(name=f"{host}.a")), Do(Put(name=f"{host}.b")))) for host in HOSTS)
    box.set("plan:apply h2.b", "away")
    run = run_toy(box, recipe(Across(rows, max_fail=1)))
    assert results(run)["h2"] == "unreachable"
    assert run.outcome is Outcome.UNREACHABLE
    assert [one.result for one in run.steps if one.path == "1.r2.2"] == ["unreachable"]


def test_what_nobody_can_prove_is_unknown_and_left_over(box: Box) -> None:
    box.set("plan:apply h2.a", "unknown")
    run = run_toy(box, recipe(fleet(max_fail=1)))
    assert results(run) == {"h1": "changed", "h2": "unknown", "h3": "changed", "h4": "changed"}
    assert (run.outcome, run.hosts[1].reason) == (Outcome.FAILED, "nobody knows about apply h2.a")
    box.set("plan:apply h2.a", "")
    rest = run_toy(box, unfinished(recipe(fleet(max_fail=1)), box.state_dir, run.id))
    assert results(rest) == {"h2": "changed"}


@pytest.mark.parametrize("word", ["fail", "away", "unknown"])
def test_killed_after_a_failure_the_row_ends_as_it_would_have(box: Box, word: str) -> None:
    box.set("plan:apply h2.a", word)
    whole = run_toy(box, recipe(fleet(at_once=1)))
    shutil.rmtree(box.state_dir)
    for host in HOSTS:
        for step in "abc":
            box.set(f"{host}.{step}", None)
    names: list[str] = []

    class Listing(Failpoints):
        def boundary(self, name: str) -> Any:
            names.append(name)
            return super().boundary(name)

    def run(points: Failpoints) -> None:
        run_toy(box, recipe(fleet(at_once=1)), points)

    run(Listing(0, "", "count"))
    shutil.rmtree(box.state_dir)
    box.set("h1.a", None)
    assert killed_at(names.index("journal row-unwind 1.r2") + 1, "before", run)
    state = runs.open_runs(box.state_dir)[0]
    resumed = runner(box).resume(state.id)
    assert [(one.host, one.result) for one in resumed.hosts] == [
        (one.host, one.result) for one in whole.hosts
    ]
    assert resumed.hosts[1].reason == whole.hosts[1].reason


def test_one_that_cannot_be_left_keeps_the_run_open_and_the_rest_is_left(box: Box) -> None:
    box.set("plan:leave h2.s", "fail")
    around = Within((Switch(name="outer"),), (fleet(at_once=4),))
    run = run_toy(box, recipe(around, Do(Put(name="after"))))
    assert run.state == "open"
    assert {key: box.get()[key] for key in ("h1.s", "h2.s", "outer")} == {
        "h1.s": "on",
        "h2.s": "off",
        "outer": "off",
    }
    assert results(run)["h2"] == "failed"
    box.set("plan:leave h2.s", "")
    again = runner(box).resume(run.id)
    assert again.state == "failed"
    assert (box.get()["h2.s"], box.get()["outer"]) == ("on", "on")
    assert results(again)["h2"] == "failed"
    assert "after" not in box.get()


@pytest.mark.parametrize("entered", [False, True])
def test_a_host_that_is_gone_keeps_the_run_open_only_if_something_is_entered(box: Box, entered: bool) -> None:
    burn = (Do(Burn(name="h1.x")),)
    body = (Within((Switch(name="h1.s"),), burn),) if entered else burn
    box.set("plan:apply h1.x", "away")
    box.set("plan:settle h1.x", "away")
    run = run_toy(box, recipe(Across((Row("h1", body), row("h2")), max_fail=1)))
    assert run.state == ("open" if entered else "failed")
    assert results(run) == {"h1": "failed" if entered else "unreachable", "h2": "changed"}
    assert run.outcome is (Outcome.FAILED if entered else Outcome.UNREACHABLE)
    if entered:
        box.set("plan:settle h1.x", "")
        assert results(runner(box).resume(run.id))["h1"] == "unreachable"
        assert box.get()["h1.s"] == "on"


class GoAway(Put):
    """Cuts another host off."""

    other: str

    def apply(self, here: Target, before: Before) -> StepReport:
        box_of(here).unreachable.add(self.other)
        return super().apply(here, before)


def test_a_node_that_goes_away_keeps_only_its_own_row_from_working(box: Box) -> None:
    box.add_registry("main", "h1", "h2", "h3")
    rows = (Row("h1", (Do(GoAway(name="h1.a", other="h2")),)), row("h2"), row("h3"))
    items = (Across(rows, at_once=1, max_fail=1), Do(Put(name="after")))
    run = run_toy(box, Recipe("toy", items, ("registry/main", *(f"host/{host}" for host in HOSTS))))
    assert results(run) == {"h1": "changed", "h2": "unreachable", "h3": "changed"}
    assert (run.state, run.outcome) == ("failed", Outcome.UNREACHABLE)
    assert box.get()["after"] == 1
    assert not [key for key in box.get() if key.startswith("h2.")]
    claims = [name for name in os.listdir(box.folder) if glob.glob(f"{box.folder}/{name}/.*claim")]
    assert claims == ["h2"]  # it could not be taken away, and that was told
    assert "a claim is left behind: h2 does not answer" in [
        event.text for event in box.events if isinstance(event, Message)
    ]


class Usurp(Put):
    """Another controller takes the claim on another node."""

    other: str

    def apply(self, here: Target, before: Before) -> StepReport:
        path = glob.glob(f"{box_of(here).folder}/{self.other}/.*claim")[0]
        with open(path) as file:
            facts = json.load(file)
        with open(path, "w") as file:
            json.dump({**facts, "run": "another", "controller": "somebody"}, file)
        return super().apply(here, before)


def test_a_claim_that_was_taken_on_one_node_stops_all_rows(box: Box) -> None:
    box.add_registry("main", "h1", "h2", "h3")
    rows = (Row("h1", (Do(Usurp(name="h1.a", other="h2")),)), row("h2"), row("h3"))
    items = (Across(rows, at_once=1, max_fail=3), Do(Put(name="after")))
    with pytest.raises(FencedError, match="on main at h2 was taken"):
        run_toy(box, Recipe("toy", items, ("registry/main",)))
    assert set(box.get()) == {"h1.a"}


def test_undo_takes_back_what_the_failed_row_did_and_nothing_of_the_others(box: Box) -> None:
    box.set("plan:apply h2.c", "fail")
    run = run_toy(box, recipe(Do(Put(name="before")), fleet(at_once=1), undo=True))
    assert results(run) == {"h1": "changed", "h2": "failed", "h3": "not-attempted", "h4": "not-attempted"}
    assert box.get()["h1.a"] == 1
    assert box.get()["before"] == 1  # rows that are done were built on it
    assert box.logged()[-1] != "undo before"


def test_notes_of_other_hosts_are_not_ones_own(box: Box) -> None:
    run_toy(box, recipe(Across(tuple(Row(host, (Do(Noting(name=host)),)) for host in HOSTS))))
    assert {host: box.get()[f"seen {host}"] for host in HOSTS} == {host: {"who": host} for host in HOSTS}


def test_two_rows_of_one_host_are_refused() -> None:
    with pytest.raises(ValueError, match="a host of its own"):
        Across((row("h1"), row("h1")))
    with pytest.raises(ValueError, match="at least 1"):
        Across((row("h1"),), at_once=0)
    with pytest.raises(ValueError, match="holds rows"):
        Row("h1", (Within((Switch(name="s"),), (fleet("h2"),)),))


# -- Ctrl-C ------------------------------------------------------------------------------------------------


def test_the_first_ctrl_c_stops_all_rows_and_leaves_their_scopes(box: Box) -> None:
    rows = tuple(
        Row(host, (Within((Switch(name=f"{host}.s"),), (Do(Until(name=host)), Do(Put(name=f"{host}.b")))),))
        for host in HOSTS
    )
    press(box, [f"apply {host}" for host in ("h1", "h2")], 1)
    run = run_toy(box, recipe(Across(rows, at_once=2)))
    assert (run.state, run.outcome) == ("interrupted", Outcome.INTERRUPTED)
    assert results(run) == {
        "h1": "failed",
        "h2": "failed",
        "h3": "not-attempted",
        "h4": "not-attempted",
    }
    assert (box.get()["h1.s"], box.get()["h2.s"]) == ("on", "on")
    assert "told to stop" in run.hosts[0].reason


def test_a_second_ctrl_c_stops_at_once_and_says_what_is_left_open(box: Box) -> None:
    rows = tuple(Row(host, (Within((Switch(name=f"{host}.s"),), (Do(Deaf(name=host)),)),)) for host in HOSTS)
    press(box, [f"apply {host}" for host in HOSTS], 2)
    since = time.monotonic()
    run = run_toy(box, recipe(Across(rows)))
    assert time.monotonic() - since < 5
    assert (run.state, run.outcome) == ("open", Outcome.INTERRUPTED)
    assert "h1.s" in run.problems[-1].message
    assert "h4.s" in run.problems[-1].message
    ended = len(read(runs.journal_path(box.state_dir, run.id)).records)
    box.set("wake", 1)
    time.sleep(0.2)  # rows that come to life now write nothing more
    assert len(read(runs.journal_path(box.state_dir, run.id)).records) == ended
    assert {box.get()[f"{host}.s"] for host in HOSTS} == {"off"}


def press(box: Box, wanted: list[str], times: int) -> None:
    """Press Ctrl-C once all of these stand in the log."""

    def wait() -> None:
        deadline = time.monotonic() + 10
        while not set(wanted) <= set(box.logged()) and time.monotonic() < deadline:
            time.sleep(0.005)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    threading.Thread(target=wait, daemon=True).start()


class Slow(Put):
    """Takes long enough for others to fail meanwhile."""

    def apply(self, here: Target, before: Before) -> StepReport:
        time.sleep(0.15)
        return super().apply(here, before)


class Until(Step):
    """Waits until it is told to stop."""

    name: str

    def apply(self, here: Target, before: Before) -> None:
        box_of(here).log(f"apply {self.name}")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if here.run.stopping():
                raise InterruptedRunError("told to stop")
            time.sleep(0.005)
        raise RegctlError("nobody told it to stop")


class Deaf(Step):
    """Hears nothing until it is woken."""

    name: str

    def apply(self, here: Target, before: Before) -> None:
        box_of(here).log(f"apply {self.name}")
        deadline = time.monotonic() + 10
        while "wake" not in box_of(here).get() and time.monotonic() < deadline:
            time.sleep(0.005)
        here.run.note(heard=True)


class Noting(Step):
    """Notes who it is, and what it sees noted by its class in a second step's eyes."""

    name: str

    def apply(self, here: Target, before: Before) -> None:
        here.run.note(who=self.name)
        live: Any = here.run
        live.current = ""  # as a step of another class sees it
        time.sleep(0.02)
        box_of(here).set(f"seen {self.name}", dict(here.run.notes("Noting")))
