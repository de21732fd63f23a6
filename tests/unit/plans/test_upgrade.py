"""From facts to a plan: what is done, what is to do, what stands in the way, and the next command."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.engines.distribution_upgrade import SKEW
from ctl.engines.gitlab_upgrade import SKEW as GITLAB
from ctl.plans.upgrade import plan
from ctl.plans.upgrade_facts import DatabaseFacts, Facts, NodeFacts, is_done, way
from ctl.plans.upgrade_rules import SKIPPABLE

TWO, THREE = Version("2.8.2+ds1"), Version("3.1.1")
OLD = NodeFacts(
    "a",
    binary="/usr/bin/docker-registry",
    installed=TWO,
    running=TWO,
    target_binary="/opt/registry",
    target=THREE,
    drains=True,
    config_changes=("redis.addr becomes redis.addrs",),
)
NEW = replace(OLD, binary="/opt/registry", installed=THREE, running=THREE, config_changes=())


def facts(*nodes: NodeFacts, **more: object) -> Facts:
    named = tuple(replace(node, host=host) for node, host in zip(nodes, "abcdef", strict=False))
    return replace(Facts("main", "distribution", named, SKEW), **more)  # type: ignore[arg-type]


def test_what_is_to_do_is_said_for_each_host_and_component() -> None:
    made = plan(facts(OLD, NEW))
    rows = [(row.host, row.component, row.current, row.target, row.state) for row in made.rows]
    assert rows == [
        ("a", "program", "2.8.2+ds1", "3.1.1", "to-do"),
        ("a", "configuration", "adopted", "translated", "to-do"),
        ("b", "program", "3.1.1", "3.1.1", "done"),
        ("b", "configuration", "adopted", "adopted", "done"),
    ]
    assert (made.roll, made.mixed, made.blocked) == (("a",), True, ())
    assert made.next == "regctl upgrade apply main"
    assert any("side by side" in note for note in made.notes)


def test_where_all_is_done_there_is_no_next_command() -> None:
    made = plan(facts(NEW, NEW))
    assert (made.roll, made.next, made.mixed, made.blocked) == ((), "", False, ())


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "site"),
        ({"kind": "systemd", "is_link": True}, "link"),
        ({"kind": "systemd"}, "by-hand"),
        ({"kind": "runit", "is_link": True}, "link"),
        ({"target_binary": "", "installs": True, "target": None}, "in-place"),
        ({"target_binary": "", "installed": THREE}, "in-place"),  # installed by hand, restart to come
        ({"target_binary": "", "target": None}, "by-hand"),
    ],
)
def test_the_way_follows_from_who_names_the_program(changed: dict[str, object], expected: str) -> None:
    assert way(replace(OLD, **changed)) == expected  # type: ignore[arg-type]


def test_what_must_be_done_by_hand_is_said_and_stops_it() -> None:
    made = plan(facts(replace(OLD, kind="systemd")))
    assert made.rows[0].state == "by-hand"
    assert "symbolic link" in made.rows[0].by_hand[0]
    assert "symbolic link" in made.blocked[0].message
    assert made.next == "regctl upgrade plan main"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"target": None}, "is not there"),
        ({"unreachable": "no route"}, "cannot be reached: no route"),
        ({"installed": Version("3.2.0"), "running": Version("3.2.0")}, "older than"),
        ({"config_problems": ("storage.swift: gone",)}, "storage.swift: gone"),
    ],
)
def test_what_stands_in_the_way_of_a_node(changed: dict[str, object], words: str) -> None:
    made = plan(facts(NEW, replace(OLD, **changed), wanted=THREE))  # type: ignore[arg-type]
    assert [words in one.message for one in made.blocked] == [True]
    assert made.rows[2].state in ("blocked", "unreachable")


def test_nobody_says_the_target() -> None:
    made = plan(facts(replace(OLD, target=None, target_binary="/opt/r")))
    assert "nobody says which version" in made.blocked[0].message


def test_another_version_than_was_asked_for_is_refused() -> None:
    made = plan(facts(OLD, wanted=Version("3.0.0")))
    assert "/opt/registry is version 3.1.1, not 3.0.0" in made.blocked[0].message


def test_a_pair_that_nobody_knows_may_be_skipped_by_name() -> None:
    made = plan(facts(replace(OLD, running=Version("2.7.1"), installed=Version("2.7.1"))))
    assert [one.name for one in made.blocked] == ["unknown-skew"]
    assert made.next == "regctl upgrade apply main"


@pytest.mark.parametrize(("found", "blocked"), [(0, []), (2, [""]), (None, ["dropped-manifests"])])
def test_images_that_the_target_does_not_serve_stop_it(found: int | None, blocked: list[str]) -> None:
    made = plan(facts(OLD, dropped=("schema1",), dropped_found=found, dropped_example="a/b@sha256:1"))
    assert [one.name for one in made.blocked] == blocked
    if found:
        assert "2 schema1 manifests are stored, such as a/b@sha256:1" in made.blocked[0].message


def test_the_database_may_be_ahead_of_the_target() -> None:
    four = Version("4.32.0")
    node = replace(OLD, installed=Version("4.31.0"), running=Version("4.31.0"), target=four)
    ahead = DatabaseFacts("gitlab", newer=("2026_x",), reason="newer")
    made = plan(replace(facts(node, skew=GITLAB, database=ahead), engine="gitlab"))
    assert "migrated by a newer program than the target: 2026_x" in made.blocked[0].message
    left = DatabaseFacts("gitlab", pre=("1",), post=("2",), unfinished=("0",))
    made = plan(facts(node, skew=GITLAB, database=left))
    assert [one.name for one in made.blocked] == ["unfinished-migrations"]
    assert made.rows[-1].note == "1 migrations before the nodes, 1 after them"


def test_a_package_that_comes_too_late_for_the_migrations_is_refused() -> None:
    node = replace(OLD, target_binary="", target=None, installs=True)
    made = plan(facts(node, wanted=THREE, database=DatabaseFacts("gitlab", reason="not there yet")))
    assert "comes too late" in made.blocked[0].message


def test_seconds_are_only_added_up_where_all_are_known() -> None:
    known, unknown = replace(OLD, seconds=3.0), replace(OLD, seconds=None)
    assert plan(facts(known, known)).seconds == 6.0
    assert plan(facts(known, unknown)).seconds is None


_versions = st.sampled_from([None, TWO, Version("2.8.3"), Version("3.0.0"), THREE, Version("2.7.0")])
_nodes = st.builds(
    NodeFacts,
    host=st.just("x"),
    kind=st.sampled_from(["process", "systemd", "runit"]),
    binary=st.sampled_from(["/usr/bin/docker-registry", "/opt/registry"]),
    is_link=st.booleans(),
    installed=_versions,
    running=_versions,
    target_binary=st.sampled_from(["", "/opt/registry"]),
    target=_versions,
    installs=st.booleans(),
    unreachable=st.sampled_from(["", "", "", "dead"]),
    config_problems=st.sampled_from([(), (), ("wrong",)]),
)


@given(st.lists(_nodes, min_size=1, max_size=4), _versions)
def test_a_plan_never_begins_what_it_cannot_end(nodes: list[NodeFacts], wanted: Version | None) -> None:
    given_facts = facts(*nodes, wanted=wanted)
    made = plan(given_facts)
    by_host = {node.host: node for node in given_facts.nodes}
    fatal = [one for one in made.blocked if one.name not in SKIPPABLE]
    assert set(made.roll) <= set(by_host)
    if any(node.unreachable for node in given_facts.nodes):
        assert any(one.unreachable for one in fatal)
    for host in made.roll:
        node = by_host[host]
        assert not is_done(node, wanted)
        assert not node.unreachable
        if not fatal:
            assert way(node) != "by-hand"
            assert node.target is not None or node.installs
            assert not node.config_problems
    if fatal:
        assert not made.next or " plan " in made.next
    if not made.roll and not made.blocked:
        assert made.next == ""
    assert len({row.host for row in made.rows}) == len(by_host)
