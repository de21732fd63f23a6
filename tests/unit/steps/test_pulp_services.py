"""Scopes around a Pulp: what was stopped is stopped again, what ran runs, a stopped one stays so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ctl.config.pulp import PulpNode, PulpService
from ctl.hosts.base import Command, ProcessInfo
from ctl.recipes.model import Target
from ctl.steps.packages_rest import PackagesRest, changes_packages
from ctl.steps.pulp_services import DatabaseRuns, ServicesAsBefore, database_is_stopped
from ctl.steps.service_of_host import RunService
from ctl.testing import MemoryHost, MemoryRun, MemoryWorld
from ctl.testing.hosts import Script


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctl.steps.service_of_host.time.sleep", lambda seconds: None)


class Machine:
    """A host with systemd and its units: whether each runs."""

    def __init__(self, **units: bool) -> None:
        self.units = {name.replace("_", "-"): runs for name, runs in units.items()}
        self.calls: list[tuple[str, str]] = []
        node = PulpNode(
            host="here",
            role="server",
            manager="/usr/bin/pulpcore-manager",
            settings_file="/etc/pulp/settings.py",
            services=(PulpService(name="pulp-api"), PulpService(name="pulp-worker")),
            database_service=PulpService(name="postgresql") if "postgresql" in units else None,
        )
        site = SimpleNamespace(pulps={"katello": SimpleNamespace(nodes=(node,))}, registries={})
        host = MemoryHost("here", {"systemctl": self._systemctl})
        self.here = Target(MemoryWorld(site, hosts={"here": host}), MemoryRun())

    def _systemctl(self, command: Command) -> Script:
        verb, unit = command.argv[1], command.argv[-1]
        if verb == "show":
            active = "active" if self.units.get(unit) else "inactive"
            loaded = "loaded" if unit in self.units else "not-found"
            said = f"LoadState={loaded}\nActiveState={active}\nMainPID=1\nInvocationID=i\n"
            return Script(0, said.encode())
        self.calls.append((verb, unit))
        self.units[unit] = verb == "start"
        return Script(0)


def entered(scope: Any, machine: Machine) -> Any:
    before = scope.observe(machine.here)
    scope.apply(machine.here, before)
    assert list(scope.verify(machine.here)) == []
    return before


@pytest.mark.parametrize("running", [True, False])
def test_the_database_runs_within_and_is_as_before_after(running: bool) -> None:
    machine = Machine(postgresql=running, pulp_api=False, pulp_worker=False)
    scope = DatabaseRuns(pulp="katello", host_name="here")
    assert database_is_stopped(machine.here, "katello", "here") is not running
    assert scope.preview(machine.here).changes is not running
    before = entered(scope, machine)
    assert machine.units["postgresql"]
    scope.leave(machine.here, before)
    scope.leave(machine.here, before)  # again, after a crash in its middle
    assert machine.units["postgresql"] is running
    assert machine.calls == ([] if running else [("start", "postgresql"), ("stop", "postgresql")])


def test_it_is_not_taken_from_a_service_that_was_started_meanwhile() -> None:
    machine = Machine(postgresql=False, pulp_api=False, pulp_worker=False)
    scope = DatabaseRuns(pulp="katello", host_name="here")
    before = entered(scope, machine)
    machine.units["pulp-api"] = True
    report = scope.leave(machine.here, before)
    assert (machine.units["postgresql"], len(report.warnings)) == (True, 1)


def test_a_host_without_a_database_of_its_own_has_nothing_to_start() -> None:
    machine = Machine(pulp_api=True, pulp_worker=True)
    scope = DatabaseRuns(pulp="katello", host_name="here")
    assert scope.apply(machine.here, scope.observe(machine.here)).not_applicable
    assert not database_is_stopped(machine.here, "katello", "here")
    scope.leave(machine.here, {"running": True})
    assert machine.calls == []


def test_services_that_ended_meanwhile_run_again_and_no_stopped_one_is_started() -> None:
    machine = Machine(pulp_api=True, pulp_worker=False)
    scope = ServicesAsBefore(pulp="katello", host_name="here")
    before = entered(scope, machine)
    assert machine.calls == []
    machine.units["pulp-api"] = False  # as all of them do where PostgreSQL is restarted
    report = scope.leave(machine.here, before)
    assert (machine.units, report.changed) == ({"pulp-api": True, "pulp-worker": False}, True)
    assert machine.calls == [("start", "pulp-api")]
    machine.units["pulp-worker"] = True
    report = scope.leave(machine.here, before)
    assert (machine.units["pulp-worker"], report.changed) == (True, False)
    assert "started by somebody meanwhile" in report.warnings[0]


def test_starting_all_of_them_would_start_what_was_stopped() -> None:
    """The control: what a scope without a memory would do is seen."""
    machine = Machine(pulp_api=True, pulp_worker=False)
    for name in machine.units:
        step = RunService(host_name="here", kind="systemd", name=name, verb="start")
        step.apply(machine.here, step.observe(machine.here))
    assert machine.units == {"pulp-api": True, "pulp-worker": True}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/usr/bin/python3 /usr/bin/dnf upgrade -y", True),
        ("/usr/bin/python3.11 -s /usr/bin/dnf-automatic", True),
        ("apt-get -y dist-upgrade", True),
        ("/usr/bin/dpkg --configure -a", True),
        ("rpm -Uvh pulp.rpm", True),
        ("/usr/bin/ruby /usr/bin/foreman-installer", True),
        ("rpm -qa", False),
        ("apt list", False),
        ("/usr/bin/python3 /usr/share/unattended-upgrades/unattended-upgrade-shutdown", False),
        ("vim /etc/apt/sources.list", False),
        ("/usr/bin/python3", False),
        ("", False),
    ],
)
def test_who_changes_packages_is_told_by_its_command_line(line: str, found: bool) -> None:
    argv = tuple(line.split())
    assert changes_packages(argv) is found
    host = MemoryHost("here")
    host.processes = lambda: [ProcessInfo(7, 1, "b", "root", argv)]  # type: ignore[method-assign]
    here = Target(MemoryWorld(None, hosts={"here": host}), MemoryRun())
    problems = list(PackagesRest(host_name="here").check(here))
    assert [problem.name for problem in problems] == (["package-manager"] if found else [])
