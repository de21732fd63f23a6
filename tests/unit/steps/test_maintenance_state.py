"""On, off or half: what the records say against what is seen, for every combination."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.steps.maintenance_record import Maintenance
from ctl.steps.maintenance_state import NodeFacts, RunFacts, TimerFacts, judge

RECORD = Maintenance(
    "main", "r-maintenance-on-1", "2026-01-01T00:00:00Z", "ops", "disk", {"a": "writable", "b": "writable"}
)
CLOSED = NodeFacts("a", "read-only", "read-only", by_us=True)
OPEN = NodeFacts("a", "writable", "writable")
PAUSED = TimerFacts("a/systemd/x.timer", "a", "x.timer", "systemd", "stopped", held=True, found="running")
ON_REPAIR = "regctl maintenance on main --repair"


def on_b(node: NodeFacts) -> NodeFacts:
    return replace(node, host="b")


def kinds(*arguments: Any, **options: Any) -> list[str]:
    return [finding.kind for finding in judge("main", *arguments, **options).findings]


def test_wholly_on_and_wholly_off() -> None:
    assert judge("main", RECORD, [CLOSED, on_b(CLOSED)], [PAUSED]).state == "on"
    awake = replace(PAUSED, standing="running", held=False, found=None)
    assert judge("main", None, [OPEN, on_b(OPEN)], [awake]).state == "off"
    stopped = replace(CLOSED, probe="stopped")
    assert judge("main", RECORD, [stopped, on_b(CLOSED)], []).state == "on"


@pytest.mark.parametrize(
    ("node", "kind", "repair"),
    [
        (OPEN, "node-writable", ON_REPAIR),
        (replace(OPEN, probe="stopped"), "node-writable", ON_REPAIR),
        (replace(CLOSED, probe="writable"), "node-disagrees", ON_REPAIR),
        (replace(CLOSED, probe="unproven", detail="401"), "node-unproven", "regctl service tail main/a"),
        (replace(CLOSED, edited=True), "node-edited", ON_REPAIR),
        (replace(CLOSED, by_us=False), "node-closed-otherwise", ON_REPAIR),
        (
            NodeFacts("a", "unknown", "unknown", detail="no route"),
            "node-unknown",
            "regctl maintenance status",
        ),
    ],
)
def test_each_half_of_a_node_has_its_name_and_its_repair(node: NodeFacts, kind: str, repair: str) -> None:
    found = judge("main", RECORD, [node, on_b(CLOSED)], [PAUSED])
    assert (found.state, [one.kind for one in found.findings]) == ("half", [kind])
    assert repair in found.findings[0].repair
    assert found.findings[0].where == "main/a"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"standing": "running"}, "timer-running"),
        ({"standing": "twice"}, "timer-twice"),
        ({"standing": "absent"}, "timer-gone"),
        ({"standing": "unknown"}, "timer-unknown"),
        ({"changed": True}, "timer-changed"),
        ({"standing": "running", "held": False, "found": None}, "timer-running"),
    ],
)
def test_each_half_of_a_timer(change: dict[str, Any], kind: str) -> None:
    assert kinds(RECORD, [CLOSED, on_b(CLOSED)], [replace(PAUSED, **change)]) == [kind]


def test_records_and_effects_without_each_other() -> None:
    awake = replace(PAUSED, standing="running")
    found = judge("main", RECORD, [OPEN, on_b(OPEN)], [awake])
    assert [one.kind for one in found.findings] == ["record-without-effect"]
    assert "off main --repair" in found.findings[0].repair
    found = judge("main", None, [CLOSED, on_b(OPEN)], [PAUSED])
    assert [one.kind for one in found.findings] == ["effect-without-record"] * 2
    assert {one.repair for one in found.findings} == {"regctl maintenance off main --repair"}
    by_others = replace(CLOSED, by_us=False)
    assert judge("main", None, [by_others, on_b(by_others)], []).state == "off"
    aside = replace(PAUSED, held=False, found=None, left_aside=True)
    assert kinds(None, [OPEN, on_b(OPEN)], [aside]) == ["effect-without-record"]


def test_a_run_in_its_middle_and_a_damaged_record_are_halves() -> None:
    cut = RunFacts("20260101T000000Z-maintenance-on-aaaa", "maintenance-on", at_work=False)
    found = judge("main", None, [OPEN, on_b(OPEN)], [], [cut])
    assert (found.state, found.findings[0].repair) == ("half", f"regctl run resume {cut.id}")
    assert judge("main", None, [OPEN], [], [replace(cut, at_work=True)]).state == "half"
    assert kinds(None, [OPEN], [], damaged="x.json is damaged") == ["record-damaged"]


def test_what_was_closed_before_is_no_half_when_it_stays_so() -> None:
    record = replace(RECORD, nodes={"a": "read-only", "b": "read-only"})
    by_others = replace(CLOSED, by_us=False)
    assert judge("main", record, [by_others, on_b(by_others)], []).state == "on"
    assert kinds(record, [OPEN, on_b(by_others)], []) == ["node-writable"]


NODES = st.builds(
    NodeFacts,
    st.just("a"),
    st.sampled_from(["read-only", "writable", "unreadable", "unknown"]),
    st.sampled_from(["read-only", "writable", "stopped", "unproven", "unreachable", "unknown"]),
    st.booleans(),
    st.booleans(),
)
TIMERS = st.builds(
    TimerFacts,
    st.just("k"), st.just("a"), st.just("x"), st.just("command"),
    st.sampled_from(["running", "stopped", "absent", "twice", "unknown"]),
    st.booleans(), st.sampled_from([None, "running", "stopped"]), st.booleans(), st.booleans(),
)  # fmt: skip


@given(st.lists(NODES, max_size=3), st.lists(TIMERS, max_size=3), st.booleans())
def test_on_means_that_nothing_can_be_pushed_and_nothing_works_by_itself(
    nodes: list[NodeFacts], timers: list[TimerFacts], recorded: bool
) -> None:
    found = judge("main", RECORD if recorded else None, nodes, timers)
    assert (found.state == "half") == bool(found.findings)
    assert all(finding.repair and finding.message for finding in found.findings)
    if found.state == "on":
        assert recorded
        assert all(node.config == "read-only" and node.probe in ("read-only", "stopped") for node in nodes)
        assert not any(timer.standing == "running" for timer in timers)
    if found.state == "off":
        assert not recorded
        assert not any(node.by_us and node.config == "read-only" for node in nodes)
        assert not any(timer.held or timer.left_aside for timer in timers)
