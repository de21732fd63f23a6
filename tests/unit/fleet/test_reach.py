"""What a host answers before work begins there: a value for each, whatever stands in the way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ctl.errors import Outcome, RefusedError, UnreachableError
from ctl.fleet import reach as module
from ctl.fleet.describe import Limits, check_report, list_report
from ctl.fleet.reach import Reached, reach
from ctl.hosts.base import Command, LineSink, Result
from ctl.hosts.local import LocalHost
from ctl.hosts.posix import PosixHost
from ctl.testing import MemoryHost, MemoryWorld
from ctl.testing.hosts import FOREVER, Script
from tests.support.shells import HereShell
from tests.unit.fleet.test_select import site_of

GIB = 2**30


class World(MemoryWorld):
    """A world whose hosts are whatever a test puts in."""


def world_of(state_dir: str, **hosts: object) -> World:
    site = site_of({name: {} for name in hosts})
    described = {name: host.model_copy(update={"state_dir": state_dir}) for name, host in site.hosts.items()}
    world = World(site.model_copy(update={"hosts": described}), state_dir=state_dir)
    world.hosts = hosts  # type: ignore[assignment]
    return world


class Away(MemoryHost):
    """A host that fails in the way that it is given."""

    error: Exception

    def run(self, command: Command, on_line: LineSink | None = None) -> Result:
        raise self.error


def failing(error: Exception) -> Away:
    host = Away("away")
    host.error = error
    return host


def answering(**facts: str) -> MemoryHost:
    said = {"uid": "0", "user": "root", "there": "/var", "directory": "1", "writable": "1", **facts}
    text = "".join(f"{key}={value}\n" for key, value in said.items() if value)
    return MemoryHost("main", {"/bin/sh": lambda command: Script(0, text.encode())})


@pytest.mark.parametrize("kind", ["local", "shell"])
def test_a_real_machine_is_described_and_nothing_is_created(kind: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "deep" / "state")
    host = LocalHost("main", folder) if kind == "local" else PosixHost("main", HereShell("main"), folder)
    (found,) = reach(world_of(folder, main=host), ["main"])
    assert (found.outcome, found.uid, found.reason, found.missing) == (Outcome.OK, os.getuid(), "", ())
    assert found.host_name == os.uname().nodename
    assert found.system.startswith("Linux ")
    assert found.state_dir == folder
    assert found.free_bytes is not None
    assert found.free_bytes > 0
    assert found.clock_skew_seconds is not None
    assert abs(found.clock_skew_seconds) < 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"writable": ""}, "root may not write into /var"),
        ({"directory": ""}, "/var on main is not a directory"),
        ({"free": "1"}, "is full"),
        ({"files": "0"}, "no room for another file"),
        ({"missing": "setsid"}, "lacks programs that regctl needs: setsid"),
        ({"uid": ""}, "does not answer as a POSIX shell does"),
    ],
)
def test_what_keeps_work_from_being_done_is_named_with_a_hint(facts: dict[str, str], reason: str) -> None:
    (found,) = reach(world_of("/var/lib/regctl", main=answering(**facts)), ["main"])
    assert found.outcome is Outcome.REFUSED
    assert reason in found.reason
    assert found.hint


def test_one_hosts_trouble_is_its_own() -> None:
    hosts = {
        "a": failing(UnreachableError("no route", hint="look")),
        "b": answering(),
        "c": failing(RefusedError("cannot become root")),
        "d": failing(ZeroDivisionError("a bug")),
        "e": MemoryHost("e", {"/bin/sh": lambda command: Script(0, seconds=FOREVER)}),
    }
    found = reach(world_of("/var", **hosts), list(hosts), at_once=2)
    assert [(one.host, one.outcome.value) for one in found] == [
        ("a", "unreachable"),
        ("b", "ok"),
        ("c", "refused"),
        ("d", "refused"),
        ("e", "unreachable"),
    ]
    assert (found[0].reason, found[0].hint) == ("no route", "look")
    assert "ZeroDivisionError" in found[3].reason


@pytest.mark.parametrize(
    ("clock", "skew"),
    [("1000.25", 0.25), ("900.5", -99.5), ("1000.N", 0.5), ("1000.%N", 0.5), ("", None), ("noon", None)],
)
def test_a_clock_is_compared_whether_or_not_it_has_fractions(clock: str, skew: float | None) -> None:
    assert module._skew(clock, 1000.0) == skew


LIMITS = Limits(skew_seconds=5, free_bytes=GIB)


def well(host: str = "main", **other: object) -> Reached:
    facts: dict[str, object] = {"user": "root", "uid": 0, "system": "Linux", "free_bytes": 2 * GIB}
    return Reached(host, **{**facts, "clock_skew_seconds": 0.1, **other})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "outcome", "findings"),
    [
        (well(), Outcome.OK, 0),
        (well(clock_skew_seconds=-6.0), Outcome.WARNING, 1),
        (well(clock_skew_seconds=6.0, free_bytes=GIB - 1), Outcome.WARNING, 2),
        (well(clock_skew_seconds=None, free_bytes=None), Outcome.WARNING, 2),
        (well(outcome=Outcome.REFUSED, reason="no"), Outcome.REFUSED, 0),
        (well(outcome=Outcome.UNREACHABLE, reason="no"), Outcome.UNREACHABLE, 0),
    ],
)
def test_a_check_is_as_bad_as_its_worst_host(found: Reached, outcome: Outcome, findings: int) -> None:
    site = site_of({"main": {}, "other": {}})
    report = check_report(site, [well("other"), found], LIMITS)
    assert report.outcome is outcome
    hosts: Any = report.data["hosts"]
    told = {host["host"]: host for host in hosts}
    assert len(told["main"]["findings"]) == findings
    assert told["other"]["result"] == "ok"


def test_a_list_names_the_registries_of_each_host() -> None:
    site = site_of({"a": {"role": "x"}, "b": {}}, {"hub": ["a", "b"], "edge": ["b"]})
    report = list_report(site, "*")
    hosts: Any = report.data["hosts"]
    assert [host["registries"] for host in hosts] == [["hub"], ["hub", "edge"]]
