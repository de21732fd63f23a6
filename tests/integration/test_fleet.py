"""A recipe over many hosts on real SSH servers: what goes wrong on some, what is left, and kill -9."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from ctl.recipes import runs
from tests.support.programs import find
from tests.support.site import Done
from tests.support.sshd import SshServer, key_pair
from tests.support.waiting import clean_environment

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = """\
version: 1
name: hand-out
summary: Give every host its settings and start what reads them
why: to try many hosts at once
parameters:
  hosts: {type: string, default: all, help: which hosts}
  first: {type: integer, default: 1, help: hosts that go first}
  at_once: {type: integer, default: 5, help: hosts at once}
  max_fail: {type: integer, default: 0, help: hosts that may fail}
  text: {type: string, default: "setting = 1", help: what to write}
question: Go?
items:
  - across: {hosts: [$hosts]}
    canary: $first
    at_once: $at_once
    max_fail: $max_fail
    because: hosts do not depend on each other
    do:
      - step: write-file
        with: {host_name: $host, path: "FOLDER/$host/settings", content: $text}
        because: the program reads it
      - step: run-program
        with: {host_name: $host, argv: [sh, -c, "cat FOLDER/$host/settings >> FOLDER/$host/started"]}
        because: it starts
"""


class Fleet:
    """SSH servers, each with a folder of its own, and a site whose databases are all away."""

    def __init__(self, folder: Path, count: int, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.data = folder / "data"
        self.names = [f"h{number:02}" for number in range(1, count + 1)]
        identity = folder / "identity"
        key_pair(identity)
        self.servers = {name: SshServer(folder / name, name, identity=identity) for name in self.names}
        for name in self.names:
            (self.data / name).mkdir(parents=True)
        (folder / "recipes.d").mkdir()
        text = RECIPE.replace("FOLDER", str(self.data))
        (folder / "recipes.d" / "hand-out.yml").write_text(text)
        hosts = {
            name: server.described(state_dir=str(folder / name / "regctl"), connect_timeout=5)
            for name, server in self.servers.items()
        }
        away = {"host": "127.0.0.1", "port": 1, "dbname": "x", "user": "x", "password": "env:NONE"}
        site = {
            "version": 1,
            "state_dir": str(folder / "state"),
            "hosts": hosts,
            "databases": {"away": away},
            "control_database": "away",
            "registries": {},
        }
        (folder / "site.yml").write_text(yaml.safe_dump(site))

    def start(self, *names: str) -> None:
        for name in names or self.names:
            self.stack.enter_context(self.servers[name])

    def argv(self, *words: str, output: str = "json") -> list[str]:
        return [
            sys.executable,
            "-m",
            "ctl",
            "--site",
            str(self.folder / "site.yml"),
            "--output",
            output,
            *words,
        ]

    def environment(self, **more: str) -> dict[str, str]:
        return clean_environment(PYTHONPATH=str(REPOSITORY), **more)

    def regctl(self, *words: str, output: str = "json", **environment: str) -> Done:
        done = subprocess.run(
            self.argv(*words, output=output),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            env=self.environment(**environment),
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def hand_out(self, *words: str, **settings: object) -> list[str]:
        given = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        return ["recipe", "run", "hand-out", "--yes", *given, *words]

    def started(self) -> dict[str, int]:
        """How often the program ran on each host."""
        found = {}
        for name in self.names:
            path = self.data / name / "started"
            found[name] = len(path.read_text().splitlines()) if path.exists() else 0
        return found

    def touched(self) -> set[str]:
        return {
            name for name in self.names if any(one.name != "ballast" for one in (self.data / name).iterdir())
        }


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def results(done: Done) -> dict[str, str]:
    return {one["host"]: one["result"] for one in done.json["hosts"]}


# -- twenty hosts -------------------------------------------------------------------------------------------

DEAD, IMPOSTOR, FULL = "h03", "h07", "h12"


@pytest.fixture
def twenty(tmp_path: Path, stack: ExitStack) -> Fleet:
    """Twenty hosts: one is dead, one has another host key than was pinned, one has a full disk."""
    fleet = Fleet(tmp_path, 20, stack)
    fleet.servers[IMPOSTOR].change_host_key()
    fleet.start(*(name for name in fleet.names if name != DEAD))
    full = fleet.data / FULL
    subprocess.run([find("mount"), "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(full)], check=True)
    stack.callback(subprocess.run, [find("umount"), "-l", str(full)], check=True)
    with (full / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(full).f_bavail == 0
    return fleet


def test_twenty_hosts_with_one_dead_one_impostor_and_one_full_disk(twenty: Fleet) -> None:
    # More are away than is allowed: nothing at all is changed.
    few = "h01,h03,h07"
    refused = twenty.regctl(*twenty.hand_out(hosts=few, max_fail=1))
    assert refused.exit_code == 7, refused
    assert results(refused) == {"h01": "not-attempted", DEAD: "unreachable", IMPOSTOR: "unreachable"}
    assert twenty.touched() == set()
    assert runs.ids(str(twenty.folder / "state")) == []

    # Two are allowed, and a third fails on its full disk: what comes after it is not touched.
    done = twenty.regctl(*twenty.hand_out(max_fail=2, at_once=1))
    assert done.exit_code == 1, done
    found = results(done)
    position = twenty.names.index(FULL)
    before = [name for name in twenty.names[:position] if name not in (DEAD, IMPOSTOR)]
    after = twenty.names[position + 1 :]
    assert {name: found[name] for name in before} == dict.fromkeys(before, "changed")
    assert (found[DEAD], found[IMPOSTOR], found[FULL]) == ("unreachable", "unreachable", "failed")
    assert {name: found[name] for name in after} == dict.fromkeys(after, "not-attempted")
    reasons = {one["host"]: one["reason"] for one in done.json["hosts"]}
    assert "No space left" in reasons[FULL]
    assert "host key" in reasons[IMPOSTOR]
    assert twenty.touched() == set(before)
    run = done.json["run"]

    # All is mended, and only what is left is done.
    twenty.start(DEAD)
    twenty.servers[IMPOSTOR].trust()
    (twenty.data / FULL / "ballast").unlink()
    rest = twenty.regctl(*twenty.hand_out("--unfinished", run, at_once=10, max_fail=2))
    assert rest.exit_code == 0, rest
    left = [DEAD, IMPOSTOR, FULL, *after]
    assert results(rest) == dict.fromkeys(sorted(left), "changed")
    assert twenty.started() == dict.fromkeys(twenty.names, 1)

    # Nothing is left any more, and another recipe is not the same recipe.
    nothing = twenty.regctl(*twenty.hand_out("--unfinished", rest.json["run"]))
    assert nothing.exit_code == 2
    assert "left nothing" in nothing.json["error"]["message"]
    other = twenty.regctl(*twenty.hand_out("--unfinished", run, text="setting = 2"))
    assert other.exit_code == 6, other
    assert "WriteFile differs in content" in other.json["error"]["message"]


# -- killed --------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path, stack: ExitStack) -> Fleet:
    fleet = Fleet(tmp_path, 3, stack)
    fleet.start()
    return fleet


def boundaries(fleet: Fleet) -> list[str]:
    done = fleet.regctl(*fleet.hand_out(at_once=1), REGCTL_FAILPOINT="list")
    assert done.exit_code == 0, done
    return [line.split(" ", 2)[2] for line in done.stderr.splitlines() if line.startswith("REGCTL_FAILPOINT")]


def again(fleet: Fleet) -> None:
    """Bring everything back to before."""
    shutil.rmtree(fleet.folder / "state")
    for name in fleet.names:
        shutil.rmtree(fleet.data / name)
        (fleet.data / name).mkdir()


def kill_and_resume(fleet: Fleet, index: int, when: str) -> None:
    cut = fleet.regctl(*fleet.hand_out(at_once=2), REGCTL_FAILPOINT=f"{index}:{when}:kill")
    assert cut.exit_code == -signal.SIGKILL, cut
    opened = runs.open_runs(str(fleet.folder / "state"))
    if opened:
        resumed = fleet.regctl("run", "resume", opened[0].id, "--yes")
        assert resumed.exit_code == 0, resumed
        assert results(resumed) == dict.fromkeys(fleet.names, "changed")
    else:
        assert fleet.regctl(*fleet.hand_out()).exit_code == 0
    assert fleet.started() == dict.fromkeys(fleet.names, 1)
    assert runs.open_runs(str(fleet.folder / "state")) == []


def test_killed_and_resumed_with_every_database_away(three: Fleet) -> None:
    names = boundaries(three)
    for name, when in (("apply 1.r1.2 RunProgram", "after"), ("journal row-end 1.r1", "before")):
        again(three)
        kill_and_resume(three, names.index(name) + 1, when)


@pytest.mark.soak
def test_killed_at_every_boundary_of_a_fleet_run(three: Fleet) -> None:
    names = boundaries(three)
    for index in range(3, len(names)):
        for when in ("before", "after"):
            again(three)
            kill_and_resume(three, index, when)


# -- followed --------------------------------------------------------------------------------


def test_a_run_is_followed_from_another_terminal(three: Fleet) -> None:
    slow = (three.folder / "recipes.d" / "hand-out.yml").read_text().replace('"cat ', '"sleep 1; cat ')
    (three.folder / "recipes.d" / "hand-out.yml").write_text(slow)
    argv = three.argv(*three.hand_out(first=0))
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=three.environment()
    ) as run:
        deadline = time.monotonic() + 20
        while not list(three.folder.glob("state/runs/*/journal.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        followed = three.regctl("run", "follow", output="jsonl")
        assert run.wait(20) == 0
    assert followed.exit_code == 0, followed
    lines: list[dict[str, Any]] = [json.loads(line) for line in followed.stdout.splitlines()]
    begun = {line["host"] for line in lines if line.get("event") == "row-started"}
    ended = {line["host"]: line["result"] for line in lines if line.get("event") == "row-ended"}
    assert begun == set(three.names)
    assert ended == dict.fromkeys(three.names, "changed")
    assert lines[-1]["schema"] == "regctl/run-follow/1"
    assert (lines[-1]["state"], lines[-1]["result"]) == ("done", "changed")
    assert {one["host"]: one["result"] for one in lines[-1]["hosts"]} == ended
    assert os.listdir(three.folder / "state" / "runs") == [lines[-1]["id"]]
