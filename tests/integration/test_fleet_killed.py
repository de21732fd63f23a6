"""kill -9 of the controller in a fleet run over real SSH: resume converges, and nothing stays closed.

Two nodes of a real registry, each on a host of its own, are closed to pushes while a program runs on their
hosts. The site's database is an embedded PostgreSQL that is stopped all the while: getting out needs none.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import image
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest
from tests.support.sshd import SshServer
from tests.support.transfer import Client, RefusedByRegistryError
from tests.support.two_nodes import TwoNodes

pytestmark = [pytest.mark.registry]
RECIPE = """\
version: 1
name: in-a-window
summary: Run a program on each node's host while that node is closed
why: to try what a kill leaves behind
parameters:
  registry: {type: registry, help: which one}
items:
  - across: {nodes: $registry}
    at_once: 2
    because: both are alike
    do:
      - within:
          - step: read-only
            with: {registry: $registry, node: $node}
        because: nobody may push meanwhile
        do:
          - step: run-program
            with: {host_name: $host, argv: [sh, "%(ledger)s.sh", $host]}
            because: it must not run twice
"""


class FarNodes(TwoNodes, SiteUnderTest):
    """Both nodes' hosts are reached over SSH."""

    servers: dict[str, SshServer]
    ledger: Path

    def description(self) -> dict[str, Any]:
        found = super().description()
        for name, server in self.servers.items():
            found["hosts"][name] = server.described(state_dir=str(server.root / "state"))
        found["databases"] = {"metadata": {"embedded": True}}
        found["control_database"] = "metadata"
        return found

    def nodes(self) -> list[str]:
        return [self.server.url, self.other.url]

    def window(self, **environment: str) -> Any:
        return self.regctl("recipe", "run", "in-a-window", "--yes", timeout=120, **environment)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[FarNodes]:
    made = FarNodes(tmp_path / "site", RegistryServer(tmp_path / "registry"))
    made.servers = {name: SshServer(tmp_path / f"ssh-{name}", name) for name in ("here", "there")}
    for server in made.servers.values():  # machines of their own: neither sees the other's processes
        server.before = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    made.ledger = tmp_path / "ledger"
    made.ledger.mkdir()
    try:
        for server in made.servers.values():
            server.start()
        with made:
            folder = made.folder / "recipes.d"
            folder.mkdir()
            program = f"cd {made.ledger}; echo begun >>$1; sleep 0.2; echo ended >>$1\n"
            Path(f"{made.ledger}.sh").write_text(program)
            (folder / "in-a-window.yml").write_text(RECIPE % {"ledger": made.ledger})
            yield made
    finally:
        for server in made.servers.values():
            server.stop()


def accepts(url: str, tag: str) -> bool:
    """Say whether a push to this node is taken; a refusal because of read-only is a no."""
    with Client(url) as client:
        try:
            client.push("team/app", tag, image(tag))
        except RefusedByRegistryError as error:
            if error.status != 405:
                raise
            return False
    return True


def kill_and_resume(site: FarNodes, number: int, when: str, *options: str) -> bool:
    """Kill at a boundary, resume, and look at everything that matters. False: there is no such boundary."""
    for file in site.ledger.iterdir():
        file.unlink()
    before = [Path(node.config_file).read_bytes() for node in (site.server, site.other)]
    done = site.window(REGCTL_FAILPOINT=f"{number}:{when}:kill")
    assert done.exit_code in (0, -signal.SIGKILL), str(done)
    killed = bool(done.exit_code == -signal.SIGKILL)
    open_runs = [run for run in site.ok("run", "list")["runs"] if run["state"] == "open"]
    if open_runs:
        resumed = site.regctl("run", "resume", "--yes", *options, timeout=120)
        assert resumed.exit_code in (0, 130), str(resumed)
    assert [run for run in site.ok("run", "list")["runs"] if run["state"] == "open"] == []
    lines = {file.name: file.read_text().split() for file in site.ledger.iterdir()}
    for host, said in lines.items():
        assert said == ["begun", "ended"] or options, f"{host}: {said}"
        assert said.count("begun") <= 1, f"{host} was begun twice: {said}"
    if open_runs and not options:
        assert set(lines) == {"here", "there"}
    assert [Path(node.config_file).read_bytes() for node in (site.server, site.other)] == before
    for index, url in enumerate(site.nodes()):
        assert accepts(url, f"after-{number}-{when}-{index}"), f"{url} stayed closed"
    return killed


def test_a_kill_in_the_middle_is_resumed_over_ssh_without_a_database(site: FarNodes) -> None:
    status = site.ok("database", "status")
    assert "running" not in json.dumps(status["databases"]).replace('"running": false', "")
    for number, when in ((9, "after"), (14, "before"), (20, "after")):
        assert kill_and_resume(site, number, when), (number, when)


def test_backing_out_leaves_both_nodes_as_they_were(site: FarNodes) -> None:
    assert kill_and_resume(site, 15, "after", "--leave-only")


def test_nodes_that_were_closed_before_are_closed_after_it(site: FarNodes) -> None:
    site.ok("read-only", "on", "--yes")
    done = site.window(REGCTL_FAILPOINT="14:before:kill")
    assert done.exit_code == -signal.SIGKILL
    resumed = site.regctl("run", "resume", "--yes", timeout=120)
    assert resumed.exit_code == 0, str(resumed)
    assert [accepts(url, "closed") for url in site.nodes()] == [False, False]


@pytest.mark.soak
@pytest.mark.parametrize("options", [(), ("--leave-only",)])
def test_killed_at_every_boundary_of_a_fleet_run(site: FarNodes, options: tuple[str, ...]) -> None:
    landed = 0
    for when in ("before", "after"):
        number = 1
        while kill_and_resume(site, number, when, *options):
            number += 1
            landed += 1
    print(f"{landed} kills")
    assert landed > 40
