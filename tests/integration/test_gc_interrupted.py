"""Ctrl-C, SIGTERM and a lost terminal during a collection: it stops safely, and says what is left open."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ctl.recipes import runs
from tests.support.collecting import (
    GC,
    CollectingSite,
    blob_bytes,
    in_dry_run,
    in_real_run,
    parked,
    wrapper,
)
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.registry]


class Slow:
    """A site whose collector waits in one of its runs, and regctl at work on it."""

    def __init__(self, folder: Path, in_run: str, seconds: float = 60.0, obeys: bool = True) -> None:
        self.log = folder / "started"
        deaf = "" if obeys else "trap '' TERM; "
        waits = f"{deaf}echo $$ >> {self.log}; sleep {seconds}"
        self.site: CollectingSite = parked(
            folder, wrapper(folder, in_dry_run(waits) if in_run == "dry" else in_real_run(waits))
        )
        self.config = self.site.server.config_file.read_bytes()
        self.before = blob_bytes(self.site)
        self.going = self.site.start(*GC)
        wait_until(lambda: self.log.exists() and self.log.read_text().endswith("\n"), what="it", timeout=60)

    def signal(self, number: int) -> None:
        self.going.send_signal(number)

    def end(self) -> tuple[int, str]:
        _stdout, stderr = self.going.communicate(timeout=60)
        return self.going.returncode, stderr.decode()

    def collectors(self) -> list[str]:
        return [p for p in self.log.read_text().split() if Path(f"/proc/{p}").exists()]

    def kill_collectors(self) -> None:
        for pid in self.collectors():
            os.killpg(int(pid), signal.SIGKILL)

    def is_as_before(self) -> bool:
        aside = self.site.server.storage / ".regctl-aside"
        same = self.site.server.config_file.read_bytes() == self.config and not aside.exists()
        return same and not runs.open_runs(str(self.site.state_dir)) and not self.collectors()


@pytest.mark.parametrize(
    ("in_run", "number"),
    [("dry", signal.SIGINT), ("real", signal.SIGINT), ("real", signal.SIGTERM), ("real", signal.SIGHUP)],
)
def test_the_first_signal_stops_the_collector_and_leaves_the_scopes(
    tmp_path: Path, in_run: str, number: signal.Signals
) -> None:
    slow = Slow(tmp_path, in_run)
    slow.signal(number)
    code, stderr = slow.end()
    assert code == 130, stderr
    assert slow.is_as_before(), stderr
    assert blob_bytes(slow.site) == slow.before


def test_a_second_ctrl_c_stops_at_once_and_names_what_is_open(tmp_path: Path) -> None:
    # The collector does not obey TERM, so that regctl still waits for its end at the second Ctrl-C.
    slow = Slow(tmp_path, "real", obeys=False)
    slow.signal(signal.SIGINT)
    stderr = slow.going.stderr
    assert stderr is not None
    assert any(b"stopping at the next safe point" in line for line in stderr)
    slow.signal(signal.SIGINT)
    code, rest = slow.end()
    assert code == 130, rest
    assert "still entered" in rest
    assert "run resume" in rest
    assert runs.open_runs(str(slow.site.state_dir))
    assert slow.collectors()
    assert slow.site.server.config_file.read_bytes() != slow.config  # closed while a collector lives
    slow.kill_collectors()
    done = slow.site.regctl("run", "resume", "--leave-only", "--yes")
    assert done.exit_code == 0, str(done)
    assert slow.is_as_before()
    assert blob_bytes(slow.site) == slow.before


def test_a_lost_terminal_and_a_closed_pipe_keep_nothing_open(tmp_path: Path) -> None:
    slow = Slow(tmp_path, "real", seconds=1)
    assert slow.going.stdout is not None
    assert slow.going.stderr is not None
    slow.going.stdout.close()
    slow.going.stderr.close()
    slow.going.wait(60)
    assert slow.is_as_before()
    assert blob_bytes(slow.site) < slow.before


def test_a_collection_is_refused_while_another_holds_the_lock(tmp_path: Path) -> None:
    slow = Slow(tmp_path, "real", seconds=3)
    second = slow.site.regctl(*GC)
    assert (second.exit_code, second.json["result"]) == (5, "locked"), str(second)
    assert slow.end()[0] == 0
    assert slow.is_as_before()


def test_killed_in_the_collector_and_the_collector_too(tmp_path: Path) -> None:
    slow = Slow(tmp_path, "real")
    slow.signal(signal.SIGKILL)
    slow.end()
    slow.kill_collectors()
    done = slow.site.regctl("run", "resume", "--yes")
    assert done.exit_code == 1, str(done)
    assert slow.is_as_before()
    assert blob_bytes(slow.site) == slow.before
