"""A secret on its way to many hosts is seen nowhere but where it was meant to go."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.site import Done
from tests.support.sshd import SshServer, key_pair
from tests.support.waiting import clean_environment

RECIPE = """\
version: 1
name: hand-out
summary: Hand a secret to every proxy
why: so that each can log in
question: Hand it out?
items:
  - across: {roles: [proxy]}
    max_fail: 3
    because: they are alike
    do:
      - step: write-file
        with: {host_name: $host, path: "%(target)s/$host.secret", secret: "file:%(secret)s", mode: "0600"}
        because: the service reads it there
      - step: run-program
        with: {host_name: $host, argv: [sh, -c, "sleep 0.3; cat >/dev/null"], stdin_secret: "file:%(secret)s"}
        because: the program takes it on its standard input
      - step: run-program
        with: {host_name: $host, argv: [sh, -c, "cat >/dev/null; exit 3"], stdin_secret: "file:%(secret)s"}
        because: one that fails must not tell it either
"""


class Watching:
    """Looks at every process's arguments and environment, again and again, for a word."""

    def __init__(self, word: bytes) -> None:
        self.word, self.seen, self.looks = word, set[str](), 0
        self._over = threading.Event()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.looks += 1
            for folder in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        found = self.word in (folder / name).read_bytes()
                    except OSError:
                        continue
                    if found:
                        self.seen.add(name)

    @contextmanager
    def on(self) -> Iterator[Watching]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()


class Fleet:
    """Three proxies on real SSH servers, and a recipe that hands out a canary."""

    def __init__(self, folder: Path, servers: list[SshServer]) -> None:
        self.folder, self.servers = folder, servers
        self.canary = f"canary{os.urandom(12).hex()}"
        self.secret, self.target = folder / "the.secret", folder / "target"
        self.target.mkdir()
        self.secret.write_text(self.canary + "\n")
        self.secret.chmod(0o600)
        state = {server.name: str(folder / f"far-{server.name}") for server in servers}
        hosts = {
            server.name: server.described(labels={"role": "proxy"}, state_dir=state[server.name])
            for server in servers
        }
        site = {"version": 1, "state_dir": str(folder / "state"), "hosts": hosts, "registries": {}}
        (folder / "site.yml").write_text(yaml.safe_dump(site))
        (folder / "recipes.d").mkdir()
        text = RECIPE % {"target": self.target, "secret": self.secret}
        (folder / "recipes.d" / "hand-out.yml").write_text(text)

    def regctl(self, *arguments: str) -> Done:
        argv = [sys.executable, "-m", "ctl", "--site", str(self.folder / "site.yml"), "-vv", *arguments]
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=clean_environment(PYTHONPATH=os.getcwd()),
            timeout=120,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def files_with(self, word: str) -> set[str]:
        """Every file below the test's folder that holds the word, where it was meant to be left out."""
        meant = {self.secret, *self.target.iterdir()}
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and path not in meant and word.encode() in path.read_bytes()
        }


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    key_pair(tmp_path / "identity")
    with ExitStack() as stack:
        names = ("p1", "p2", "p3")
        yield Fleet(
            tmp_path,
            [
                stack.enter_context(SshServer(tmp_path / name, name, identity=tmp_path / "identity"))
                for name in names
            ],
        )


@pytest.mark.parametrize("output", ["table", "jsonl"])
def test_a_canary_is_found_in_no_argument_environment_journal_output_or_file(
    fleet: Fleet, output: str
) -> None:
    with Watching(fleet.canary.encode()).on() as watching:
        shown = fleet.regctl("--output", output, "recipe", "run", "hand-out", "--dry-run")
        ran = fleet.regctl("--output", output, "recipe", "run", "hand-out", "--yes")
        again = fleet.regctl("--output", output, "run", "show")
        time.sleep(0.2)
    assert watching.looks > 5
    assert shown.exit_code == 0, str(shown)
    assert ran.exit_code == 1, str(ran)  # the last step fails everywhere, as it is to
    for server in fleet.servers:
        assert (fleet.target / f"{server.name}.secret").read_text().strip() == fleet.canary
    assert watching.seen == set()
    for done in (shown, ran, again):
        assert fleet.canary not in done.stdout + done.stderr
    assert fleet.files_with(fleet.canary) == set()


def test_the_watcher_and_the_search_find_what_does_leak(fleet: Fleet) -> None:
    """The control: the same canary as an argument is seen, and what prints it leaves it in its output."""
    with Watching(fleet.canary.encode()).on() as watching:
        fleet.regctl("host", "run", "p1", "--yes", "--", "sh", "-c", f"sleep 0.5; echo {fleet.canary}")
    assert "cmdline" in watching.seen
    assert fleet.files_with(fleet.canary) != set()
