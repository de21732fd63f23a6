"""A node led to another program, killed at every change of the world: it goes on, or back, whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from ctl.errors import CommandFailedError, RegctlError
from ctl.hosts.base import Command, FileInfo
from ctl.recipes.model import Step
from ctl.steps import bring_back, read_only_node
from ctl.steps.accept_node import AcceptNode
from ctl.steps.roll_node import ProveNode, StartNode, SwitchProgram
from ctl.steps.rolling_node import Roll
from ctl.steps.service import StopService
from ctl.steps.way_back import WayBack
from ctl.testing import Script
from tests.support.memory_node import CONFIG, CONFIG_FILE, Bomb, Crash, Machine, Node, RegistryService

LINK, OLD, NEW = "/usr/local/bin/registry", "/usr/bin/docker-registry", "/opt/registry-3/registry"
SAYS = {
    OLD: b"registry github.com/docker/distribution 2.8.2\n",
    NEW: b"registry github.com/distribution/distribution/v3 v3.1.1\n",
}
OLD_CONFIG = CONFIG + b"redis:\n  addr: cache:6379  # beside us\n"
NEW_CONFIG = CONFIG + b'redis:\n  addrs: ["cache:6379"]\n'
ROLL = Roll(registry="main", node="here", way="link", was=LINK, target=NEW, version="3.1.1", running=True)


class Programs(dict[str, Any]):
    """Also /proc/PID/exe: whatever the process was started as."""

    machine: LinkMachine

    def get(self, name: str, default: Any = None) -> Any:
        if name.startswith("/proc/"):
            started = self.machine.started.get(int(name.split("/")[2]), "")
            return lambda command: Script(0, SAYS[started])
        return super().get(name, default)


@dataclass
class LinkMachine(Machine):
    """A host with one symbolic link."""

    leads: str = OLD
    aside: dict[str, str] = field(default_factory=dict)
    started: dict[int, str] = field(default_factory=dict)  # by process

    def stat(self, path: str) -> FileInfo | None:
        if path == LINK:
            return FileInfo("symlink", 1, 0o777, "root", "root", 0.0)
        if path in (OLD, NEW) or path.startswith("/proc/"):
            return FileInfo("file", 1, 0o755, "root", "root", 0.0)
        return super().stat(path)

    def call(self, command: Command) -> Script:
        if command.argv[0] == "readlink":
            return Script(0, self.leads.encode() + b"\n")
        source, target = command.argv[-2:]
        if command.argv[0] == "ln":
            self.aside[target] = source
        else:
            self.bomb.around(lambda: setattr(self, "leads", self.aside.pop(source)))
        return Script()


@dataclass
class LinkService(RegistryService):
    """Its process is whatever the link leads to; the new one may refuse to serve."""

    broken: bool = False

    def _start(self) -> None:
        machine = self.host
        assert isinstance(machine, LinkMachine)
        if not self.state().running and machine.leads == NEW and self.broken:
            raise CommandFailedError("the service ended at once", details=("panic: no",))
        super()._start()
        process = self.state().process
        assert process is not None
        machine.started.setdefault(process.pid, machine.leads)


class Trial(Node):
    """The node before its upgrade, and the row of the recipe as the runner walks it."""

    def __init__(self, state_dir: str, *, running: bool = True) -> None:
        super().__init__(state_dir, config=OLD_CONFIG, running=False)
        programs = Programs(self.host.programs)
        self.machine = programs.machine = LinkMachine(name="here", user="root", clock=self.host.clock)
        self.machine.programs = programs
        for name in ("ln", "mv", "readlink"):
            programs[name] = self.machine.call
        programs |= {OLD: lambda c: Script(0, SAYS[OLD]), NEW: lambda c: Script(0, SAYS[NEW])}
        programs[LINK] = lambda c: Script(0, SAYS[self.machine.leads])
        self.linked = self.service = LinkService(self.machine, registry=self.registry)
        self.machine.make_directory("/etc/docker/registry", mode=0o755)
        self.machine.write(CONFIG_FILE, OLD_CONFIG, mode=0o640, owner="registry", group="adm")
        self.host = self.machine
        node = self.world.site.registries["main"].nodes[0].model_copy(update={"binary": LINK})
        described = self.world.site.registries["main"].model_copy(update={"nodes": (node,)})
        self.world.site = self.world.site.model_copy(update={"registries": {"main": described}})
        self.world.hosts["here"] = self.machine
        self.world.services["main", "here"] = self.service
        self.registry.push("team/app", "v1", b"{}", "application/vnd.oci.image.manifest.v1+json")
        if running:
            self.service.start()
        self.arm(0)
        self.before: dict[int, Mapping[str, Any]] = {}
        self.done: set[int] = set()
        roll = ROLL.model_copy(update={"running": running})
        steps: list[Step] = [WayBack(roll=roll), SwitchProgram(roll=roll), AcceptNode(roll=roll)]
        if running:
            stop = StopService(registry="main", node="here")
            steps[1:2] = [stop, SwitchProgram(roll=roll), StartNode(roll=roll), Proved(roll=roll)]
        self.steps = steps

    def forward(self) -> None:
        """Do what is not done: as the runner does, also after a kill."""
        here = self.target()
        for number, step in enumerate(self.steps):
            if number in self.done:
                continue
            self.run.step = type(step).__name__.replace("Proved", "ProveNode")
            if number in self.before and step.probe(here, self.before[number]) == "done":
                self.done.add(number)
                continue
            problems = [one.message for one in step.check(here) if one.blocking]
            assert not problems, problems
            self.before.setdefault(number, step.observe(here))
            step.apply(here, self.before[number])
            assert [one.message for one in step.verify(here)] == []
            self.done.add(number)

    def leave(self) -> None:
        """Leave the way back; entered is what was observed."""
        if 0 in self.before:
            scope = self.steps[0]
            assert isinstance(scope, WayBack)
            scope.leave(self.target(), self.before[0])

    def whole(self) -> None:
        """From the beginning to the end."""
        self.forward()
        self.leave()

    def state(self) -> tuple[str, bytes, str]:
        """Where the link leads, what the file says, what the process is."""
        process = self.service.state().process
        started = self.machine.started[process.pid] if process is not None else ""
        return self.machine.leads, self.config(), started

    def leftovers(self) -> list[str]:
        names = self.machine.list_directory("/etc/docker/registry")
        return [name for name in names if "regctl" in name]


class Proved(ProveNode):
    """As ProveNode; the image of the tests has no layers to pull."""


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bring_back, "SETTLE", 0.0)
    monkeypatch.setattr(read_only_node, "SETTLE", 0.0)


@pytest.fixture(autouse=True)
def no_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctl.steps.roll_node._pulled", lambda node, sample: 2)


BEFORE, AFTER = (OLD, OLD_CONFIG, OLD), (NEW, NEW_CONFIG, NEW)


def test_it_is_led_there(tmp_path: Any) -> None:
    trial = Trial(str(tmp_path))
    assert trial.state() == BEFORE
    trial.forward()
    trial.leave()
    assert trial.state() == AFTER
    assert trial.leftovers() == []
    assert trial.run.facts["WayBack"]["answers"] == "writable"
    kept = [n for n in trial.machine.list_directory("/etc/docker/registry") if ".before-" in n]
    assert [trial.machine.read(f"/etc/docker/registry/{name}") for name in kept] == [OLD_CONFIG]


def test_one_that_was_stopped_is_led_there_and_stays_stopped(tmp_path: Any) -> None:
    trial = Trial(str(tmp_path), running=False)
    trial.forward()
    trial.leave()
    assert trial.state() == (NEW, NEW_CONFIG, "")


def test_one_that_does_not_start_is_brought_back(tmp_path: Any) -> None:
    trial = Trial(str(tmp_path))
    trial.linked.broken = True
    before = trial.standing()
    with pytest.raises(CommandFailedError):
        trial.forward()
    trial.leave()
    assert trial.state() == BEFORE
    assert trial.standing() == before


def test_a_file_that_somebody_changed_meanwhile_is_not_overwritten(tmp_path: Any) -> None:
    trial = Trial(str(tmp_path))
    trial.linked.broken = True
    with pytest.raises(CommandFailedError):
        trial.forward()
    trial.edit(b"version: 0.1\n# theirs\n")
    with pytest.raises(RegctlError, match="somebody has changed"):
        trial.leave()
    assert trial.config() == b"version: 0.1\n# theirs\n"


def changes_of_a_whole_run(state_dir: str) -> int:
    trial = Trial(state_dir)
    bomb = trial.arm(0)
    trial.forward()
    trial.leave()
    return bomb.passed


def killed(state_dir: str, at: int, after: bool) -> Trial:
    trial = Trial(state_dir)
    trial.arm(at, after=after)
    with pytest.raises(Crash):
        trial.whole()
    trial.arm(0)
    return trial


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_change_it_goes_on(tmp_path: Any, after: bool) -> None:
    last = changes_of_a_whole_run(str(tmp_path))
    assert last > 6
    for at in range(1, last + 1):
        trial = killed(str(tmp_path), at, after)
        trial.forward()
        trial.leave()
        assert trial.state() == AFTER, at
        assert trial.leftovers() == [], at


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_change_it_goes_back_unless_it_was_accepted(tmp_path: Any, after: bool) -> None:
    standing = Trial(str(tmp_path)).standing()
    seen = set()
    for at in range(1, changes_of_a_whole_run(str(tmp_path)) + 1):
        trial = killed(str(tmp_path), at, after)
        trial.leave()
        accepted = "accepted" in trial.run.facts.get("AcceptNode", {})
        assert trial.state() == (AFTER if accepted else BEFORE), at
        if not accepted:
            assert trial.standing() == standing, at
        trial.leave()  # again: as after a kill of this very leave
        assert trial.state() == (AFTER if accepted else BEFORE), at
        seen.add(accepted)
    assert seen == {False, True}


def test_without_the_kept_file_the_way_back_would_be_gone(tmp_path: Any) -> None:
    """The control: what the tests above rely on is the copy, and its loss is told, not passed over."""
    trial = Trial(str(tmp_path))
    trial.linked.broken = True
    with pytest.raises(CommandFailedError):
        trial.forward()
    trial.machine.write(trial.before[0]["kept"], b"damaged", mode=0o600)
    with pytest.raises(RegctlError, match="is not the file that was"):
        trial.leave()
    assert isinstance(trial.arm(0), Bomb)
