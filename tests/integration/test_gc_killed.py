"""kill -9 of regctl at every boundary of a collection and inside the collector: nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_gc import blob_bytes, fill, states, wrapper
from tests.support.images import image
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.registry]
OPEN = {"state": "running", "listening": True, "read_only": False}
GC = ("gc", "--read-only", "--yes")


class Trial:
    """One registry whose storage is put back before each kill."""

    def __init__(self, site: SiteUnderTest) -> None:
        self.site = site
        self.kept = site.folder / "storage-before"
        shutil.copytree(site.server.storage, self.kept)
        self.config = site.server.config_file.read_bytes()
        self.before = blob_bytes(site)

    def reset(self) -> None:
        """Bring the storage back; the registry has no cache, so it need not be restarted."""
        shutil.rmtree(self.site.server.storage)
        shutil.copytree(self.kept, self.site.server.storage)

    def boundaries(self) -> list[str]:
        """Run a collection to its end and return the names of the boundaries it passed."""
        self.reset()
        done = self.site.regctl(*GC, REGCTL_FAILPOINT="list")
        assert done.exit_code == 0, str(done)
        return [line.split(" ", 2)[2] for line in done.stderr.splitlines() if line.startswith("REGCTL_FAIL")]

    def kill_at(self, number: int, when: str) -> bool:
        """Kill a collection at a boundary; False if it ended before it got there."""
        self.reset()
        killed = self.site.regctl(*GC, REGCTL_FAILPOINT=f"{number}:{when}:kill")
        return killed.exit_code == -signal.SIGKILL

    def recover(self) -> None:
        """What an operator does next, and what must hold after it."""
        site = self.site
        runs = site.regctl("run", "list").json["runs"]
        open_runs = [run["id"] for run in runs if run["state"] == "open"]
        if open_runs:
            status = site.regctl("status")
            assert open_runs[0] in status.stdout + status.stderr, str(status)
            resumed = site.regctl("run", "resume", "--yes")
            assert resumed.exit_code in (0, 1), str(resumed)
        assert states(site) == OPEN
        assert site.server.config_file.read_bytes() == self.config
        leftovers = [p.name for p in site.server.folder.iterdir() if "regctl" in p.name]
        assert leftovers == []
        assert not (site.server.storage / ".regctl-aside").exists()
        with site.client() as client:
            assert len(client.pull_everything()) == 3
            client.push("team/app", "after", image("after"))
        assert not [r for r in site.regctl("run", "list").json["runs"] if r["state"] == "open"]


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry")) as site:
        fill(site)
        yield Trial(site)


def sweep(trial: Trial, every: int) -> int:
    names = trial.boundaries()
    assert len(names) > 20
    landed = 0
    points = [(n, when) for n in range(1, len(names) + 1) for when in ("before", "after")]
    for number, when in points[::every]:
        if trial.kill_at(number, when):
            landed += 1
        try:
            trial.recover()
        except AssertionError as error:
            raise AssertionError(f"killed {when} boundary {number} ({names[number - 1]}): {error}") from error
    return landed


def test_killed_at_some_boundaries_the_run_is_resumed_and_nothing_is_lost(trial: Trial) -> None:
    assert sweep(trial, every=9) >= 5


@pytest.mark.soak
def test_killed_at_every_boundary_the_run_is_resumed_and_nothing_is_lost(trial: Trial) -> None:
    assert sweep(trial, every=1) >= 40


def slow_collector(tmp_path: Path) -> str:
    """A collector whose real run takes two seconds more and leaves a line for each start."""
    log = tmp_path / "collections"
    return wrapper(
        tmp_path,
        f'case "$*" in *--dry-run*) ;; *garbage-collect*) echo started >> {log}; sleep 2;; esac',
    )


@pytest.mark.parametrize("wait", [0.0, 4.0], ids=["collector-still-runs", "collector-has-ended"])
def test_killed_inside_the_collection_the_same_collector_is_found_again(tmp_path: Path, wait: float) -> None:
    server = RegistryServer(tmp_path / "registry")
    with SiteUnderTest(tmp_path / "site", server, binary=slow_collector(tmp_path)) as site:
        fill(site)
        trial = Trial(site)
        log = tmp_path / "collections"
        running = site.start(*GC)
        wait_until(log.exists, what="the collector", timeout=30)
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        assert states(site)["read_only"] is True
        time.sleep(wait)
        trial.recover()
        assert log.read_text().split() == ["started"]
        assert trial.before > blob_bytes(site) - sum(
            len(c.data) for c in image("after").everything().values()
        )
