"""When preparing beforehand is not needed: by what it saves of downtime, and by what comes next."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.steps.content_survey import HostSurvey
from ctl.steps.content_worth import worth

OLD = HostSurvey(
    "server", "server", Version("2.24.15"), mode="chunks", total=100, remaining=100, seconds_each=1
)
HALF = replace(OLD, seconds_each=9.0)  # 15 minutes


@pytest.mark.parametrize(
    ("surveys", "needed"),
    [
        ([HALF], False),
        ([HALF, replace(HALF, host="proxy")], True),  # 30 minutes, one after the other
        ([HALF, replace(HALF, host="proxy", remaining=99, total=99)], False),
        ([replace(HALF, remaining=0)], True),  # the recipe itself says that nothing is left
        ([replace(HALF, unreachable="away")], True),
        ([replace(HALF, seconds_each=None)], True),
        ([replace(HALF, container=Version("2.27.14"))], True),  # pulls of these fail now
        ([replace(HALF, container=Version("2.26.19"))], False),
        ([replace(HALF, container=Version("2.26.14"))], True),
    ],
)
def test_half_an_hour_is_the_line(surveys: list[HostSurvey], needed: bool) -> None:
    found = worth(surveys, 30)
    assert found.needed is needed
    assert found.why.startswith("not needed beforehand: it would save about") is not needed


@pytest.mark.parametrize(
    ("to", "although", "needed"),
    [
        ("2.24.20", False, False),
        ("2.26.15", False, False),
        ("2.26.14", False, True),
        ("2.25.0", False, True),
        ("2.27.14", False, True),
        (None, True, True),
    ],
)
def test_what_comes_next_and_who_asks_outweigh_it(to: str | None, although: bool, needed: bool) -> None:
    assert worth([OLD], 30, to=Version(to) if to else None, although_short=although).needed is needed


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=6), st.integers(0, 200))
def test_all_hosts_count_together(counts: list[int], minutes: int) -> None:
    surveys = [
        replace(OLD, host=f"h{number}", remaining=count, total=count) for number, count in enumerate(counts)
    ]
    assert worth(surveys, minutes).needed is (sum(counts) >= minutes * 60)
