"""200 jobs, with regctl killed and connections cut at random moments: none runs twice, no outcome is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet
from tests.support.programs import find
from tests.support.waiting import clean_environment

HOSTS = 10
ROUNDS = 20
# All hosts are one machine: which of them a program runs on is told by where its output goes.
HERE = 'here=$(readlink /proc/$$/fd/1); cd "${here%/state/jobs/*}" || exit 9; '
FINISHED = ("ok", "changed")


@contextmanager
def cuts(fleet: Fleet, chance: random.Random, every: float) -> Iterator[list[str]]:
    """Cut the connections of one host after another, at random moments; yields whose were cut."""
    over, cut = threading.Event(), []

    def work() -> None:
        while not over.wait(chance.random() * 2 * every):
            name = chance.choice(list(fleet.servers))
            if fleet.servers[name].pids():
                fleet.servers[name].drop_connections()
                cut.append(name)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield cut
    finally:
        over.set()
        thread.join()


class Rounds:
    """Runs on all hosts, each gone on with until it is done everywhere."""

    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        self.fleet, self.chance = fleet, chance
        self.kills = 0

    def call(self, kill_within: float, *arguments: str) -> int:
        """Call regctl, and kill it at a random moment if it still runs then; 0: it was left to end."""
        child = subprocess.Popen(
            self.fleet.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.fleet.environment(),
            cwd=self.fleet.folder,
        )
        try:
            return child.wait(self.chance.random() * kill_within if kill_within else 120)
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            self.kills += bool(kill_within)
            assert kill_within, "regctl does not end"
            return child.wait()

    def runs(self) -> list[dict[str, Any]]:
        """The runs there are, the latest first."""
        done = self.fleet.regctl("run", "list")
        assert done.exit_code == 0, str(done)
        found: list[dict[str, Any]] = done.json["runs"]
        return found

    def go(self, number: int) -> None:
        """Run the program of this round on all hosts, whatever happens."""
        script = f"{HERE}echo x >> ran-{number}; sleep 0.{self.chance.randrange(1, 9)}; echo out-{number}"
        argv = (
            "host",
            "run",
            "--serial",
            str(HOSTS),
            "--max-fail",
            str(HOSTS),
            "all",
            "--",
            "sh",
            "-c",
            script,
        )
        before = {run["id"] for run in self.runs()}
        for attempt in range(40):
            mine = [run for run in self.runs() if run["id"] not in before]
            patience = 3.0 if attempt < 6 else 0.0
            if not mine:
                self.call(patience, *argv)
            elif mine[0]["state"] == "open":
                self.call(patience, "run", "resume", mine[0]["id"])
            elif set(self.outcomes(mine, number)) == set(self.fleet.servers):
                return
            else:
                self.call(patience, "host", "run", "--unfinished", mine[0]["id"], "--max-fail", str(HOSTS))
        raise AssertionError(f"round {number} does not come to an end: {self.runs()[0]}")

    def outcomes(self, runs: list[dict[str, Any]], number: int) -> dict[str, str]:
        """Which hosts have a known, good outcome in one of the runs, each at most once."""
        found: dict[str, str] = {}
        for run in runs:
            shown = self.fleet.regctl("run", "show", run["id"])
            for step in shown.json["steps"]:
                if step["phase"] == "apply" and step["result"] in FINISHED:
                    assert step["data"]["stdout"] == f"out-{number}\n", step
                    assert step["host"] not in found, "an outcome twice"
                    found[step["host"]] = run["id"]
        return found


@pytest.mark.soak
def test_no_job_runs_twice_and_no_outcome_is_lost(tmp_path: Path) -> None:
    seed = int(os.environ.get("REGCTL_SEED", "0")) or int(time.time())
    print(f"REGCTL_SEED={seed}")
    chance = random.Random(seed)
    with Fleet(tmp_path / "fleet", HOSTS) as fleet:
        rounds = Rounds(fleet, chance)
        cut: list[str] = []
        for number in range(ROUNDS):
            with cuts(fleet, random.Random(chance.random()), 0.5) as some:
                rounds.go(number)
            cut += some
            for name, server in fleet.servers.items():
                assert (server.root / f"ran-{number}").read_text() == "x\n", (name, number)
        print(f"{HOSTS * ROUNDS} jobs, {rounds.kills} kills of regctl, {len(cut)} cuts")
        assert rounds.kills >= ROUNDS
        assert len(cut) >= ROUNDS
        # A connection that is cut while the files of a job are removed leaves them; none of them runs.
        left = [
            server.root / "state" / "jobs" / job
            for name, server in fleet.servers.items()
            for job in fleet.jobs(name)
        ]
        assert len(left) <= len(cut)
        assert all((job / "exit").exists() for job in left), left


def naive(fleet: Fleet, name: str, chance: random.Random) -> tuple[int, bool]:
    """Run a program over the channel, again until an exit code comes; how often it ran, and if one came."""
    server = fleet.servers[name]
    ran = server.root / "naive"
    argv = [find("ssh"), "-n", "-i", str(server.identity), "-p", str(server.port), "-o", "BatchMode=yes"]
    argv += ["-o", f"UserKnownHostsFile={server.known_hosts}", "root@127.0.0.1"]
    argv += [f"echo x >> {ran}; sleep 0.3; echo out"]
    for attempt in range(10):
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
        )
        try:
            out, _ = child.communicate(timeout=chance.random() * 1.2 if attempt < 3 else 20)
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            child.communicate()
            continue
        if child.returncode == 0 and out == b"out\n":
            break
    return len(ran.read_text().split()) if ran.exists() else 0, child.returncode == 0


@pytest.mark.soak
def test_over_the_channel_programs_do_run_twice(tmp_path: Path) -> None:
    chance = random.Random(7)
    with Fleet(tmp_path / "fleet", HOSTS) as fleet:
        found = [naive(fleet, name, chance) for name in fleet.servers]
    assert any(count > 1 for count, _ in found), "the moments of the cuts prove nothing"
