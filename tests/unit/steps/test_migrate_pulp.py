"""A Pulp's migrations are done where the manager says so and nothing is left; all else is told as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from ctl.config.pulp import PulpRegistry
from ctl.errors import CommandFailedError, LockedError, RefusedError, UnknownEffectError, UnreachableError
from ctl.hosts.base import Command, JobStatus, JobTail, Result
from ctl.recipes.model import Target
from ctl.steps.migrate_pulp import MigratePulp
from ctl.steps.pulp_schema import SESSION, look
from tests.unit.steps.test_pulp_schema import NODE

STEP = MigratePulp(pulp="katello", host_name="a")
TWO = ["core.0131_x", "container.0042_add_manifest_nature_field"]


def schema(pending: Sequence[str] = (), **more: Any) -> Result:
    facts = {
        "regctl": "schema",
        "versions": {"core": "3.73.47", "container": "2.24.15"},
        "server": "15.8",
        "preparing": False,
        "migrating": 0,
        "code": 1 if pending else 0,
        "why": "",
        "count": 200,
        "newest": {"core": "0130_x", "container": "0041_x"},
        "pending": list(pending),
        "newer": [],
        "services": [],
        "silent": "",
        **more,
    }
    return Result(0, json.dumps(facts).encode(), b"", 1.0)


def ended(code: int | None, stdout: str = "", stderr: str = "") -> JobTail:
    status = JobStatus("exited", code) if code is not None else JobStatus("lost")
    out, err = stdout.encode(), stderr.encode()
    return JobTail(status, out, err, len(out), len(err))


@dataclass
class FakeHost:
    """Answers questions one after the other, the last one for ever; a job ends as it is told."""

    answers: list[Result]
    tail: JobTail | None = None
    commands: list[Command] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    def run(self, command: Command) -> Result:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def run_job(self, command: Command, job_id: str, patience: timedelta, tail: int) -> JobTail:
        self.commands.append(command)
        assert self.tail is not None
        return self.tail

    def job(self, job_id: str) -> JobStatus:
        return JobStatus("absent")

    def forget_job(self, job_id: str) -> None:
        self.forgotten.append(job_id)

    def processes(self) -> list[Any]:
        return []


class FakeRun:
    """A run with one step in it."""

    id, epoch, recipe = "run-1", 1, "database-migrate-up"

    def __init__(self) -> None:
        self.noted: dict[str, Any] = {}
        self.told: list[str] = []

    def emit(self, event: Any) -> None:
        self.told.append(getattr(event, "text", ""))

    def guard(self) -> None:
        """Nobody has taken it over."""

    def stopping(self) -> bool:
        return False

    def note(self, **facts: Any) -> None:
        self.noted.update(facts)

    def notes(self, step: str) -> dict[str, Any]:
        assert step == "MigratePulp"
        return dict(self.noted)


def target(host: FakeHost) -> Target:
    described = PulpRegistry.model_validate({"engine": "pulp", "nodes": [{**NODE, "url": None}]})
    world = SimpleNamespace(pulp=lambda name: described, host=lambda name: host)
    return Target(world, FakeRun())  # type: ignore[arg-type]


def before(pending: Sequence[str]) -> dict[str, Any]:
    return {"pending": list(pending), "newest": {}}


def test_exit_code_0_and_an_empty_plan_are_success() -> None:
    host = FakeHost([schema()], ended(0, "  Applying core.0131_x... OK\n"))
    here = target(host)
    report = STEP.apply(here, before(TWO))
    assert (report.changed, report.data["applied"], report.data["content_follows"]) == (True, TWO, True)
    assert list(STEP.verify(here)) == []
    [command] = host.commands
    assert command.argv == ("/usr/bin/pulpcore-manager", "migrate", "--noinput", "--no-color")
    assert command.user == "pulp"
    assert command.env == {"PULP_SETTINGS": "/etc/pulp/settings.py", "PGAPPNAME": SESSION}
    assert host.forgotten == [here.run.notes("MigratePulp")["job"]]


def test_exit_code_0_with_something_left_is_no_success() -> None:
    here = target(FakeHost([schema(TWO[1:])], ended(0)))
    STEP.apply(here, before(TWO))
    [problem] = STEP.verify(here)
    assert "said that it is done, and this is pending: container.0042" in problem.message


def test_what_was_applied_before_a_failure_is_told() -> None:
    trace = "Traceback (most recent call last):\ndjango.db.utils.ProgrammingError: no such column\n"
    here = target(FakeHost([schema(TWO[1:])], ended(1, "", trace)))
    with pytest.raises(CommandFailedError) as caught:
        STEP.apply(here, before(TWO))
    assert "no such column; 1 of 2 migrations were applied, and stay" in caught.value.message
    assert caught.value.figures["applied"] == TWO[:1]
    assert caught.value.figures["pending"] == TWO[1:]


def test_a_job_that_vanished_is_judged_by_what_stands_in_the_database() -> None:
    here = target(FakeHost([schema(TWO)], ended(None)))
    with pytest.raises(CommandFailedError, match="0 of 2 migrations were applied") as caught:
        STEP.apply(here, before(TWO))
    assert not isinstance(caught.value, UnknownEffectError)


def test_where_nobody_can_look_its_end_is_not_known() -> None:
    gone = Result(1, b"", b"django.db.utils.OperationalError: connection refused\n", 1.0)
    here = target(FakeHost([gone], ended(1, "", "x")))
    with pytest.raises(UnknownEffectError, match="what it applied until then stays"):
        STEP.apply(here, before(TWO))


def test_a_run_that_was_killed_after_its_end_was_journaled_begins_nothing_again() -> None:
    host = FakeHost([schema()])
    here = target(host)
    here.run.note(
        job="j1",
        began=1.0,
        ended={"job": "j1", "exit_code": 0, "stdout": "", "stderr": "", "unknown": "", "over": True},
    )
    assert STEP.probe(here, before(TWO)) == "partial"
    assert STEP.apply(here, before(TWO)).data["applied"] == TWO
    assert host.commands == []


def test_a_killed_run_asks_for_the_same_job() -> None:
    host = FakeHost([schema()], ended(0))
    here = target(host)
    here.run.note(job="j1", began=9e9)
    STEP.apply(here, before(TWO))
    figures = here.run.notes("MigratePulp")["ended"]
    assert isinstance(figures, dict)
    assert figures["job"] == "j1"
    assert host.forgotten == ["j1"]


def test_nothing_pending_begins_nothing() -> None:
    host = FakeHost([schema()])
    report = STEP.apply(target(host), before(()))
    assert (report.changed, report.not_applicable) == (False, "nothing is pending")
    assert host.commands == []


def test_just_before_its_own_write_it_looks_again_and_refuses() -> None:
    old = {"kind": "worker", "name": "7@a", "versions": {"core": "3.49.72"}, "expires_seconds": 5.0}
    with pytest.raises(RefusedError, match="the worker 7@a lives and runs core"):
        STEP.observe(target(FakeHost([schema(TWO, services=[old])])))
    with pytest.raises(LockedError, match="content is being prepared"):
        STEP.observe(target(FakeHost([schema(TWO, preparing=True)])))
    found = STEP.observe(target(FakeHost([schema(TWO)])))
    assert found["pending"] == TWO


def test_a_database_that_is_away_is_told_apart_from_a_manager_that_is_none() -> None:
    away = Result(1, b"", b"psycopg.OperationalError: refused\ndjango.db.utils.OperationalError: no\n", 1.0)
    with pytest.raises(UnreachableError):
        look(target(FakeHost([away])).world, "katello", "a")
    broken = Result(1, b"", b"ModuleNotFoundError: No module named 'pulp_container'\n", 1.0)
    with pytest.raises(CommandFailedError, match="pulp_container"):
        look(target(FakeHost([broken])).world, "katello", "a")
