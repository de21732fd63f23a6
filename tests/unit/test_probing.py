"""Many questions at once; one that hangs holds up nothing for long."""

from __future__ import annotations

import threading
import time

from ctl.errors import UnreachableError
from ctl.probing import NoAnswer, ask


def test_answers_come_back_by_name() -> None:
    def refuse() -> None:
        raise UnreachableError("no route")

    def crash() -> None:
        raise KeyError("x")

    found = ask({"one": lambda: 1, "none": lambda: None, "refused": refuse, "crashed": crash}, 5)
    assert found == {
        "one": 1,
        "none": None,
        "refused": NoAnswer("no route"),
        "crashed": NoAnswer("KeyError: 'x'"),
    }


def test_what_takes_too_long_is_left_behind() -> None:
    never = threading.Event()
    began = time.monotonic()
    found = ask(
        {"quick": lambda: "here", "slow": lambda: never.wait(30), "slower": lambda: never.wait(30)}, 0.2
    )
    assert time.monotonic() - began < 5
    assert found == {
        "quick": "here",
        "slow": NoAnswer("no answer within 0.2 s"),
        "slower": NoAnswer("no answer within 0.2 s"),
    }
    never.set()


def test_all_are_asked_at_the_same_time() -> None:
    barrier = threading.Barrier(5, timeout=5)
    found = ask({number: barrier.wait for number in range(5)}, 10)
    assert sorted(found.values()) == [0, 1, 2, 3, 4]
