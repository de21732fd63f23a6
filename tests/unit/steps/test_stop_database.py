"""StopDatabase: who is at work in it, and who has only just gone."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from ctl.steps import database_service
from ctl.steps.database_service import StopDatabase

Sessions = list[tuple[str, int]]


def problems(*looks: Sessions) -> list[str]:
    """What the check says of a running database with these sessions at each look; the last look stays."""
    waiting = list(looks)

    def rows(_query: str) -> Sessions:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    database = SimpleNamespace(
        embedded=True,
        status=lambda: SimpleNamespace(state="running"),
        connect=lambda *, read_only: nullcontext(SimpleNamespace(rows=rows)),
    )
    here: Any = SimpleNamespace(world=SimpleNamespace(database=lambda _name: database))
    return [problem.message for problem in StopDatabase(database="metadata").check(here)]


def test_nobody_is_in_it() -> None:
    assert problems([]) == []


def test_a_session_that_has_just_ended_stops_nothing() -> None:
    assert problems([("regctl", 1)], [("regctl", 1)], []) == []


def test_sessions_that_last_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_service, "SETTLE", 0.1)
    assert problems([("regctl", 1)], [("", 2), ("psql", 1)]) == [
        "database metadata is in use: 2 session(s) of an unnamed program",
        "database metadata is in use: 1 session(s) of psql",
    ]
