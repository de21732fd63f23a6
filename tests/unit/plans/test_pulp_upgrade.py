"""From how the hosts of a Pulp stand to a plan: what blocks it, and what is done by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.plans.pulp_upgrade import PulpPlan, plan
from ctl.plans.pulp_upgrade_facts import PulpFacts, PulpHost
from ctl.plans.pulp_upgrade_rules import BROKEN_NAME, MIXED_NAME, SKIPPABLE

OLD, NEW = Version("2.24.15"), Version("2.27.14")
READY = PulpHost(
    "server", container=OLD, core=Version("3.73.47"), total=100, services=("api", "content", "worker")
)
LEFT = replace(READY, remaining=40, doable=40, unserved=40, seconds=12.5)
BROKEN = replace(READY, remaining=3, doable=0, unserved=3, hindered={"lost": 2, "manifest-file-missing": 1})
DONE = replace(READY, container=NEW, core=Version("3.105.25"), serves_unprepared=False)


def facts(*hosts: PulpHost, **more: object) -> PulpFacts:
    names = ("server", "proxy1", "proxy2", "proxy3")
    named = tuple(
        replace(host, host=name, role="server" if name == "server" else "proxy")
        for host, name in zip(hosts, names, strict=False)
    )
    made = PulpFacts("katello", NEW, named, "pulpcore 3.105.*", target_serves=False)
    return replace(made, **more)  # type: ignore[arg-type]


def blocks(made: PulpPlan) -> list[tuple[str, str]]:
    return [(one.host, one.name) for one in made.blocked]


def states(made: PulpPlan) -> list[tuple[str, str, str]]:
    return [(row.host, row.component, row.state) for row in made.rows]


def test_a_host_that_is_prepared_may_be_upgraded_and_the_rest_is_by_hand_in_order() -> None:
    made = plan(facts(READY))
    assert (made.blocked, made.pending, made.next, made.roll) == ((), True, "", ("server",))
    assert states(made) == [
        ("server", "packages", "by-hand"),
        ("server", "schema", "to-do"),
        ("server", "content", "done"),
    ]
    steps = made.rows[0].by_hand
    order = [
        next(number for number, one in enumerate(steps) if words in one)
        for words in (
            "backup",
            "regctl service stop katello/server, which is in this order: worker, content, api",
            "install pulp-container 2.27.14 with pulpcore 3.105.*",
            "regctl database migrate up --registry katello --node server",
            "regctl service start katello/server, which is in this order: api, content, worker",
        )
    ]
    assert order == sorted(order)


def test_work_that_is_left_blocks_a_target_that_does_not_serve_it() -> None:
    made = plan(facts(READY, LEFT))
    assert blocks(made) == [("proxy1", "")]
    assert "40 of 100 manifests are not prepared" in made.blocked[0].message
    assert "would fail on 2.27.14" in made.blocked[0].message
    assert made.blocked[0].hint == "regctl content prepare katello --host proxy1 --to 2.27.14"
    assert made.next == "regctl content prepare katello --to 2.27.14"
    assert made.seconds == 12.5
    assert ("server", "packages", "by-hand") in states(made)
    assert ("proxy1", "packages", "blocked") in states(made)
    assert ("proxy1", "content", "blocked") in states(made)


def test_work_that_is_left_does_not_block_a_target_that_serves_it() -> None:
    made = plan(facts(READY, LEFT, BROKEN, target=Version("2.24.16"), target_serves=True))
    assert made.blocked == ()
    assert [row.state for row in made.rows if row.component == "content"] == [
        "done",
        "to-do",
        "not-applicable",
    ]


def test_what_is_lost_anyway_may_be_accepted_by_name_and_work_may_not() -> None:
    assert blocks(plan(facts(BROKEN))) == [("server", BROKEN_NAME)]
    assert "2 lost, 1 manifest-file-missing" in plan(facts(BROKEN)).blocked[0].message
    passed = plan(facts(BROKEN, skips={BROKEN_NAME: "old test images"}))
    assert passed.blocked == ()
    assert [(one.name, why) for one, why in passed.passed] == [(BROKEN_NAME, "old test images")]

    mends = plan(facts(BROKEN, target_repairs=True))
    assert any("a sync with 2.27.14 fetches the text" in note for note in mends.notes)
    assert len(mends.blocked) == 1

    both = replace(BROKEN, remaining=10, doable=7, unserved=10)
    assert blocks(plan(facts(both, skips={BROKEN_NAME: "why"}))) == [("server", "")]


def test_fields_that_stay_empty_block_nothing() -> None:
    """Its text is in the database: the next release serves it, whatever else is missing."""
    empty = replace(READY, remaining=3, doable=0, unserved=0, hindered={"config-not-stored": 3})
    made = plan(facts(empty))
    assert made.blocked == ()
    assert "3 manifests are served, and keep empty fields for ever" in made.notes[0]


def test_a_release_without_the_fields_cannot_be_left_behind_in_one_step() -> None:
    first = replace(READY, container=Version("2.18.1"), remaining=None, unserved=None, can_prepare=False)
    through = replace(first, through="pulpcore 3.73 (pulp-container 2.24)")
    made = plan(facts(through))
    assert [one.message for one in made.blocked] == [
        "server: the way from 2.18.1 to 2.27.14 skips a release: pulpcore 3.73 (pulp-container 2.24)",
        "server: none of its 100 manifests can be prepared by 2.18.1, and pulls of them would fail on "
        "2.27.14",
    ]
    assert plan(facts(first, target=OLD, target_serves=True)).blocked == ()
    assert blocks(plan(facts(replace(first, total=0)))) == []  # there is nothing to lose


def test_what_waits_for_its_own_schema_is_not_called_impossible() -> None:
    made = plan(facts(replace(READY, remaining=None, unserved=None, pending=("container.0039_x",))))
    assert made.blocked[1].message.startswith("server: its 100 manifests can be prepared once its schema")
    assert made.next == "regctl database migrate up --registry katello --node server"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (replace(READY, unreachable="no route"), "cannot be asked: no route"),
        (replace(READY, container=None), "could not be told"),
        (replace(READY, container=Version("2.30.0")), "2.27.14 is older: Pulp has no way back"),
        (replace(READY, history="a release was skipped"), "a release was skipped"),
        (
            replace(READY, newer=("core.0145_x",)),
            "migrated by a newer release than what is installed: core.0145_x",
        ),
        (replace(READY, pending=("core.0131_y",)), "1 migrations of the installed 2.24.15 are not applied"),
    ],
)
def test_what_stands_in_the_way_of_a_host(host: PulpHost, words: str) -> None:
    made = plan(facts(host))
    assert [one.message for one in made.blocked if words in one.message]
    assert not any(one.name for one in made.blocked)
    assert made.next


def test_an_unreachable_host_blocks_and_is_told_apart() -> None:
    made = plan(facts(READY, replace(READY, unreachable="no route")))
    assert [one.unreachable for one in made.blocked] == [True]
    assert ("proxy1", "packages", "unreachable") in states(made)


def test_an_upgrade_that_is_under_way_is_mixed_and_goes_on() -> None:
    made = plan(facts(DONE, READY))
    assert (made.mixed, made.versions, made.roll) == (True, ("2.24.15", "2.27.14"), ("proxy1",))
    assert made.blocked == ()
    assert made.notes[0].startswith("mixed: ")


def test_hosts_that_begin_with_several_releases_and_proxies_ahead_are_passed_over_by_name_only() -> None:
    uneven = facts(READY, replace(READY, container=Version("2.22.13")))
    assert blocks(plan(uneven)) == [("", MIXED_NAME)]
    assert plan(replace(uneven, skips={MIXED_NAME: "the proxy is new"})).blocked == ()
    ahead = plan(facts(READY, DONE))
    assert blocks(ahead) == [("", MIXED_NAME)]
    assert "proxy1 has a newer release than the server server" in ahead.blocked[0].message


def test_packages_are_there_and_the_schema_is_not_migrated() -> None:
    made = plan(facts(replace(DONE, pending=("core.0145_x",), live=("worker 1@a",)), READY))
    assert made.next == "regctl database migrate up --registry katello --node server"
    assert ("server", "schema", "to-do") in states(made)
    assert made.rows[0].note == "still running the release before: worker 1@a"


def test_all_is_done() -> None:
    made = plan(facts(DONE, DONE))
    assert (made.pending, made.next, made.blocked, made.roll, made.notes) == (False, "", (), (), ())
    assert {state for _, _, state in states(made)} == {"done"}


def test_what_was_upgraded_unprepared_fails_now_and_is_told() -> None:
    made = plan(facts(replace(DONE, remaining=5, doable=5, unserved=5)))
    assert "fail now" in made.blocked[0].message
    assert "pulls of 5 manifests fail on 2.27.14: prepare now" in made.notes[0]
    assert made.next == "regctl content prepare katello --to 2.27.14"


def test_a_release_whose_command_stops_is_warned_of() -> None:
    made = plan(facts(replace(LEFT, container=Version("2.24.2"), fixed=False)))
    assert any("stops at an image without a config blob" in note for note in made.notes)


# -- for any hosts ----------------------------------------------------------------------------------

VERSIONS = [Version(text) for text in ("2.18.1", "2.22.13", "2.24.15", "2.26.14", "2.27.14", "2.30.0")]


@st.composite
def any_host(draw: st.DrawFn) -> PulpHost:
    total = draw(st.integers(0, 50))
    remaining = draw(st.none() | st.integers(0, total))
    left = remaining or 0
    return PulpHost(
        draw(st.sampled_from(["a", "b", "c", "d"])),
        draw(st.sampled_from(["server", "proxy"])),
        draw(st.none() | st.sampled_from(VERSIONS)),
        None,
        total,
        remaining,
        draw(st.integers(0, left)),
        None if remaining is None else draw(st.integers(0, left)),
        {},
        draw(st.none() | st.floats(0, 1e5)),
        tuple(draw(st.lists(st.just("core.0001_x"), max_size=2))),
        draw(st.sampled_from(["", "", "contradiction"])),
        through=draw(st.sampled_from(["", "", "2.24"])),
        can_prepare=draw(st.booleans()),
        unreachable=draw(st.sampled_from(["", "", "", "away"])),
    )


any_facts = st.builds(
    lambda hosts, target, serves, skips: PulpFacts(
        "katello",
        target,
        tuple(hosts),
        target_serves=serves,
        skips=dict.fromkeys(skips, "why"),
    ),
    st.lists(any_host(), min_size=1, max_size=4, unique_by=lambda host: host.host),
    st.sampled_from(VERSIONS),
    st.booleans(),
    st.sets(st.sampled_from(SKIPPABLE)),
)


@given(any_facts)
def test_nothing_unblocks_a_target_that_serves_nothing_unprepared_while_work_is_left(
    given_: PulpFacts,
) -> None:
    made = plan(given_)
    if given_.target_serves:
        return
    for host in given_.hosts:
        unknown = host.remaining is None and host.total > 0
        if host.unreachable or host.doable or unknown:
            assert [one for one in made.blocked if one.host == host.host], host
        elif host.remaining and host.unserved:
            found = [one.name for one in (*made.blocked, *(one for one, _ in made.passed))]
            assert BROKEN_NAME in found


@given(any_facts)
def test_who_passes_over_nothing_is_told_everything(given_: PulpFacts) -> None:
    """A skip moves a block to those that were passed over, and changes no other one."""
    bare = plan(replace(given_, skips={}))
    made = plan(given_)
    assert sorted(map(str, bare.blocked)) == sorted(
        map(str, (*made.blocked, *(one for one, _ in made.passed)))
    )
    assert all(one.name in given_.skips for one, _ in made.passed)


@given(any_facts, st.integers(0, 3))
def test_doing_more_work_never_blocks_what_was_free(given_: PulpFacts, which: int) -> None:
    host = given_.hosts[which % len(given_.hosts)]
    if host.remaining is None:
        return
    done = replace(host, remaining=host.remaining - host.doable, doable=0, pending=())
    done = replace(done, unserved=min(done.remaining or 0, host.unserved or 0))
    after = replace(given_, hosts=tuple(done if one is host else one for one in given_.hosts))
    assert {(one.host, one.name, one.unreachable) for one in plan(after).blocked} <= {
        (one.host, one.name, one.unreachable) for one in plan(given_).blocked
    }


@given(any_facts, any_host())
def test_another_host_never_unblocks(given_: PulpFacts, host: PulpHost) -> None:
    more = replace(given_, hosts=(*given_.hosts, replace(host, host="e", role="proxy")))
    if plan(given_).blocked:
        assert plan(more).blocked
