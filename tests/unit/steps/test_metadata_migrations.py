"""What follows from the bookkeeping and the program's plan, without either."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.catalog.metadata_schema import AppliedMigration, InvalidIndex, SchemaState
from ctl.engines.metadata import PendingMigrations, ProgramFailure
from ctl.errors import Outcome
from ctl.report.model import Report
from ctl.steps import metadata_migrations as looking
from ctl.steps.metadata_migrations import MetadataMigrations
from ctl.steps.metadata_reports import detailed, joined
from ctl.testing.world import MemoryWorld

ids = st.lists(st.from_regex(r"20\d{12}_[a-z]{1,8}", fullmatch=True), unique=True, max_size=8)


def index(**more: Any) -> InvalidIndex:
    values = {
        "schema": "partitions",
        "name": "index_p_1",
        "table": "partitions.p_1",
        "parent": "",
        "partitioned": False,
        "building": False,
        "definition": "",
        **more,
    }
    return InvalidIndex(**values)


def state(
    pre: list[str] | None = None, post: list[str] | None = None, indexes: tuple[InvalidIndex, ...] = ()
) -> SchemaState:
    def rows(found: list[str] | None) -> tuple[AppliedMigration, ...] | None:
        return None if found is None else tuple(AppliedMigration(one, None) for one in found)

    return SchemaState(rows(pre), rows(post), indexes, False, False, "15.18")


def found(schema: SchemaState, pending: PendingMigrations | None, **more: Any) -> MetadataMigrations:
    return MetadataMigrations("main", "gitlab", "here", schema, pending, **more)


@given(ids, ids)
def test_a_gap_is_what_is_pending_below_the_newest_applied_one(
    applied: list[str], pending: list[str]
) -> None:
    left = tuple(one for one in sorted(pending) if one not in applied)
    seen = found(state(sorted(applied), []), PendingMigrations(left, ()))
    assert set(seen.gaps) == {one for one in left if applied and one < max(applied)}
    assert seen.up_to_date is (not left)
    problems = [problem.message for problem in looking.migration_problems(seen)]
    assert len(problems) == (1 if seen.gaps else 0)


def test_each_kind_has_gaps_of_its_own() -> None:
    """A post-deployment migration may be older than the newest pre-deployment one: that is no gap."""
    schema = state(["20250000000000_new"], ["20230000000000_old"])
    assert found(schema, PendingMigrations((), ("20240000000000_between",))).gaps == ()


def test_nobody_knows_is_neither_yes_nor_no() -> None:
    assert found(state(), None).up_to_date is None
    fresh = found(state(), None, unnamed=("pre", "post"))
    assert (fresh.up_to_date, fresh.complete) == (False, False)
    half = found(state(["1"]), PendingMigrations(), unnamed=("post",))
    assert (half.up_to_date, half.complete) == (False, False)
    assert found(state(["1"], []), PendingMigrations()).up_to_date is True


def test_a_newer_database_and_a_silent_one_are_told_apart() -> None:
    newer = found(
        state(["1"]), None, failure=ProgramFailure("newer-database", "x", "", ""), unknown=("2099_thing",)
    )
    (problem,) = looking.migration_problems(newer)
    assert "2099_thing" in problem.message
    assert problem.outcome is Outcome.REFUSED
    silent = found(state(["1"]), None, failure=ProgramFailure("refused", "nobody listens", "look", ""))
    (problem,) = looking.migration_problems(silent)
    assert problem.outcome is Outcome.UNREACHABLE


def test_an_index_that_is_being_built_is_no_finding() -> None:
    schema = state([], [], (index(building=True),))
    assert list(looking.index_problems(schema, "gitlab")) == []
    (problem,) = looking.index_problems(state([], [], (index(parent="public.whole"),)), "gitlab")
    assert "REINDEX INDEX CONCURRENTLY partitions.index_p_1" in problem.hint
    assert "ALTER INDEX public.whole ATTACH PARTITION partitions.index_p_1" in problem.hint
    assert problem.name == "invalid-indexes"


def test_a_database_that_several_registries_share_is_one() -> None:
    def registry(engine: str, database: str | None) -> SimpleNamespace:
        return SimpleNamespace(engine=engine, database=database)

    site = SimpleNamespace(
        registries={
            "a": registry("gitlab", "one"),
            "b": registry("distribution", "copy"),
            "c": registry("gitlab", "one"),
            "d": registry("gitlab", None),
            "e": registry("gitlab", "two"),
        }
    )
    assert looking.metadata_registries(cast(Any, site)) == {"one": ("a", "c"), "two": ("e",)}


@pytest.mark.parametrize(("other", "warned"), [("4.33.0", True), ("4.32.0", False), ("4.31.9", False)])
def test_a_newer_program_on_another_node_is_pointed_out(other: str, warned: bool) -> None:
    nodes = (SimpleNamespace(host="here"), SimpleNamespace(host="there"))
    world = MemoryWorld(
        SimpleNamespace(registries={"main": SimpleNamespace(nodes=nodes)}),
        versions={("main", "here"): Version("4.32.0"), ("main", "there"): Version(other)},
    )
    problems = list(looking.newer_programs(cast(Any, world), "main", "here"))
    assert [("there" in one.message, one.blocking) for one in problems] == [(True, False)] * warned


def test_reports_of_several_databases_become_one_with_the_worst_outcome() -> None:
    good = Report("x", Outcome.OK, {"databases": {"a": {}}})
    waiting = Report("x", Outcome.PENDING, {"databases": {"b": {}}}, hints=("h",))
    one = joined("x", [good, waiting, Report("x", Outcome.PENDING, {"databases": {"c": {}}}, hints=("h",))])
    assert (one.outcome, one.hints) == (Outcome.PENDING, ("h",))
    assert one.data == {"databases": {"a": {}, "b": {}, "c": {}}}
    assert detailed(one, True).exit_code == 4
    assert detailed(one, False).exit_code is None
    assert detailed(good, True).exit_code is None
