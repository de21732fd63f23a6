"""Which jobs of ours may be at work: the last one on each host, unless it came to its end."""

from __future__ import annotations

from typing import Any

import pytest

from ctl.recipes import runs
from ctl.recipes.state import Progress, RunState
from ctl.steps.abort_content import abort_recipe, at_work

STEP = "ctl.steps.prepare_content:PrepareContent"


class World:
    state_dir = "/nowhere"


def state(run: str, *jobs: dict[str, Any], word: str = "failed") -> RunState:
    found = RunState(id=run, state=word)
    for number, notes in enumerate(jobs, 1):
        found.progress[f"1.r{number}.1"] = Progress("failed", notes=notes, step=STEP)
    return found


def notes(host: str, job: str, **more: object) -> dict[str, Any]:
    return {"host": host, "job": job, "pulp": "main", **more}


@pytest.fixture
def journals(monkeypatch: pytest.MonkeyPatch) -> dict[str, RunState]:
    found: dict[str, RunState] = {}
    monkeypatch.setattr(runs, "ids", lambda folder: sorted(found))
    monkeypatch.setattr(runs, "open_runs", lambda folder: [one for one in found.values() if not one.closed])
    monkeypatch.setattr(runs, "load", lambda folder, run: found[run])
    return found


def test_the_last_one_on_each_host_counts(journals: dict[str, RunState]) -> None:
    journals["a1"] = state("a1", notes("server", "j1"), notes("proxy1", "j2"))
    journals["a2"] = state("a2", notes("server", "j3"), word="open")
    found = at_work(World(), "main")  # type: ignore[arg-type]
    assert [(one.host, one.job, one.run, one.open) for one in found] == [
        ("server", "j3", "a2", True),
        ("proxy1", "j2", "a1", False),
    ]
    assert [one.job for one in at_work(World(), "main", ["proxy1"])] == ["j2"]  # type: ignore[arg-type]


def test_one_that_came_to_its_end_ends_what_was_before_it(journals: dict[str, RunState]) -> None:
    journals["a1"] = state("a1", notes("server", "j1"))
    journals["a2"] = state("a2", notes("server", "j2", ended={"how": "done"}), word="done")
    assert at_work(World(), "main") == []  # type: ignore[arg-type]
    journals["a3"] = state("a3", notes("server", "j3"))
    assert [one.job for one in at_work(World(), "main")] == ["j3"]  # type: ignore[arg-type]


def test_another_pulp_and_other_steps_are_none_of_it(journals: dict[str, RunState]) -> None:
    journals["a1"] = state("a1", {**notes("server", "j1"), "pulp": "other"})
    other = state("a2")
    other.progress["1"] = Progress("failed", notes=notes("server", "j2"), step="x:RunProgram")
    journals["a2"] = other
    assert at_work(World(), "main") == []  # type: ignore[arg-type]


def test_the_recipe_ends_all_of_them_side_by_side_whatever_fails(journals: dict[str, RunState]) -> None:
    journals["a1"] = state("a1", notes("server", "j1"), notes("proxy1", "j2"))
    recipe = abort_recipe("main", at_work(World(), "main"))  # type: ignore[arg-type]
    [across] = recipe.items
    assert [row.host for row in across.rows] == ["server", "proxy1"]  # type: ignore[union-attr]
    assert (across.at_once, across.max_fail) == (2, 2)  # type: ignore[union-attr]
    assert recipe.resources == ("content-abort/main",)  # not what the run that it ends has locked
