"""Timers that rest for a Pulp's content: counted beside maintenance, left as they were found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ctl.config.models import CronFile, Maintenance, SystemdTimer
from ctl.hosts.base import Command
from ctl.recipes.model import Target
from ctl.steps.maintenance_record import pauses
from ctl.steps.pause_timer import PauseTimer, WakeTimer
from ctl.steps.rest_timers import TimerRests, timer_scopes
from ctl.testing import MemoryHost, MemoryRun, MemoryWorld, Script

UNIT = SystemdTimer(host="here", kind="systemd", unit="dnf-automatic.timer")
CRON = CronFile(host="here", kind="cron-file", path="/etc/cron.d/orphans")
FAR = CronFile(host="there", kind="cron-file", path="/etc/cron.d/orphans")


@dataclass
class Here:
    target: Target
    active: bool = True

    def systemctl(self, command: Command) -> Script:
        verb = command.argv[1]
        if verb == "show":
            state = "active" if self.active else "inactive"
            said = f"LoadState=loaded\nActiveState={state}\nSubState=waiting\nTriggers=\n"
            return Script(stdout=said.encode())
        self.active = verb == "start"
        return Script()


@pytest.fixture
def here(tmp_path: Path) -> Here:
    found = Here(cast(Any, None))
    host = MemoryHost("here", programs={"systemctl": found.systemctl})
    world = MemoryWorld(site=None, state_dir=str(tmp_path / "state"), hosts={"here": host})
    found.target = Target(cast(Any, world), cast(Any, MemoryRun()))
    return found


def entered(here: Here, pulp: str = "katello") -> tuple[TimerRests, Any]:
    scope = TimerRests(pulp=pulp, timer=UNIT)
    assert list(scope.check(here.target)) == []
    before = scope.observe(here.target)
    scope.apply(here.target, before)
    assert list(scope.verify(here.target)) == []
    return scope, before


@pytest.mark.parametrize("active", [True, False])
def test_it_is_left_as_it_was_found(here: Here, active: bool) -> None:
    here.active = active
    scope, before = entered(here)
    assert (here.active, len(pauses(here.target.world.state_dir))) == (False, 1)
    assert scope.probe(here.target, before) == "done"
    scope.leave(here.target, before)
    scope.leave(here.target, before)  # again, after a crash in its middle
    assert (here.active, pauses(here.target.world.state_dir)) == (active, [])


def test_entered_again_after_a_crash_it_still_knows_how_it_was(here: Here) -> None:
    scope, before = entered(here)
    scope.apply(here.target, before)
    scope.leave(here.target, before)
    assert here.active


def test_what_rests_for_maintenance_too_stays_at_rest(here: Here) -> None:
    step = PauseTimer(registry="main", timer=UNIT)
    step.apply(here.target, step.observe(here.target))
    scope, before = entered(here)
    scope.leave(here.target, before)
    assert [here.active] == [False]
    wake = WakeTimer(registry="main", timer=UNIT)
    wake.apply(here.target, wake.observe(here.target))
    assert [here.active] == [True]


def test_maintenance_that_ends_first_does_not_wake_it(here: Here) -> None:
    step = PauseTimer(registry="main", timer=UNIT)
    step.apply(here.target, step.observe(here.target))
    scope, before = entered(here)
    wake = WakeTimer(registry="main", timer=UNIT)
    wake.apply(here.target, wake.observe(here.target))
    assert [here.active] == [False]
    scope.leave(here.target, before)
    assert [here.active] == [True]


def test_a_host_rests_the_timers_that_are_on_it() -> None:
    pulp = SimpleNamespace(maintenance=Maintenance(timers=(UNIT, FAR)))
    site = SimpleNamespace(
        maintenance=Maintenance(timers=(CRON, UNIT)), pulps={"katello": pulp}, registries={}
    )
    world = cast(Any, MemoryWorld(site))
    assert [scope.timer for scope in timer_scopes(world, "katello", "here")] == [CRON, UNIT]
    assert [scope.timer for scope in timer_scopes(world, "katello", "there")] == [FAR]
