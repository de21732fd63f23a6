"""A service of a host: driven through its manager, proved, and never called known where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ctl.errors import CommandFailedError, Outcome, RefusedError
from ctl.hosts.base import Command
from ctl.hosts.local import LocalHost
from ctl.recipes.model import Problem, Target
from ctl.steps.service_of_host import RunService
from ctl.testing import MemoryHost, MemoryRun, MemoryWorld
from ctl.testing.hosts import Script
from tests.support.programs import find
from tests.support.waiting import clean_environment, stop_process, wait_until
from tests.unit.fleet.test_select import site_of


def target_of(host: Any) -> Target:
    return Target(MemoryWorld(site_of({"main": {}}), hosts={"main": host}), MemoryRun())


def problems(step: RunService, target: Target) -> list[Problem]:
    """What the checks before all writes find; just before its own write it is refused instead."""
    found = list(step.check(Target(target.world, MemoryRun(id=""))))
    if found:
        with pytest.raises(RefusedError, match=found[0].message[:20]):
            step.observe(target)
    return found


class Systemd:
    """systemctl in memory; `dies` is how many times it is seen before it is gone."""

    def __init__(self, running: bool = True, loaded: bool = True, obeys: bool = True, dies: int = -1) -> None:
        self.running, self.loaded, self.obeys, self.dies = running, loaded, obeys, dies
        self.pid, self.verbs = 10, list[str]()
        self.target = target_of(MemoryHost("main", {"systemctl": self._systemctl}))

    def _systemctl(self, command: Command) -> Script:
        verb = command.argv[1]
        if verb == "show":
            if self.dies == 0:
                self.running = False
            self.dies -= 1
            active = "active" if self.running else "inactive"
            load = "loaded" if self.loaded else "not-found"
            said = f"LoadState={load}\nActiveState={active}\nMainPID={self.pid}\nInvocationID=i{self.pid}\n"
            return Script(0, said.encode())
        self.verbs.append(verb)
        if not self.obeys:
            return Script(1, b"", b"Job for it failed.\n")
        self.pid += verb in ("start", "restart")
        self.running = verb != "stop"
        return Script(0)

    def step(self, verb: str) -> RunService:
        return RunService(
            host_name="main", kind="systemd", name="app.service", verb=verb, settle_seconds=0.01
        )


@pytest.mark.parametrize(
    ("verb", "running", "changed", "after"),
    [
        ("start", False, True, True),
        ("start", True, False, True),
        ("stop", True, True, False),
        ("stop", False, False, False),
        ("restart", True, True, True),
        ("restart", False, True, True),
        ("reload", True, True, True),
    ],
)
def test_a_unit_is_driven_and_only_where_there_is_something_to_do(
    verb: str, running: bool, changed: bool, after: bool
) -> None:
    here = Systemd(running)
    step = here.step(verb)
    assert problems(step, here.target) == []
    assert step.preview(here.target).changes is changed
    before = step.observe(here.target)
    report = step.apply(here.target, before)
    assert report.changed is changed
    assert here.verbs == ([verb] if changed else [])
    assert list(step.verify(here.target)) == []
    assert here.running is after
    step.undo(here.target, before)
    assert here.running is (running if verb in ("start", "stop") else after)


def test_a_restart_that_was_done_before_a_kill_is_not_done_again() -> None:
    here = Systemd()
    step = here.step("restart")
    before = step.observe(here.target)
    assert step.probe(here.target, before) == "pending"
    step.apply(here.target, before)
    assert step.probe(here.target, before) == "done"
    here.running = False
    assert step.probe(here.target, before) == "partial"


def test_what_its_manager_does_not_know_or_cannot_do_is_told() -> None:
    unknown = Systemd(loaded=False)
    assert [p.outcome for p in problems(unknown.step("restart"), unknown.target)] == [Outcome.CONFIG]
    stopped = Systemd(running=False)
    assert ["cannot be reloaded" in p.message for p in problems(stopped.step("reload"), stopped.target)] == [
        True
    ]
    stubborn = Systemd(obeys=False)
    step = stubborn.step("restart")
    with pytest.raises(CommandFailedError, match="could not restart") as error:
        step.apply(stubborn.target, step.observe(stubborn.target))
    assert error.value.details == ("Job for it failed.",)


def test_what_ends_at_once_is_not_up() -> None:
    here = Systemd(dies=1)
    assert ["does not stay up" in p.message for p in here.step("restart").verify(here.target)] == [True]
    gone = Systemd(running=False)
    assert ["is not as it should be" in p.message for p in gone.step("start").verify(gone.target)] == [True]


@pytest.mark.parametrize("name", ["", "-x", "a b", "a;b", "a\nb", "$(x)"])
def test_what_is_no_name_of_a_service_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        RunService(host_name="main", kind="systemd", name=name, verb="stop")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    import subprocess

    place = tmp_path / "service"
    place.mkdir()
    (place / "run").write_text("#!/bin/sh\nexec sleep 1000000\n")
    (place / "run").chmod(0o755)
    supervisor = subprocess.Popen([find("runsv"), str(place)], env=clean_environment())
    pid = place / "supervise" / "pid"
    wait_until(lambda: pid.exists() and pid.read_text().strip(), what="the service")
    yield place
    subprocess.run([find("sv"), "exit", str(place)], capture_output=True)
    stop_process(supervisor)


def test_a_real_runit_service_is_restarted_stopped_and_started(folder: Path, tmp_path: Path) -> None:
    target = target_of(LocalHost("main", str(tmp_path / "jobs")))

    def done(verb: str) -> bool:
        step = RunService(host_name="main", kind="runit", name=str(folder), verb=verb, settle_seconds=0.1)
        assert problems(step, target) == []
        before = step.observe(target)
        changed = step.apply(target, before).changed
        assert list(step.verify(target)) == []
        if verb == "restart":
            assert step.probe(target, before) == "done"
        return changed

    assert [done(verb) for verb in ("restart", "stop", "stop", "start", "start")] == [
        True,
        True,
        False,
        True,
        False,
    ]


def test_a_runit_service_that_is_not_there_is_told(tmp_path: Path) -> None:
    target = target_of(LocalHost("main", str(tmp_path / "jobs")))
    step = RunService(host_name="main", kind="runit", name=str(tmp_path / "none"), verb="restart")
    assert [problem.outcome for problem in problems(step, target)] == [Outcome.CONFIG]
