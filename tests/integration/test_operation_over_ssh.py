"""Maintenance, health checks and the recipes for operation with a node behind a real sshd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.registry import RegistryServer
from tests.support.sshd import SshServer
from tests.support.transfer import push_status
from tests.support.two_nodes import TwoNodes

pytestmark = [pytest.mark.registry]
CRON = b"5 4 * * * root mirror\n"


class OneFar(TwoNodes):
    """The second node's host is reached over SSH; a cron file lies there too."""

    sshd: SshServer

    @property
    def cron(self) -> Path:
        return self.folder / "cron.d" / "mirror"

    def description(self) -> dict[str, Any]:
        found = super().description()
        found["hosts"]["there"] = self.sshd.described(state_dir=str(self.folder / "far-state"))
        found["maintenance"] = {"timers": [{"host": "there", "kind": "cron-file", "path": str(self.cron)}]}
        return found

    def write(self) -> OneFar:
        super().write()
        self.cron.parent.mkdir(exist_ok=True)
        self.cron.write_bytes(CRON)
        return self


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneFar]:
    folder = tmp_path_factory.mktemp("far")
    site = OneFar(folder / "site", RegistryServer(folder / "registry"))
    with SshServer(folder / "sshd", "there") as site.sshd, site:
        yield site


def test_maintenance_reaches_the_far_node_and_its_timer(site: OneFar) -> None:
    config = site.other.config_file.read_bytes()
    on = site.ok("maintenance", "on", "--reason", "far", "--yes")
    assert on["state"] == "on"
    assert ([push_status(site.server.url), push_status(site.other.url)], site.cron.exists()) == (
        [405, 405],
        False,
    )
    assert site.ok("maintenance", "status")["findings"] == []
    assert site.ok("maintenance", "off", "--yes")["state"] == "off"
    assert ([push_status(site.server.url), push_status(site.other.url)], site.cron.read_bytes()) == (
        [201, 201],
        CRON,
    )
    assert site.other.config_file.read_bytes() == config


def test_check_asks_the_far_clock_and_the_far_program(site: OneFar) -> None:
    done = site.regctl("check", "clock", "version-known", "node-listening")
    assert done.exit_code == 0, str(done)
    (clock,) = [one for one in done.json["checks"] if one["name"] == "clock"]
    assert [(one["where"], one["result"]) for one in clock["seen"]] == [("there", "ok")]


@pytest.mark.soak
def test_rolling_restart_reaches_both(site: OneFar) -> None:
    before = {one["host"]: one["pid"] for one in site.regctl("service", "status").json["services"]}
    done = site.regctl("recipe", "run", "rolling-restart", "--set", "registry=main", "--yes")
    assert done.exit_code == 0, str(done)
    after = {one["host"]: one["pid"] for one in site.regctl("service", "status").json["services"]}
    assert all(after[host] not in (None, before[host]) for host in ("here", "there"))


def test_a_host_that_is_gone_is_a_half_and_a_failed_check(site: OneFar) -> None:
    site.sshd.stop()
    try:
        status = site.regctl("maintenance", "status")
        assert (status.exit_code, status.json["state"]) == (0, "off")
        done = site.regctl("check", "clock", "node-listening", "open-runs")
        found = {one["name"]: one["result"] for one in done.json["checks"]}
        assert (done.exit_code, found) == (
            1, {"node-listening": "failed", "open-runs": "ok", "clock": "failed"}
        )  # fmt: skip
        refused = site.regctl("maintenance", "on", "--yes")
        assert refused.exit_code == 7, str(refused)
        assert push_status(site.server.url) == 201
    finally:
        site.sshd.start()
