"""What is shown of the schemas of a Pulp's hosts, and the word that all of them together get."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ctl.engines.pulp_migrations import LiveService
from ctl.errors import ConfigError, Outcome, RegctlError, UnreachableError
from ctl.recipes.model import HostRecord, Preview, RunReport, StepRecord
from ctl.report.model import Json
from ctl.steps import pulp_schema_reports as reports
from tests.unit.steps.test_pulp_schema import INSTALLED, OLD, PENDING

READY = replace(
    PENDING,
    pending=(),
    code=0,
    applied=(("core.0001_a", "2026-01-02T03:04:05+00:00"), ("container.0045_b", "2026-02-03T04:05:06+00:00")),
)


def show(monkeypatch: pytest.MonkeyPatch, what: str, **found: Any) -> Any:
    named = {
        host: replace(one, host=host) if not isinstance(one, RegctlError) else one
        for host, one in found.items()
    }
    monkeypatch.setattr(reports, "look_at_all", lambda *words, **more: named)
    return getattr(reports, f"{what}_report")(None, "katello")


@pytest.mark.parametrize(
    ("second", "outcome"),
    [
        (READY, Outcome.OK),
        (PENDING, Outcome.PENDING),
        (replace(PENDING, code=None, why="InconsistentMigrationHistory: x"), Outcome.WARNING),
        (replace(READY, newer=("core.0999_x",)), Outcome.WARNING),
        (UnreachableError("its PostgreSQL is away"), Outcome.UNREACHABLE),
        (ConfigError("no user"), Outcome.CONFIG),
    ],
)
def test_the_worst_host_gives_the_word(
    monkeypatch: pytest.MonkeyPatch, second: Any, outcome: Outcome
) -> None:
    for what in ("plan", "status"):
        report = show(monkeypatch, what, a=READY, b=second)
        assert (report.command, report.outcome) == (f"database-migrate-{what}", outcome)
        assert set(report.data["databases"]) == {"katello/a", "katello/b"}


def test_a_plan_lists_what_would_be_applied_and_who_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    living = replace(PENDING, services=(LiveService("worker", "7@x", OLD, 9.0),))
    report = show(monkeypatch, "plan", a=living)
    entry = report.data["databases"]["katello/a"]
    assert (entry["reachable"], entry["pending"], entry["up_to_date"]) == (True, ["core.0118_x"], False)
    assert entry["versions"] == INSTALLED
    assert entry["services"] == [{"kind": "worker", "name": "7@x", "versions": OLD, "expires_seconds": 9.0}]
    assert "7@x lives" in entry["waits_for"][0]
    assert any("stop it" in hint for hint in report.hints)


def test_a_status_lists_what_is_applied_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = show(monkeypatch, "status", a=READY).data["databases"]["katello/a"]
    assert entry["applied"][1] == {"id": "container.0045_b", "applied_at": "2026-02-03T04:05:06+00:00"}
    assert (entry["pending"], entry["newer"], entry["up_to_date"]) == ([], [], True)


def test_a_version_is_told_though_something_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    report = show(monkeypatch, "version", a=PENDING)
    assert report.outcome is Outcome.OK
    assert report.data["databases"]["katello/a"]["version"] == "core.0117_task_unblocked_at container.0037_x"
    assert show(monkeypatch, "version", a=UnreachableError("away")).outcome is Outcome.UNREACHABLE


def step(host: str, data: dict[str, Json], result: Any = "changed") -> StepRecord:
    named: dict[str, Json] = {"database": f"katello/{host}", "host": host, **data}
    return StepRecord("1", "MigratePulp", "migrate", host, result, data=named)


def test_a_run_tells_what_became_of_each_host() -> None:
    before: dict[str, Json] = {"pending": ["core.0118_x"], "up_to_date": False, "version": "old"}
    previews = tuple(
        Preview("migrate", True, data={"database": f"katello/{host}", "host": host, **before})
        for host in "ab"
    )
    run = RunReport(
        "r1",
        "database-migrate-up",
        "done",
        Outcome.CHANGED,
        (step("a", {"applied": ["core.0118_x"]}), step("b", {"applied": ["core.0118_x"]})),
        previews,
        hosts=(HostRecord("a", "changed"), HostRecord("b", "changed")),
    )
    data: Any = reports.run_report(run).data
    assert data["applied"] == ["core.0118_x"]
    assert data["databases"]["katello/a"]["up_to_date"] is True
    assert data["databases"]["katello/b"]["pending"] == []

    failed = replace(
        run,
        state="failed",
        outcome=Outcome.FAILED,
        steps=(step("a", {"applied": [], "pending": ["core.0118_x"]}, "failed"),),
        hosts=(HostRecord("a", "failed", "x"), HostRecord("b", "not-attempted")),
    )
    data = reports.run_report(failed).data
    assert data["applied"] == []
    assert data["databases"]["katello/a"]["up_to_date"] is False
    assert [one["result"] for one in data["hosts"]] == ["failed", "not-attempted"]
