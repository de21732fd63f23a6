"""What enable-db says at its end."""

from __future__ import annotations

from ctl.errors import Outcome
from ctl.recipes.model import Problem, RunReport, StepRecord
from ctl.steps.enable_report import enable_report, finish_report, window_seconds


def record(step: str, phase: str = "apply", ended: str = "", **data: int | str) -> StepRecord:
    return StepRecord(
        "1",
        step,
        step,
        "here",
        "changed",
        phase=phase,  # type: ignore[arg-type]
        ended_at=ended,
        data=data,
    )


def run(*steps: StepRecord, state: str = "done", outcome: Outcome = Outcome.CHANGED) -> RunReport:
    return RunReport("run-1", "enable-db", state, outcome, steps)  # type: ignore[arg-type]


WINDOW = (
    record("SwitchWindow", "apply", "2026-01-01T00:00:02.500000Z"),
    record("SwitchWindow", "apply", "2026-01-01T00:00:01Z"),
    record("SwitchWindow", "leave", "2026-01-01T00:00:11Z"),
    record("SwitchWindow", "leave", "2026-01-01T00:00:12.250000Z"),
)


def test_the_window_is_from_the_first_node_closed_to_the_last_one_opened() -> None:
    assert window_seconds(run(*WINDOW)) == 11.25
    assert window_seconds(run(WINDOW[0])) == 0.0
    assert window_seconds(run()) == 0.0


def test_fault_14_a_good_end_asks_for_a_backup_of_both_and_says_what_is_left_to_do() -> None:
    proof = record("ProveBackend", backend="database", nodes_proved=2, tags=7, repositories=3, lock_files="x")
    report = enable_report("main", "nothing", run(*WINDOW, proof))
    assert report.outcome is Outcome.CHANGED
    assert (report.data["tags"], report.data["nodes_proved"], report.data["online_gc"]) == (7, 2, "off")
    assert "backup of the storage and of the database, made together" in report.hints[0]
    assert "enable-db main --finish" in report.hints[0]


def test_what_an_import_passed_over_makes_it_a_warning() -> None:
    imported = record("ImportMetadata", problems=2, tags_dropped=1)
    report = enable_report("main", "one-step", run(imported, record("ProveBackend", tags=1)))
    assert report.outcome is Outcome.WARNING
    assert report.data["tags_dropped"] == 1
    assert any(
        "1 tags could not be imported" in block.text for block in report.blocks if hasattr(block, "text")
    )


def test_a_failed_run_claims_nothing() -> None:
    failed = RunReport(
        "run-1",
        "enable-db",
        "failed",
        Outcome.FAILED,
        (record("ImportMetadata"),),
        problems=(Problem("boom", "hint"),),
    )
    report = enable_report("main", "one-step", failed)
    assert report.outcome is Outcome.FAILED
    assert "online_gc" not in report.data
    assert report.data["problem_messages"] == [{"message": "boom", "hint": "hint"}]
    assert "online_gc" not in finish_report("main", failed).data


def test_the_end_says_that_collection_is_on() -> None:
    assert finish_report("main", run(record("RestartNode"))).data["online_gc"] == "on"
