"""What content prepare reports of a run: a word and figures for each host, and one exit code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from packaging.version import Version

from ctl.errors import Outcome
from ctl.recipes.model import HostRecord, RunReport, StepRecord
from ctl.report.model import Report
from ctl.steps.content_prepare_report import prepare_report
from ctl.steps.content_survey import HostSurvey

SERVER = HostSurvey(
    "server",
    "server",
    Version("2.24.15"),
    Version("3.73.47"),
    "chunks",
    500,
    100,
    startup=2.0,
    seconds_each=0.01,
)
PROXY = replace(SERVER, host="proxy1", role="proxy", total=300, remaining=40)
DONE = replace(PROXY, remaining=0)
FIGURES = {
    "done": 100,
    "seconds": 4.0,
    "worked_seconds": 3.0,
    "remaining": 0,
    "broken": 0,
    "skipped": 0,
    "jobs": 1,
}


def record(host: str, result: Any, **figures: Any) -> StepRecord:
    return StepRecord("1.r1.1", "PrepareContent", "", host, result, data=figures)


def run(
    outcome: Outcome, steps: tuple[StepRecord, ...], *hosts: HostRecord, state: Any = "done"
) -> RunReport:
    return RunReport(
        "20260101T000000Z-content-prepare-aaaa", "content-prepare", state, outcome, steps, hosts=hosts
    )


def hosts_of(report: Report) -> list[Any]:
    hosts = report.data["hosts"]
    assert isinstance(hosts, list)
    return hosts


def test_a_host_that_was_prepared_has_its_figures_and_one_that_was_done_says_so() -> None:
    found = prepare_report(
        "main",
        (SERVER, DONE),
        run(
            Outcome.CHANGED,
            (record("server", "changed", **FIGURES),),
            HostRecord("server", "changed"),
            HostRecord("proxy1", "not-applicable", "nothing is left to do"),
        ),
    )
    server, proxy = hosts_of(found)
    assert (found.outcome, found.exit_code, found.data["done"], found.data["remaining"]) == (
        Outcome.CHANGED,
        None,
        100,
        0,
    )
    assert (server["result"], server["done"], server["rate_per_second"], server["worked_seconds"]) == (
        "changed",
        100,
        25.0,
        3.0,
    )
    assert (proxy["result"], proxy["reason"], proxy["done"], proxy["jobs"]) == (
        "not-applicable",
        "nothing is left to do",
        0,
        0,
    )


@pytest.mark.parametrize(
    ("how", "result", "outcome"),
    [
        ("stopped", "stopped", Outcome.INTERRUPTED),
        ("locked", "locked", Outcome.LOCKED),
        ("killed", "failed", Outcome.FAILED),
    ],
)
def test_one_that_did_not_come_to_its_end_tells_how_far_it_came(
    how: str, result: str, outcome: Outcome
) -> None:
    steps = (record("server", "failed", how=how, done=60, seconds=2.0),)
    failed = run(Outcome.FAILED, steps, HostRecord("server", "failed", "why"), state="failed")
    found = prepare_report("main", (SERVER,), failed)
    [host] = hosts_of(found)
    assert (host["result"], host["done"], host["remaining"]) == (result, 60, 40)
    assert found.outcome is outcome
    assert any("the same command goes on" in hint for hint in found.hints) is (how != "locked")


def test_hosts_that_failed_for_different_reasons_are_a_failure() -> None:
    steps = (
        record("server", "failed", how="stopped", done=1),
        record("proxy1", "failed", how="locked", done=0),
    )
    failed = run(Outcome.FAILED, steps, HostRecord("server", "failed"), HostRecord("proxy1", "failed"))
    assert prepare_report("main", (SERVER, PROXY), failed).outcome is Outcome.FAILED


def test_nothing_to_do_beside_what_cannot_be_done_is_a_warning() -> None:
    nothing = RunReport(
        "", "content-prepare", "done", Outcome.NOTHING_TO_DO, hosts=(HostRecord("proxy1", "ok"),)
    )
    assert prepare_report("main", (DONE,), nothing).outcome is Outcome.NOTHING_TO_DO
    broken = replace(DONE, remaining=2, hindered={"lost": 2})
    found = prepare_report("main", (broken,), nothing)
    [host] = hosts_of(found)
    assert (found.outcome, found.exit_code) == (Outcome.WARNING, 3)
    assert (host["result"], host["broken"]) == ("not-applicable", 2)
    assert "regctl content verify" in found.hints[-1]


def test_a_dry_run_says_what_would_be_done_and_for_how_long() -> None:
    dry = RunReport(
        "",
        "content-prepare",
        "dry-run",
        Outcome.PENDING,
        hosts=(
            HostRecord("server", "not-attempted", "dry run"),
            HostRecord("proxy1", "unreachable", "no route"),
        ),
    )
    away = HostSurvey("proxy1", "proxy", unreachable="no route")
    found = prepare_report("main", (SERVER, away), dry, rate=10.0)
    server, proxy = hosts_of(found)
    assert (server["result"], server["remaining"], server["estimated_seconds"]) == (
        "not-attempted",
        100,
        12.0,
    )
    assert (proxy["result"], proxy["reason"], proxy["remaining"]) == ("unreachable", "no route", None)
