"""Estimates come from what was measured, the newest first; nothing is made up."""

from __future__ import annotations

from ctl.recipes.model import StepRecord
from ctl.steps.upgrade_history import earlier_steps, migration_seconds, node_seconds


def took(step: str, host: str, seconds: int, result: str = "changed") -> StepRecord:
    end = f"2026-01-01T00:00:{seconds:02d}Z"
    return StepRecord("1", step, step, host, result, "", "2026-01-01T00:00:00Z", end)  # type: ignore[arg-type]


def test_a_roll_is_the_sum_of_its_steps() -> None:
    run = [took("StopService", "a", 2), took("StartNode", "a", 3), took("StartNode", "b", 9)]
    assert node_seconds([run], "a") == 5.0
    assert node_seconds([run], "b") == 9.0


def test_a_roll_before_a_newer_restart_counts_more() -> None:
    runs = [[took("RestartNode", "a", 1)], [took("RestartNode", "a", 7)], [took("StartNode", "a", 4)]]
    assert node_seconds(runs, "a") == 4.0
    assert node_seconds(runs[:2], "a") == 1.0
    assert node_seconds(runs, "b") is None


def test_a_migration_that_applied_nothing_tells_nothing() -> None:
    idle, real = [took("MigrateMetadata", "", 1, "ok")], [took("MigrateMetadata", "", 8)]
    assert migration_seconds([idle, real]) == 8.0
    assert migration_seconds([idle]) is None


def test_no_journal_is_no_error(tmp_path: object) -> None:
    assert earlier_steps(f"{tmp_path}/none", "main") == []
