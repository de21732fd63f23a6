"""How health checks are named, evaluated and skipped: one that breaks is one failed check."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.errors import Outcome, RegctlError, UsageError
from ctl.health.checks import CHECKS, NAMES, evaluate, named
from ctl.health.model import HealthCheck, Looker, Seen, Word, worst
from ctl.health.report import check_data, outcome
from ctl.health.surroundings import _skew

LOOKER = cast(Looker, None)
WORDS: tuple[Word, ...] = ("ok", "warned", "failed", "not-applicable")


def check(name: str, *words: Word) -> HealthCheck:
    return HealthCheck(name, "help", lambda looker: [Seen("here", word, word) for word in words])


def broken(error: BaseException) -> HealthCheck:
    def look(looker: Looker) -> Iterable[Seen]:
        yield Seen("here", "ok", "until now")
        raise error

    return HealthCheck("broken", "help", look)


@given(st.lists(st.sampled_from(WORDS)))
def test_the_worst_word_stands_for_the_check_and_nothing_is_never_ok(words: list[Word]) -> None:
    found = worst([Seen("", word, "") for word in words])
    for word in ("failed", "warned", "ok"):
        if word in words:
            assert found == word
            return
    assert found == "not-applicable"


@pytest.mark.parametrize("error", [RegctlError("no"), ValueError("bad"), ZeroDivisionError()])
def test_a_check_that_breaks_is_one_failed_check(error: Exception) -> None:
    found = evaluate(LOOKER, [check("good", "ok"), broken(error), check("also", "warned")])
    assert [(one.name, one.result, one.errored) for one in found] == [
        ("good", "ok", False),
        ("broken", "failed", True),
        ("also", "warned", False),
    ]
    assert "the check itself failed" in found[1].seen[0].message
    assert outcome(found) is Outcome.FAILED


def test_a_check_that_hangs_is_failed_after_its_time() -> None:
    def hang(looker: Looker) -> list[Seen]:
        time.sleep(5)
        return []

    began = time.monotonic()
    found = evaluate(LOOKER, [HealthCheck("slow", "", hang), check("good", "ok")], seconds=0.2)
    assert time.monotonic() - began < 2
    assert [one.result for one in found] == ["failed", "ok"]


def test_a_skipped_check_is_evaluated_shown_and_counts_for_nothing() -> None:
    found = evaluate(LOOKER, [check("bad", "failed"), check("good", "ok")], {"bad"}, "known, ticket 7")
    assert outcome(found) is Outcome.OK
    data: Any = check_data(found)
    assert (data["skipped"], data["failed"], data["ok"]) == (1, 0, 1)
    one = data["checks"][0]
    assert (one["result"], one["would_be"], one["reason"]) == ("skipped", "failed", "known, ticket 7")
    assert one["seen"][0]["message"] == "failed"


def test_exit_words() -> None:
    assert outcome(evaluate(LOOKER, [check("a", "ok"), check("b", "warned")])) is Outcome.WARNING
    assert outcome(evaluate(LOOKER, [check("a", "not-applicable")])) is Outcome.OK


def test_names_are_unique_have_help_and_a_typo_is_an_error_with_the_name_that_was_meant() -> None:
    assert len(set(NAMES)) == len(CHECKS) >= 12
    assert all(len(one.help) > 20 for one in CHECKS)
    assert [one.name for one in named(["clock", "backend", "clock"])] == ["backend", "clock"]
    assert [one.name for one in named([])] == list(NAMES)
    with pytest.raises(UsageError, match='did you mean "storage-space"'):
        named(["storage-spce"])


@pytest.mark.parametrize(
    ("skew", "doubt", "word"),
    [(0.4, 0.6, "ok"), (5.4, 0.6, "ok"), (-7.0, 0.6, "warned"), (75.0, 0.6, "failed"), (62.0, 9.0, "warned")],
)
def test_a_clock_is_judged_by_what_is_certain(skew: float, doubt: float, word: str) -> None:
    assert _skew("far", skew, doubt).word == word
