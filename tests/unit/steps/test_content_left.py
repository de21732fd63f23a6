"""What a survey says about preparing a host: what stands in the way, what is left, how long it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from packaging.version import Version

from ctl.errors import Outcome
from ctl.steps.content_left import estimate, hindrances, left_told, nothing_to_do
from ctl.steps.content_survey import HostSurvey

READY = HostSurvey(
    "server",
    "server",
    Version("2.24.15"),
    Version("3.73.47"),
    "chunks",
    total=1000,
    remaining=100,
    startup=2.0,
    seconds_each=0.01,
)


def test_nothing_stands_in_the_way_of_a_host_that_is_ready() -> None:
    assert list(hindrances(READY, "chunks")) == []
    broken = replace(READY, hindered={"lost": 3, "config-not-stored": 2})
    assert list(hindrances(broken, "chunks")) == []  # the others are done all the same


@pytest.mark.parametrize(
    ("changes", "way", "outcome", "words"),
    [
        ({"unreachable": "no answer"}, "chunks", Outcome.UNREACHABLE, "no answer"),
        ({"remaining": None}, "chunks", Outcome.REFUSED, "older than its code"),
        ({"pending": ("container.0042",)}, "chunks", Outcome.REFUSED, "older than its code"),
        ({"mode": "none"}, "chunks", Outcome.REFUSED, "no command for old content"),
        ({"preparing": True}, "chunks", Outcome.LOCKED, "being prepared now"),
        ({"hindered": {"lost": 3}}, "whole", Outcome.REFUSED, "may lose content"),
    ],
)
def test_what_stands_in_the_way_is_said_with_what_to_do(
    changes: dict[str, Any], way: str, outcome: Outcome, words: str
) -> None:
    [problem] = hindrances(replace(READY, **changes), way)
    assert (problem.blocking, problem.outcome) == (True, outcome)
    assert words in problem.message
    assert problem.hint


def test_a_cleanup_is_waited_for_and_stops_nothing() -> None:
    [problem] = hindrances(replace(READY, cleanups=1), "chunks")
    assert (problem.blocking, "begins after that" in problem.message) == (False, True)


def test_a_host_that_is_done_is_in_nobodys_way() -> None:
    done = replace(READY, remaining=0, preparing=True, pending=("core.0100",), mode="none")
    assert list(hindrances(done, "chunks")) == []
    assert nothing_to_do(done) == "nothing is left to do"


def test_what_cannot_be_done_is_named_with_its_reasons() -> None:
    one = replace(READY, remaining=3, hindered={"lost": 2, "config-not-stored": 1})
    assert nothing_to_do(one) == "nothing can be done: 3 manifests are left (1 config-not-stored; 2 lost)"
    left = [{"digest": f"sha256:{number}", "why": "lost"} for number in range(7)]
    assert left_told(7, left) == (
        "7 manifests are left (7 lost): sha256:0, sha256:1, sha256:2, sha256:3, sha256:4 and others"
    )
    assert left_told(1, left[:1]) == "1 manifest is left (1 lost): sha256:0"


def test_a_limit_of_the_rate_makes_it_longer_and_never_shorter() -> None:
    free = READY.estimated_seconds
    assert free is not None
    assert estimate(READY, 0.0) == free
    assert estimate(READY, 1000.0) == free
    assert estimate(READY, 10.0) == 12.0  # a start of the manager, then 100 at 10 a second
    assert estimate(replace(READY, remaining=0), 10.0) == 0.0
    assert estimate(replace(READY, seconds_each=None), 10.0) is None
