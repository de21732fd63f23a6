"""Nodes that slipped out of a maintenance are closed again, edits are kept; killed at every change too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ctl.recipes.model import Step
from ctl.steps import read_only_node
from ctl.steps.maintenance_repair import CloseAgain, OpenEdited, edited_read_only
from ctl.steps.read_only_node import ReadOnlyNode
from ctl.steps.set_read_only import ClearReadOnly, SetReadOnly
from tests.support.memory_node import CONFIG, Crash, Node

ON = SetReadOnly(registry="main", node="here")
AGAIN = CloseAgain(registry="main", node="here")
OFF = ClearReadOnly(registry="main", node="here")
OPEN = OpenEdited(registry="main", node="here")
RUN = "20260101T000000Z-maintenance-on-{}"
EDIT = (b"draintimeout: 5s", b"draintimeout: 9s")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_only_node, "SETTLE", 0.0)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(str(tmp_path / "state"))
    do(made, ON, "aaaa")
    return made


def do(node: Node, step: Step, run: str) -> None:
    here = node.target(RUN.format(run))
    assert [problem.message for problem in step.check(here) if problem.blocking] == []
    step.apply(here, json.loads(json.dumps(dict(step.observe(here)))))
    assert list(step.verify(here)) == []


def survive(node: Node, step: Step, run: str) -> int:
    """Do it, killed one change later each time and done again; return how often it was killed."""
    here, kills = node.target(RUN.format(run)), 0
    before = json.loads(json.dumps(dict(step.observe(here))))
    while True:
        node.arm(1 + kills // 2, after=bool(kills % 2))
        try:
            step.apply(here, before)
        except Crash:
            kills += 1
            assert kills < 30
            continue
        finally:
            node.arm(0)
        assert list(step.verify(here)) == []
        return kills


def kept(node: Node) -> list[str]:
    return ReadOnlyNode(node.target(), "main", "here").kept_copies()


def test_a_process_that_does_not_do_what_its_file_says_is_restarted(node: Node) -> None:
    closed = node.config()
    node.registry.read_only = False
    assert AGAIN.preview(node.target()).changes
    do(node, AGAIN, "bbbb")
    assert (node.registry.read_only, node.config()) == (True, closed)
    do(node, OFF, "cccc")
    assert (node.registry.read_only, node.config(), kept(node)) == (False, CONFIG, [])


def test_what_is_closed_is_left_alone(node: Node) -> None:
    process = node.service.state().process
    assert not AGAIN.preview(node.target()).changes
    do(node, AGAIN, "bbbb")
    assert node.service.state().process == process


def test_an_edit_is_taken_over_and_comes_back_open(node: Node) -> None:
    edited = node.config().replace(*EDIT)
    node.edit(edited)
    assert edited_read_only(ReadOnlyNode(node.target(), "main", "here"))
    assert [problem.blocking for problem in OFF.check(node.target())] == [True]
    do(node, AGAIN, "bbbb")
    assert (node.config(), node.registry.read_only) == (edited, True)
    assert not edited_read_only(ReadOnlyNode(node.target(), "main", "here"))
    do(node, OFF, "cccc")
    assert (node.config(), node.registry.read_only, kept(node)) == (CONFIG.replace(*EDIT), False, [])


def test_off_with_repair_opens_an_edited_node_with_the_edit_in_it(node: Node) -> None:
    node.edit(node.config().replace(*EDIT))
    do(node, OPEN, "bbbb")
    assert (node.config(), node.registry.read_only, kept(node)) == (CONFIG.replace(*EDIT), False, [])


def test_an_edit_of_our_own_key_is_left_to_a_person(node: Node) -> None:
    edited = node.config().replace(b"enabled: true", b"enabled:  true")
    assert edited != node.config()
    node.edit(edited)
    for step in (AGAIN, OPEN):
        (problem,) = [one for one in step.check(node.target()) if one.blocking]
        assert "settle it by hand" in problem.hint
    assert (node.config(), len(kept(node))) == (edited, 1)


@pytest.mark.parametrize("edit", [b"", EDIT[1]])
def test_a_node_that_was_opened_by_hand_is_closed_again_with_what_it_had_then(
    node: Node, edit: bytes
) -> None:
    by_hand = CONFIG.replace(EDIT[0], edit) if edit else CONFIG
    node.edit(by_hand)
    node.registry.read_only = False
    do(node, AGAIN, "bbbb")
    assert node.registry.read_only
    do(node, OFF, "cccc")
    assert (node.config(), node.registry.read_only) == (by_hand, False)
    assert len(kept(node)) == (1 if edit else 0)  # the older original is another text: it is not thrown away


def test_killed_at_every_change_of_a_repair_nothing_is_lost(node: Node) -> None:
    node.edit(node.config().replace(*EDIT))
    node.registry.read_only = False
    kills = survive(node, AGAIN, "bbbb")
    assert kills >= 1
    assert node.registry.read_only
    node.edit(node.config().replace(b"# kept by hand", b"# kept by two hands"))
    survive(node, OPEN, "cccc")
    wanted = CONFIG.replace(*EDIT).replace(b"# kept by hand", b"# kept by two hands")
    assert (node.config(), node.registry.read_only, kept(node)) == (wanted, False, [])
