"""Two nodes on one storage: a window closes both, proves both, and brings each back as it was."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.collecting import GC, CollectingSite, blob_bytes, in_real_run, mode, shared, wrapper
from tests.support.registry import RegistryServer
from tests.support.two_nodes import TwoNodes
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.registry]


class Nodes(TwoNodes, CollectingSite):
    """Both nodes, as a write and a reader of files would meet them."""

    def modes(self) -> tuple[str, str]:
        return mode(self.server), mode(self.other)

    def configs(self) -> tuple[bytes, bytes]:
        return self.server.config_file.read_bytes(), self.other.config_file.read_bytes()


@pytest.fixture(scope="module")
def started(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Nodes, Callable[[], None]]]:
    folder = tmp_path_factory.mktemp("gc-nodes")
    slow = wrapper(folder, in_real_run(f"echo started >> {folder}/started; sleep 0.7"))
    site = Nodes(folder / "site", RegistryServer(folder / "registry"), binary=slow)
    with shared(site, folder / "copy") as reset:
        yield site, reset


@pytest.fixture
def nodes(started: tuple[Nodes, Callable[[], None]]) -> Nodes:
    site, reset = started
    reset()
    (site.folder.parent / "started").unlink(missing_ok=True)
    assert site.modes() == ("writable", "writable")
    return site


def test_both_are_closed_while_the_collector_runs_and_open_again_after_it(nodes: Nodes) -> None:
    before, configs = blob_bytes(nodes), nodes.configs()
    log, inside = nodes.folder.parent / "started", []

    def look() -> None:
        wait_until(log.exists, what="the collector", timeout=60)
        inside.append(nodes.modes())

    looker = threading.Thread(target=look)
    looker.start()
    report = nodes.ok(*GC)
    looker.join()
    assert inside == [("read-only", "read-only")]
    assert report["bytes"] == before - blob_bytes(nodes) > 0
    assert nodes.modes() == ("writable", "writable")
    assert nodes.configs() == configs


def test_the_one_that_was_stopped_stays_stopped_also_after_a_kill(nodes: Nodes) -> None:
    nodes.ok("service", "stop", "main/there", "--yes")
    assert nodes.modes() == ("writable", "stopped")
    configs, log = nodes.configs(), nodes.folder.parent / "started"
    going = nodes.start(*GC)
    wait_until(log.exists, what="the collector", timeout=60)
    os.kill(going.pid, signal.SIGKILL)
    going.communicate()
    assert nodes.modes() == ("read-only", "stopped")
    assert nodes.regctl(*GC).exit_code == 6  # an open run: nothing may start before it is settled
    time.sleep(0.1)
    resumed = nodes.regctl("run", "resume", "--yes")
    assert resumed.exit_code == 0, str(resumed)
    assert nodes.modes() == ("writable", "stopped")
    assert nodes.configs() == configs
    assert log.read_text().split() == ["started"]
    with nodes.client() as client:
        assert len(client.pull_everything()) == 3


def test_a_node_that_runs_and_does_not_answer_stops_it_before_anything_is_closed(
    nodes: Nodes,
) -> None:
    configs = nodes.configs()
    pid = next(p.name for p in Path("/proc").glob("[0-9]*") if serves(p, nodes.other))
    os.kill(int(pid), signal.SIGSTOP)
    try:
        done = nodes.regctl(*GC)
    finally:
        os.kill(int(pid), signal.SIGCONT)
    assert done.exit_code == 7, str(done)
    assert nodes.configs() == configs
    assert nodes.modes() == ("writable", "writable")


def serves(process: Path, server: RegistryServer) -> bool:
    try:
        argv = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"serve" in argv and os.fsencode(server.config_file) in argv
