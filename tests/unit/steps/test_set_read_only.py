"""Read-only over runs: recorded, idempotent, and taken back to the original bytes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ctl.errors import RegctlError
from ctl.steps import read_only_node
from ctl.steps.read_only import ReadOnly
from ctl.steps.read_only_record import read_record, record_path, remove_record
from ctl.steps.set_read_only import ClearReadOnly, SetReadOnly
from tests.support.memory_node import CLOSED, CONFIG, CONFIG_FILE, Crash, Node

ON = SetReadOnly(registry="main", node="here", by="ann", reason="disk change")
OFF = ClearReadOnly(registry="main", node="here")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_only_node, "SETTLE", 0.0)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(str(tmp_path / "state"))


def switch_on(node: Node, run: str = "run-on") -> None:
    here = node.target(run)
    assert [p.message for p in ON.check(here) if p.blocking] == []
    before = ON.observe(here)
    ON.apply(here, before)
    assert list(ON.verify(here)) == []


def switch_off(node: Node, run: str = "run-off") -> None:
    here = node.target(run)
    assert [p.message for p in OFF.check(here) if p.blocking] == []
    OFF.apply(here, json.loads(json.dumps(dict(OFF.observe(here)))))


def test_on_is_recorded_and_off_brings_everything_back(node: Node) -> None:
    before_all = node.standing()
    switch_on(node)
    record = read_record(node.world.state_dir, "main", "here")
    assert record is not None
    assert (record.by, record.reason, record.run) == ("ann", "disk change", "run-on")
    assert record.original == CONFIG
    assert os.stat(record_path(node.world.state_dir, "main", "here")).st_mode & 0o777 == 0o600
    assert node.registry.read_only
    switch_off(node)
    assert node.standing() == before_all
    assert read_record(node.world.state_dir, "main", "here") is None


def test_on_twice_is_nothing_to_do_and_keeps_the_first_record(node: Node) -> None:
    switch_on(node, "first")
    here = node.target("second")
    assert not ON.preview(here).changes
    bomb = node.arm(0)
    assert not ON.apply(here, ON.observe(here)).changed
    assert bomb.passed == 0
    record = read_record(node.world.state_dir, "main", "here")
    assert record is not None
    assert record.run == "first"


def test_a_window_inside_leaves_it_read_only(node: Node) -> None:
    switch_on(node)
    closed = node.standing()
    window = ReadOnly(registry="main", node="here")
    here = node.target("gc")
    assert [p.message for p in window.check(here) if p.blocking] == []
    before = window.observe(here)
    window.apply(here, before)
    window.leave(here, before)
    assert node.standing() == closed
    assert node.registry.read_only


def test_off_without_on_has_nothing_to_do(node: Node) -> None:
    here = node.target()
    assert not OFF.preview(here).changes
    bomb = node.arm(0)
    report = OFF.apply(here, OFF.observe(here))
    assert (report.changed, bool(report.not_applicable), bomb.passed) == (False, True, 0)


def test_off_does_not_open_what_its_own_configuration_closed(tmp_path: Path) -> None:
    node = Node(str(tmp_path), config=CLOSED)
    (problem,) = OFF.check(node.target())
    assert problem.blocking
    assert "by its own configuration" in problem.message
    assert "readonly.enabled: false" in problem.hint


@pytest.mark.parametrize("lost", ["record", "kept copy"])
def test_off_finds_the_way_back_when_one_of_the_two_originals_is_gone(node: Node, lost: str) -> None:
    before_all = node.standing()
    switch_on(node)
    record = read_record(node.world.state_dir, "main", "here")
    assert record is not None
    if lost == "record":
        remove_record(node.world.state_dir, "main", "here")
    else:
        node.host.remove(record.before["kept"])
    switch_off(node)
    # only the record knows the file's old time
    mtime = node.standing().mtime if lost == "record" else before_all.mtime
    assert node.standing() == replace(before_all, mtime=mtime)


def test_an_original_that_does_not_fit_the_present_file_is_no_way_back(node: Node) -> None:
    switch_on(node)
    remove_record(node.world.state_dir, "main", "here")
    node.edit(node.config() + b"# mine\n")
    (problem,) = OFF.check(node.target("off"))
    assert "not by regctl" in problem.message


def test_a_file_edited_meanwhile_is_not_overwritten(node: Node) -> None:
    switch_on(node)
    node.edit(node.config() + b"# mine\n")
    (problem,) = OFF.check(node.target("off"))
    assert problem.blocking
    assert "was edited while it was read-only" in problem.message
    assert CONFIG_FILE in problem.message


def test_a_file_opened_by_hand_only_loses_its_record(node: Node) -> None:
    switch_on(node)
    mine = CONFIG + b"# mine\n"
    node.edit(mine)
    node.service.restart(read_only_node.READY)
    here = node.target("off")
    assert list(OFF.check(here)) == []
    report = OFF.apply(here, OFF.observe(here))
    assert "opened by hand" in report.warnings[0]
    assert node.config() == mine
    assert read_record(node.world.state_dir, "main", "here") is None


def test_a_node_stopped_meanwhile_is_not_started(node: Node) -> None:
    switch_on(node)
    node.service.stop(read_only_node.READY)
    switch_off(node)
    assert node.config() == CONFIG
    assert not node.service.state().running


def test_a_node_started_meanwhile_stays_up_and_opens(tmp_path: Path) -> None:
    node = Node(str(tmp_path), running=False)
    switch_on(node)
    node.service.start()
    assert node.standing().read_only
    switch_off(node)
    assert node.standing().running
    assert not node.standing().read_only


def test_undo_brings_back_and_forgets(node: Node) -> None:
    before_all, here = node.standing(), node.target("run-on")
    before = ON.observe(here)
    ON.apply(here, before)
    ON.undo(here, before)
    assert node.standing() == before_all
    assert read_record(node.world.state_dir, "main", "here") is None


def test_a_failed_on_leaves_nothing_that_off_would_trip_over(node: Node) -> None:
    node.service.fails_closed = True
    before_all, here = node.standing(), node.target("run-on")
    before = ON.observe(here)
    with pytest.raises(RegctlError, match="is as it was"):
        ON.apply(here, before)
    ON.undo(here, before)  # as the recipe asks for
    assert node.standing() == before_all
    assert read_record(node.world.state_dir, "main", "here") is None


def test_a_damaged_record_says_so(node: Node) -> None:
    switch_on(node)
    Path(record_path(node.world.state_dir, "main", "here")).write_text('{"registry": "main"}')
    with pytest.raises(RegctlError, match="is damaged"):
        list(OFF.check(node.target("off")))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
def test_killed_while_switching_on_off_still_finds_the_way_back(tmp_path: Path, at: int, after: bool) -> None:
    node = Node(str(tmp_path))
    before_all = node.standing()
    node.arm(at, after=after)
    try:
        switch_on(node)
    except Crash:
        pass
    finally:
        node.arm(0)
    switch_off(node)
    final = node.standing()
    assert (final.config, final.mode, final.owner) == (CONFIG, before_all.mode, before_all.owner)
    assert not final.read_only
    assert final.names == before_all.names


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
def test_killed_while_switching_off_a_second_time_ends_it(tmp_path: Path, at: int, after: bool) -> None:
    node = Node(str(tmp_path))
    before_all = node.standing()
    switch_on(node)
    here = node.target("off")
    before = OFF.observe(here)
    node.arm(at, after=after)
    doing = partial(OFF.apply, here, before)
    try:
        doing()
    except Crash:
        pass
    finally:
        node.arm(0)
    doing()  # what `run resume` does
    assert node.standing() == before_all
    assert read_record(node.world.state_dir, "main", "here") is None
