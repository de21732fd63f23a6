"""The sixteen faults that this tool exists not to have: each has a test that is named after it."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"^\s*def test_fault_(\d\d)_\w+", re.MULTILINE)


def named(text: str) -> set[int]:
    return {int(number) for number in NAMED.findall(text)}


def test_the_look_tells_a_test_from_a_mention() -> None:
    assert named("def test_fault_07_it_runs() -> None:\n# test_fault_08_nothing\n") == {7}


def test_fault_16_every_fault_has_a_test_named_after_it() -> None:
    found: set[int] = set()
    for file in TESTS.rglob("test_*.py"):
        found |= named(file.read_text())
    assert found == set(range(1, 17))
