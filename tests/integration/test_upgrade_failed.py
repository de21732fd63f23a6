"""What goes wrong in an upgrade: the node goes back, the others are left, a kill at any point converges."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import programs
from tests.support.transfer import Client
from tests.support.upgrading import UpgradingSite, upgrading_site

pytestmark = [pytest.mark.registry, pytest.mark.distribution3]
APPLY = ("upgrade", "apply", "main", "--yes")
NEW, OLD = "3.1.1", "2.8.2"


class Trial:
    """Both nodes, brought back to 2.8 before each try."""

    def __init__(self, site: UpgradingSite) -> None:
        self.site = site
        self.servers = {"here": site.server, "there": site.other}
        self.configs = {host: server.config_file.read_bytes() for host, server in self.servers.items()}

    def reset(self) -> None:
        drop_in = self.site.site_file.with_suffix(".d") / "50-regctl.yml"
        if drop_in.exists():
            self.site.ok("service", "stop", "--yes")
            drop_in.unlink()
        for host, server in self.servers.items():
            server.config_file.write_bytes(self.configs[host])
            for copy in server.folder.glob("config.yml.before-*"):
                copy.unlink()
        assert self.site.regctl("service", "start", "--yes").exit_code == 0
        assert self.versions() == (OLD, OLD)

    def versions(self) -> tuple[str, ...]:
        found = self.site.versions()
        return tuple(found[host].split("+")[0] for host in ("here", "there"))

    def is_old(self, host: str) -> None:
        server = self.servers[host]
        assert server.config_file.read_bytes() == self.configs[host]
        left = [p.name for p in server.folder.iterdir() if "regctl" in p.name or "before" in p.name]
        assert left == []
        assert self.site.binaries()[host] == programs.docker_registry()

    def pulls(self) -> None:
        with Client(self.site.nginx.url) as client:
            for (repository, tag), digest in self.site.images.items():
                assert digest in client.pull(repository, tag).manifests


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with upgrading_site(tmp_path_factory.mktemp("upgrade"), settle_seconds=0) as site:
        yield Trial(site)


@pytest.fixture
def trial(started: Trial) -> Trial:
    started.reset()
    return started


def broken_program(folder: Path, ends: str, *, tried: bool = True) -> Path:
    """A program that says it is 3.x and then does not serve; `tried`: but for the trial before."""
    path = folder / "registry-broken"
    real = programs.registry3()
    trial = "serve*.regctl-trial-*" if tried else "never"
    path.write_text(f'#!/bin/sh\ncase "$*" in --version|{trial}) exec {real} "$@";; esac\n{ends}\n')
    path.chmod(0o755)
    return path


def with_target(site: UpgradingSite, host: str, binary: Path) -> None:
    """Have the site lead one node to another program than the rest."""
    described = site.description()
    for node in described["registries"]["main"]["nodes"]:
        if node["host"] == host:
            node["upgrade"] = {"binary": str(binary)}
    site.site_file.write_text(yaml.safe_dump(described, sort_keys=False))


def test_a_node_that_does_not_start_goes_back_and_the_run_stops(trial: Trial, tmp_path: Path) -> None:
    site = trial.site
    with_target(site, "there", broken_program(tmp_path, "echo no such luck >&2; exit 3"))
    try:
        done = site.regctl(*APPLY)
    finally:
        site.site_file.write_text(yaml.safe_dump(site.description(), sort_keys=False))
    assert done.exit_code == 1, str(done)
    assert {one["host"]: one["result"] for one in done.json["hosts"]} == {
        "here": "changed",
        "there": "failed",
    }
    assert "no such luck" in done.stderr
    assert trial.versions() == (NEW, OLD)
    trial.is_old("there")
    assert site.nginx.serving() == ["here", "there"]
    assert not [run for run in site.ok("run", "list")["runs"] if run["state"] == "open"]
    plan = site.regctl("upgrade", "plan", "main").json
    assert (plan["mixed"], plan["roll"]) == (True, ["there"])
    assert any("side by side" in note for note in plan["notes"])
    status = site.regctl("status").json["registries"]["main"]
    assert (status["mixed"], status["versions"]) == (True, [OLD, NEW])
    assert "several versions" in " ".join(status["problems"])
    trial.pulls()
    again = site.ok(*APPLY)
    assert [(one["host"], one["result"]) for one in again["hosts"]] == [("there", "changed")]
    assert trial.versions() == (NEW, NEW)


@pytest.mark.soak
def test_the_first_that_fails_leaves_all_others_alone(trial: Trial, tmp_path: Path) -> None:
    site = trial.site
    done = site.regctl(*APPLY, "--to-binary", str(broken_program(tmp_path, "exit 3")))
    assert done.exit_code == 1, str(done)
    assert {one["host"]: one["result"] for one in done.json["hosts"]} == {
        "here": "failed", "there": "not-attempted",
    }  # fmt: skip
    assert trial.versions() == (OLD, OLD)
    for host in ("here", "there"):
        trial.is_old(host)
    assert site.nginx.drained()[-2:] == ["out here", "in here"]


def test_what_would_not_start_is_told_before_any_node_is_touched(trial: Trial, tmp_path: Path) -> None:
    site = trial.site
    calls, processes = site.nginx.drained(), site.processes()
    program = broken_program(tmp_path, "echo no luck >&2; exit 3", tried=False)
    done = site.regctl(*APPLY, "--to-binary", str(program))
    assert done.exit_code == 1, str(done)
    assert "does not serve with" in done.stderr
    assert "no luck" in done.stderr
    assert {one["result"] for one in done.json["hosts"]} == {"failed"}
    assert (site.nginx.drained(), site.processes()) == (calls, processes)
    for host in ("here", "there"):
        trial.is_old(host)


def boundaries(trial: Trial) -> int:
    done = trial.site.regctl(*APPLY, REGCTL_FAILPOINT="list")
    assert done.exit_code == 0, str(done)
    return sum(line.startswith("REGCTL_FAIL") for line in done.stderr.splitlines())


def kill_and_go_on(trial: Trial, number: int, when: str) -> None:
    """Kill at a boundary; going on must end with both on 3.x, serving, and nothing left behind."""
    trial.reset()
    site = trial.site
    killed = site.regctl(*APPLY, REGCTL_FAILPOINT=f"{number}:{when}:kill")
    assert killed.exit_code == -signal.SIGKILL, str(killed)
    if [run for run in site.ok("run", "list")["runs"] if run["state"] == "open"]:
        resumed = site.regctl("run", "resume", "--yes")
        assert resumed.exit_code in (0, 1), str(resumed)
    trial.pulls()
    again = site.regctl(*APPLY)
    assert again.exit_code == 0, f"{number}:{when} {again}"
    assert trial.versions() == (NEW, NEW), f"{number}:{when}"
    whole(trial)


def kill_and_leave(trial: Trial, number: int, when: str) -> None:
    """Kill at a boundary and only back out: each node is whole on one program or the other, and serves."""
    trial.reset()
    site = trial.site
    killed = site.regctl(*APPLY, REGCTL_FAILPOINT=f"{number}:{when}:kill")
    assert killed.exit_code == -signal.SIGKILL, str(killed)
    if [run for run in site.ok("run", "list")["runs"] if run["state"] == "open"]:
        left = site.regctl("run", "resume", "--leave-only", "--yes")
        assert left.exit_code in (0, 1, 130), str(left)
    for host, version in zip(("here", "there"), trial.versions(), strict=True):
        assert version in (OLD, NEW)
        if version == OLD:
            trial.is_old(host)
    whole(trial)


def whole(trial: Trial) -> None:
    site = trial.site
    assert site.nginx.serving() == ["here", "there"]
    assert not [run for run in site.ok("run", "list")["runs"] if run["state"] == "open"]
    for server in (site.server, site.other):
        assert [p.name for p in server.folder.iterdir() if ".regctl" in p.name] == []
    trial.pulls()


def test_killed_between_the_old_program_and_the_new(trial: Trial) -> None:
    kill_and_go_on(trial, 32, "after")  # the first node's file and program are switched, nothing is started


@pytest.mark.soak
def test_killed_while_nobody_has_proved_the_second(trial: Trial) -> None:
    kill_and_leave(trial, 68, "after")


@pytest.mark.soak
def test_killed_at_every_boundary(trial: Trial) -> None:
    last = boundaries(trial)
    step = int(os.environ.get("REGCTL_TEST_KILL_STEP", "1"))
    for number in range(1, last + 1, step):
        for when in ("before", "after"):
            kill_and_go_on(trial, number, when)
            kill_and_leave(trial, number, when)
