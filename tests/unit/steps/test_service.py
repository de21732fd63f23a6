"""Starting, stopping and restarting a node: what is there to do, done once, proved, taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from ctl.config.models import Site
from ctl.engines.distribution import Distribution
from ctl.errors import CommandFailedError, Outcome
from ctl.recipes.model import Target
from ctl.steps import service as steps
from ctl.steps.service import RestartService, StartService, StopService
from ctl.testing import MemoryHost, MemoryRun, MemoryService, MemoryWorld

CONFIG = "/etc/docker/registry/config.yml"
NODE = {
    "host": "reg1",
    "binary": "/usr/bin/docker-registry",
    "config_file": CONFIG,
    "url": "http://127.0.0.1:5000",
    "service": {"kind": "process", "name": "registry"},
}
SITE = {
    "version": 1,
    "hosts": {"reg1": {}},
    "registries": {
        "main": {
            "engine": "distribution",
            "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}},
            "nodes": [NODE],
        }
    },
}
WHERE = {"registry": "main", "node": "reg1"}


class Here:
    """A world with one registry on one host."""

    def __init__(self, drain: str | None = "60s") -> None:
        self.host = MemoryHost("reg1")
        for folder in ("/etc/docker/registry", "/usr/bin"):
            self.host.make_directory(folder, mode=0o755)
        self.host.write("/usr/bin/docker-registry", b"\x7fELF", mode=0o755)
        lines = ["version: 0.1", "http:", "  addr: :5000", *([f"  draintimeout: {drain}"] if drain else [])]
        self.host.write(CONFIG, "\n".join(lines).encode(), mode=0o640)
        self.service = MemoryService(self.host)
        self.run = MemoryRun()
        world = MemoryWorld(
            Site.model_validate(SITE),
            hosts={"reg1": self.host},
            services={("main", "reg1"): self.service},
            engines={"main": Distribution()},
        )
        self.target = Target(world, self.run)

    @property
    def pid(self) -> int | None:
        process = self.service.state().process
        return process.pid if process else None


@pytest.fixture
def here() -> Here:
    return Here()


def test_a_stopped_service_is_started_and_proved_to_listen(here: Here) -> None:
    step = StartService(**WHERE)
    assert list(step.check(here.target)) == []
    assert step.preview(here.target).changes
    before = step.observe(here.target)
    assert before == {"running": False, "process": {}}
    assert step.probe(here.target, before) == "pending"
    assert step.apply(here.target, before).changed
    assert here.run.guarded == 1
    assert here.service.state().running
    assert step.probe(here.target, before) == "done"
    assert list(step.verify(here.target)) == []


def test_there_is_nothing_to_do_where_the_state_is_as_wanted(here: Here) -> None:
    stop = StopService(**WHERE)
    assert not stop.preview(here.target).changes
    assert not stop.apply(here.target, stop.observe(here.target)).changed
    here.service.start()
    pid, start = here.pid, StartService(**WHERE)
    assert not start.preview(here.target).changes
    assert not start.apply(here.target, start.observe(here.target)).changed
    assert here.pid == pid
    assert here.run.guarded == 0


def test_a_running_service_is_drained_and_stopped_and_a_kill_is_told(here: Here) -> None:
    here.service.start()
    step = StopService(**WHERE)
    report = step.apply(here.target, step.observe(here.target))
    assert (report.data, report.warnings) == ({"drained": True}, ())
    assert list(step.verify(here.target)) == []
    here.service.drains = False
    here.service.start()
    report = step.apply(here.target, step.observe(here.target))
    assert report.data == {"drained": False}
    assert "killed" in report.warnings[0]


def test_what_comes_back_by_itself_is_a_problem(here: Here) -> None:
    here.service.start()
    found = list(StopService(**WHERE).verify(here.target))
    assert [problem.outcome for problem in found] == [Outcome.FAILED]


def test_a_restart_is_done_once_even_if_asked_again_after_a_crash(here: Here) -> None:
    here.service.start()
    first, step = here.pid, RestartService(**WHERE)
    before = step.observe(here.target)
    assert step.probe(here.target, before) == "pending"
    step.apply(here.target, before)
    second = here.pid
    assert second not in (None, first)
    assert step.probe(here.target, before) == "done"
    step.apply(here.target, before)  # a resume that was not told
    assert here.pid == second


def test_a_restart_that_crashed_between_stop_and_start_is_finished(here: Here) -> None:
    here.service.start()
    step = RestartService(**WHERE)
    before = step.observe(here.target)
    here.service.stop(timedelta(seconds=1))
    assert step.probe(here.target, before) == "partial"
    step.apply(here.target, before)
    assert here.service.state().running
    assert list(step.verify(here.target)) == []


@pytest.mark.parametrize(("ran", "kind"), [(True, StopService), (False, StartService)])
def test_undo_brings_back_what_was(here: Here, ran: bool, kind: type[StartService | StopService]) -> None:
    if ran:
        here.service.start()
    step = kind(**WHERE)
    before = step.observe(here.target)
    step.apply(here.target, before)
    assert here.service.state().running != ran
    step.undo(here.target, before)
    assert here.service.state().running == ran


@pytest.mark.parametrize(("ran", "kind"), [(True, StartService), (False, StopService)])
def test_undo_takes_back_nothing_where_nothing_was_done(
    here: Here, ran: bool, kind: type[StartService | StopService]
) -> None:
    if ran:
        here.service.start()
    step, pid = kind(**WHERE), here.pid
    before = step.observe(here.target)
    step.apply(here.target, before)
    step.undo(here.target, before)
    assert (here.service.state().running, here.pid) == (ran, pid)


@pytest.mark.parametrize("missing", [CONFIG, "/usr/bin/docker-registry"])
def test_a_missing_file_is_said_before_anything_is_stopped(here: Here, missing: str) -> None:
    here.service.start()
    here.host.remove(missing)
    found = list(RestartService(**WHERE).check(here.target))
    assert [(problem.blocking, problem.outcome) for problem in found] == [(True, Outcome.CONFIG)]
    assert missing in found[0].message
    assert list(StartService(**WHERE).check(here.target)) == []  # it runs: nothing will be started


@pytest.mark.parametrize(("drain", "seconds"), [("60s", 70.0), ("1m30s", 100.0), ("5s", 30.0), (None, 30.0)])
def test_the_grace_is_longer_than_the_drain(drain: str | None, seconds: float) -> None:
    here = Here(drain)
    assert steps.grace_for(here.target.world, "main", "reg1") == timedelta(seconds=seconds)


def test_a_grace_that_cuts_the_drain_short_is_warned_of(here: Here) -> None:
    here.service.start()
    found = list(StopService(**WHERE, grace_seconds=60).check(here.target))
    assert [problem.blocking for problem in found] == [False]
    assert "60 s" in found[0].message
    assert list(StopService(**WHERE, grace_seconds=61).check(here.target)) == []


@pytest.mark.parametrize(("drain", "words"), [("60s", "killed after 70 s"), (None, "will be cut")])
def test_a_preview_says_what_becomes_of_uploads(drain: str | None, words: str) -> None:
    here = Here(drain)
    here.service.start()
    for step in (StopService(**WHERE), RestartService(**WHERE)):
        assert words in str(step.preview(here.target).blocks)


def test_a_failure_to_start_is_the_services_own_error(here: Here) -> None:
    here.service.fails = "configuration error"
    step = StartService(**WHERE)
    with pytest.raises(CommandFailedError) as caught:
        step.apply(here.target, step.observe(here.target))
    assert caught.value.details == ("configuration error",)


def deaf(here: Here) -> None:
    here.service.port = 5999
    here.service.start()


def dead(here: Here) -> None:
    here.service.log.append("dead")


@pytest.mark.parametrize(
    ("prepare", "words"), [(deaf, "nothing listens on port 5000"), (dead, "does not run")]
)
def test_a_start_is_proved_by_the_port_and_the_process(
    here: Here, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Here], None], words: str
) -> None:
    monkeypatch.setattr(steps, "ANSWER_SECONDS", 0.1)
    prepare(here)
    found = list(StartService(**WHERE).verify(here.target))
    assert [problem.outcome for problem in found] == [Outcome.FAILED]
    assert words in found[0].message
