"""Which versions go side by side, as properties of the table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.engines.distribution_upgrade import SKEW as DISTRIBUTION
from ctl.engines.gitlab_upgrade import SKEW as GITLAB
from ctl.skew import Skew, release_of, step, together

numbers = st.integers(0, 6)
versions = st.builds(lambda a, b, c: Version(f"{a}.{b}.{c}"), numbers, numbers, numbers)
tables = st.sampled_from([DISTRIBUTION, GITLAB, ()])


@given(tables, versions)
def test_one_version_alone_is_always_right(table: tuple[Skew, ...], version: Version) -> None:
    assert together(table, [version, version]).allowed
    assert step(table, version, version).allowed


@given(tables, st.lists(versions, max_size=4))
def test_the_order_says_nothing(table: tuple[Skew, ...], found: list[Version]) -> None:
    assert together(table, found) == together(table, reversed(found))


@given(tables, st.lists(versions, min_size=1, max_size=4), versions)
def test_one_more_version_never_makes_a_mixture_right(
    table: tuple[Skew, ...], found: list[Version], more: Version
) -> None:
    if together(table, [*found, more]).allowed:
        assert together(table, found).allowed


@given(tables, versions, versions)
def test_down_is_only_within_a_minor_version(
    table: tuple[Skew, ...], current: Version, target: Version
) -> None:
    judged = step(table, current, target)
    if target < current and judged.allowed:
        assert target.release[:2] == current.release[:2]
    if target < current and not judged.allowed:
        assert judged.known


@given(tables, versions, versions)
def test_up_is_what_may_serve_together(table: tuple[Skew, ...], current: Version, target: Version) -> None:
    if target > current:
        assert step(table, current, target).allowed is together(table, [current, target]).allowed


def test_2_8_and_3_go_together_and_2_7_is_not_known() -> None:
    seen = together(DISTRIBUTION, [Version("2.8.2+ds1"), Version("3.1.1")])
    assert seen.allowed
    assert "collect no garbage" in seen.why
    unknown = together(DISTRIBUTION, [Version("2.7.1"), Version("3.1.1")])
    assert (unknown.allowed, unknown.known) == (False, False)


def test_a_row_may_forbid() -> None:
    row = Skew(">=1,<2", ">=2,<3", together=False, why="two formats")
    judged = together((row,), [Version("1.5"), Version("2.0")])
    assert (judged.allowed, judged.known) == (False, True)
    assert "two formats" in judged.why


def test_what_a_distributor_adds_is_no_other_version() -> None:
    assert release_of(Version("2.8.2+ds1")) == Version("2.8.2")
