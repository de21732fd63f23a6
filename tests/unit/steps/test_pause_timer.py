"""Timers are paused and woken: remembered as they were found, shared by registries, never half lost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from ctl.config.models import CommandTimer, CronFile, SystemdTimer
from ctl.errors import RegctlError
from ctl.hosts.base import Command
from ctl.hosts.local import LocalHost
from ctl.recipes.model import Target
from ctl.steps import timers
from ctl.steps.maintenance_record import pauses, read_pause, write_pause
from ctl.steps.pause_timer import PauseTimer, WakeTimer
from ctl.testing import MemoryHost, MemoryRun, MemoryWorld, Script

UNIT = SystemdTimer(host="here", kind="systemd", unit="backup.timer")
PROGRAM = CommandTimer(host="here", kind="command", name="sync", stop=("off",), start=("on",), status=("is",))


@dataclass
class Systemd:
    """As much of systemctl as a timer needs."""

    active: bool = True
    busy: bool = False
    loaded: bool = True
    deaf: bool = False  # it says yes and does nothing
    verbs: list[str] = field(default_factory=list)

    def __call__(self, command: Command) -> Script:
        verb, unit = command.argv[1], command.argv[-1]
        if verb == "show":
            active = self.active if unit.endswith(".timer") else self.busy
            return Script(
                stdout=(
                    f"LoadState={'loaded' if self.loaded else 'not-found'}\n"
                    f"ActiveState={'active' if active else 'inactive'}\nSubState=waiting\n"
                    "Triggers=backup.service\n"
                ).encode()
            )
        self.verbs.append(verb)
        if not self.deaf:
            self.active = verb == "start"
        return Script()


@dataclass
class Here:
    """A world of one host, and a record folder."""

    target: Target
    systemd: Systemd
    state_dir: str


@pytest.fixture
def here(tmp_path: Path) -> Here:
    systemd = Systemd()
    host = MemoryHost("here", programs={"systemctl": systemd})
    world = MemoryWorld(site=None, state_dir=str(tmp_path / "state"), hosts={"here": host})
    return Here(Target(cast(Any, world), cast(Any, MemoryRun())), systemd, world.state_dir)


def pause(here: Here, registry: str = "main", timer: Any = UNIT) -> Any:
    step = PauseTimer(registry=registry, timer=timer)
    assert [problem for problem in step.check(here.target) if problem.blocking] == []
    report = step.apply(here.target, step.observe(here.target))
    assert list(step.verify(here.target)) == []
    return report


def wake(here: Here, registry: str = "main", timer: Any = UNIT) -> Any:
    step = WakeTimer(registry=registry, timer=timer)
    return step.apply(here.target, step.observe(here.target))


def test_a_running_timer_is_stopped_remembered_and_started_again(here: Here) -> None:
    assert PauseTimer(registry="main", timer=UNIT).preview(here.target).changes
    here.systemd.busy = True
    report = pause(here)
    assert (report.changed, here.systemd.active) == (True, False)
    assert "backup.service on here, which it has started, is still at work" in report.warnings
    (record,) = pauses(here.state_dir)
    assert (record.timer, record.found, dict(record.held_by)) == (
        UNIT,
        "running",
        {"main": here.target.run.id},
    )
    wake(here)
    assert (here.systemd.active, pauses(here.state_dir)) == (True, [])


def test_a_stopped_timer_is_never_started(here: Here) -> None:
    here.systemd.active = False
    assert not PauseTimer(registry="main", timer=UNIT).preview(here.target).changes
    pause(here)
    wake(here)
    assert (here.systemd.verbs, bool(here.systemd.active), pauses(here.state_dir)) == ([], False, [])


def test_a_record_that_forgot_how_it_was_found_would_start_it(here: Here) -> None:
    """The control of the test above: it sees the fault that it is there for."""
    here.systemd.active = False
    pause(here)
    (record,) = pauses(here.state_dir)
    write_pause(here.state_dir, replace(record, found="running"))
    wake(here)
    assert (here.systemd.verbs, bool(here.systemd.active)) == (["start"], True)


def test_it_sleeps_until_the_last_registry_lets_go(here: Here) -> None:
    pause(here, "one")
    pause(here, "two")
    assert wake(here, "one").data == {"stays_paused_for": ["two"]}
    assert [here.systemd.active] == [False]
    wake(here, "two")
    assert [here.systemd.active] == [True]
    assert wake(here, "two").not_applicable


def test_undo_takes_back_only_what_this_run_has_paused(here: Here) -> None:
    step = PauseTimer(registry="main", timer=UNIT)
    before = step.observe(here.target)
    step.apply(here.target, before)
    again = step.observe(here.target)
    step.undo(here.target, again)
    assert [here.systemd.active] == [False]
    step.undo(here.target, before)
    assert [here.systemd.active] == [True]


def test_a_timer_that_does_not_obey_is_an_error_and_its_record_stays(here: Here) -> None:
    here.systemd.deaf = True
    step = PauseTimer(registry="main", timer=UNIT)
    with pytest.raises(RegctlError, match="not proved stopped"):
        step.apply(here.target, step.observe(here.target))
    assert read_pause(here.state_dir, timers.key_of(UNIT)) is not None


def test_what_is_not_there_is_refused(here: Here) -> None:
    here.systemd.loaded = False
    (problem,) = PauseTimer(registry="main", timer=UNIT).check(here.target)
    assert (problem.blocking, problem.outcome.value) == (True, "config")


@pytest.mark.parametrize(
    ("code", "standing"), [(0, "running"), (3, "stopped"), (1, "unknown"), (127, "unknown")]
)
def test_a_program_tells_by_its_exit_code(code: int, standing: str) -> None:
    host = MemoryHost("here", programs={"is": lambda command: Script(exit_code=code, stdout=b"so it is\n")})
    assert timers.look(host, PROGRAM).standing == standing


class TestCronFile:
    """On real files."""

    @pytest.fixture
    def cron(self, tmp_path: Path) -> CronFile:
        path = tmp_path / "cron.d" / "backup"
        path.parent.mkdir()
        path.write_bytes(b"* * * * * root true\n")
        path.chmod(0o640)
        return CronFile(host="here", kind="cron-file", path=str(path))

    @pytest.fixture
    def on_disk(self, tmp_path: Path) -> Here:
        host = LocalHost("here", str(tmp_path / "jobs"))
        world = MemoryWorld(site=None, state_dir=str(tmp_path / "state"), hosts=cast(Any, {"here": host}))
        return Here(Target(cast(Any, world), cast(Any, MemoryRun())), Systemd(), world.state_dir)

    def test_it_comes_back_with_its_bytes_mode_and_time(self, on_disk: Here, cron: CronFile) -> None:
        path = Path(cron.path)
        before = path.read_bytes(), path.stat()
        pause(on_disk, timer=cron)
        assert [entry.name for entry in path.parent.iterdir()] == [".backup.regctl-paused"]
        wake(on_disk, timer=cron)
        after = path.stat()
        assert path.read_bytes() == before[0]
        for name in ("st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_ino", "st_size"):
            assert getattr(after, name) == getattr(before[1], name)

    def test_a_new_file_beside_the_paused_one_is_never_overwritten(
        self, on_disk: Here, cron: CronFile
    ) -> None:
        path = Path(cron.path)
        pause(on_disk, timer=cron)
        path.write_bytes(b"by a package\n")
        step = WakeTimer(registry="main", timer=cron)
        (problem,) = step.check(on_disk.target)
        assert problem.blocking
        with pytest.raises(RegctlError):
            step.apply(on_disk.target, {})
        assert path.read_bytes() == b"by a package\n"
        assert timers.look(LocalHost("here", "/nowhere"), cron).standing == "twice"

    def test_a_paused_file_that_was_changed_is_not_put_to_work(self, on_disk: Here, cron: CronFile) -> None:
        pause(on_disk, timer=cron)
        Path(timers.paused_path(cron.path)).write_bytes(b"* * * * * root rm -rf /srv\n")
        with pytest.raises(RegctlError, match="changed while it was paused"):
            wake(on_disk, timer=cron)
        assert not Path(cron.path).exists()
