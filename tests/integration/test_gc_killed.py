"""kill -9 of regctl at every boundary of a collection and inside the collector: nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.recipes import runs
from tests.support.collecting import GC, CollectingSite, blob_bytes, fill, in_real_run, running, wrapper
from tests.support.images import image
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.registry]


class Trial:
    """One registry whose storage is put back before each kill."""

    def __init__(self, site: CollectingSite) -> None:
        self.site = site
        self.kept = site.folder / "storage-before"
        shutil.copytree(site.server.storage, self.kept)
        self.config = site.server.config_file.read_bytes()
        self.before = blob_bytes(site)

    def open_runs(self) -> list[str]:
        """The runs that have not ended; the commands that say so are tested elsewhere."""
        return [run.id for run in runs.open_runs(str(self.site.state_dir))]

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
        if self.open_runs():
            resumed = site.regctl("run", "resume", "--yes")
            assert resumed.exit_code in (0, 1), str(resumed)
        assert site.mode() == "writable"
        assert site.server.config_file.read_bytes() == self.config
        leftovers = [p.name for p in site.server.folder.iterdir() if "regctl" in p.name]
        assert leftovers == []
        assert not (site.server.storage / ".regctl-aside").exists()
        with site.client() as client:
            assert len(client.pull_everything()) == 3
            client.push("team/app", "after", image("after"))
        assert not self.open_runs()


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with running(tmp_path) as site:
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
    assert sweep(trial, every=19) >= 3


@pytest.mark.soak
def test_killed_at_every_boundary_the_run_is_resumed_and_nothing_is_lost(trial: Trial) -> None:
    landed = sweep(trial, every=1)
    print(f"{landed} kills landed")
    assert landed >= 60


def test_killed_inside_the_collection_what_its_collector_said_is_found_again(tmp_path: Path) -> None:
    """Here it has ended meanwhile; test_gc_nodes.py has one that still runs."""
    log = tmp_path / "collections"
    slow = wrapper(tmp_path, in_real_run(f"echo started >> {log}; sleep 1"))
    with running(tmp_path, slow) as site:
        fill(site)
        trial = Trial(site)
        going = site.start(*GC)
        wait_until(log.exists, what="the collector", timeout=60)
        os.kill(going.pid, signal.SIGKILL)
        going.communicate()
        assert site.mode() == "read-only"
        status = site.regctl("status")
        assert trial.open_runs()[0] in status.stdout + status.stderr, str(status)
        wait_until(lambda: blob_bytes(site) < trial.before, what="its end", timeout=60)
        time.sleep(0.3)
        trial.recover()
        assert log.read_text().split() == ["started"]
        pushed = sum(len(c.data) for c in image("after").everything().values())
        assert blob_bytes(site) - pushed < trial.before
