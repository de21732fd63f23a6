"""`regctl host trust`: a key is shown, confirmed and written; a changed one only by name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ctl.hosts.known_hosts import HostKey
from tests.support.site import Done
from tests.support.sshd import SshServer
from tests.support.waiting import clean_environment


class Fleet:
    """A site of one host over SSH, whose key nobody knows yet."""

    def __init__(self, folder: Path, server: SshServer) -> None:
        self.folder, self.server = folder, server
        self.known = folder / "etc" / "known_hosts"
        site = {
            "version": 1,
            "state_dir": str(folder / "state"),
            "hosts": {
                "here": {"connection": "local"},
                "far": server.described(known_hosts_file=str(self.known)),
            },
            "registries": {},
        }
        (folder / "site.yml").write_text(yaml.safe_dump(site))

    def regctl(self, *arguments: str) -> Done:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ctl",
                "--site",
                str(self.folder / "site.yml"),
                "--output",
                "json",
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=clean_environment(PYTHONPATH=os.getcwd()),
            timeout=60,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    @property
    def fingerprint(self) -> str:
        return HostKey(*self.server.host_key.split()[:2]).fingerprint


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with SshServer(tmp_path / "sshd") as server:
        yield Fleet(tmp_path, server)


def test_a_key_is_trusted_only_after_a_yes_and_then_the_host_is_worked_on(fleet: Fleet) -> None:
    unasked = fleet.regctl("host", "trust", "far")
    assert unasked.exit_code == 2, str(unasked)
    assert not fleet.known.exists()
    dry = fleet.regctl("host", "trust", "far", "--dry-run")
    assert (dry.exit_code, dry.json["fingerprint"]) == (0, fleet.fingerprint)
    assert not fleet.known.exists()
    refused = fleet.regctl("host", "run", "far", "--yes", "--", "true")
    assert refused.exit_code == 7
    assert fleet.fingerprint in refused.stdout + refused.stderr
    trusted = fleet.regctl("host", "trust", "far", "--yes")
    assert (trusted.exit_code, trusted.json["result"]) == (0, "changed"), str(trusted)
    kind, text = fleet.server.host_key.split()[:2]
    assert fleet.known.read_text() == f"{fleet.server.entry} {kind} {text}\n"
    again = fleet.regctl("host", "trust", "far", "--yes")
    assert (again.exit_code, again.json["result"]) == (0, "nothing-to-do")
    ran = fleet.regctl("host", "run", "far", "--yes", "--", "echo", "in")
    assert (ran.exit_code, ran.json["hosts"][0]["stdout"]) == (0, "in\n"), str(ran)


def test_a_changed_key_needs_a_word_of_its_own_and_other_lines_stay(fleet: Fleet) -> None:
    assert fleet.regctl("host", "trust", "far", "--yes").exit_code == 0
    with fleet.known.open("a") as file:
        file.write("# ours\nelsewhere ssh-ed25519 AAAA\n")
    before = fleet.known.read_bytes()
    old = fleet.fingerprint
    fleet.server.stop()
    fleet.server.change_host_key()
    fleet.server.start()
    changed = fleet.regctl("host", "run", "far", "--yes", "--", "true")
    assert changed.exit_code == 7
    assert old in changed.stdout + changed.stderr
    assert fleet.fingerprint in changed.stdout + changed.stderr
    plain = fleet.regctl("host", "trust", "far", "--yes")
    assert (plain.exit_code, "--replace" in plain.stderr) == (6, True), str(plain)
    assert fleet.known.read_bytes() == before
    replaced = fleet.regctl("host", "trust", "far", "--replace", "--yes")
    assert replaced.exit_code == 0, str(replaced)
    kind, text = fleet.server.host_key.split()[:2]
    assert fleet.known.read_text() == (
        f"# ours\nelsewhere ssh-ed25519 AAAA\n{fleet.server.entry} {kind} {text}\n"
    )


def test_what_cannot_be_trusted_is_told(fleet: Fleet) -> None:
    here = fleet.regctl("host", "trust", "here")
    assert (here.exit_code, "this machine" in here.stderr) == (2, True)
    nobody = fleet.regctl("host", "trust", "fra")
    assert (nobody.exit_code, "did you mean 'far'" in nobody.stderr) == (2, True)
    fleet.server.stop()
    assert fleet.regctl("host", "trust", "far").exit_code == 7
