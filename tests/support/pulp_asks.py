"""Several questions to one Pulp in one start of its manager, which is most of what each of them takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ctl.engines.pulp import answers, question
from tests.support.pulp import PulpUnderTest

Ask = tuple[str, dict[str, object]]  # the program, and what it is asked
_ONE = """
try:
    exec(compile(TEXT, "asked", "exec"), {"__name__": "asked"})
except SystemExit as end:
    print(__import__("json").dumps({"regctl": "exit", "code": end.code or 0}), flush=True)
"""


def ask_several(pulp: PulpUnderTest, *asks: Ask | str) -> list[tuple[int, dict[str, Any]]]:
    """Return exit code and last answer of each question; a text between them is Python that is run there."""
    parts = []
    for one in asks:
        if isinstance(one, str):
            parts.append(one)
            continue
        text = question(pulp.node(), one[0], one[1]).stdin
        assert isinstance(text, bytes)
        parts.append(f"TEXT = {text.decode()!r}\n{_ONE}")
    words = ("shell", "-c", "import sys; exec(compile(sys.stdin.read(), 'test', 'exec'), {})")
    done = pulp.call(*words, stdin="\n".join(parts).encode())
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    found: list[tuple[int, dict[str, Any]]] = []
    last: dict[str, Any] = {}
    for answer in answers(done.stdout):
        if answer["regctl"] == "exit":
            found.append((int(answer["code"]), last))
        last = answer
    return _all_of(found, [one for one in asks if not isinstance(one, str)])


def _all_of(
    found: list[tuple[int, dict[str, Any]]], asked: Sequence[Ask]
) -> list[tuple[int, dict[str, Any]]]:
    assert len(found) == len(asked), json.dumps(found, default=str)
    return found
