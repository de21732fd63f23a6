"""`regctl maintenance` on two real nodes, with a file of cron and a timer of the operator's own programs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctl.recipes import runs
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest
from tests.support.transfer import push_status
from tests.support.two_nodes import TwoNodes

pytestmark = [pytest.mark.registry]
CRON = b"# nightly\n30 2 * * * root /usr/local/bin/mirror\n"


class Maintained(TwoNodes):
    """Two nodes; a cron file, and a job that runs while a file is there."""

    @property
    def cron(self) -> Path:
        return self.folder / "cron.d" / "mirror"

    @property
    def running(self) -> Path:
        return self.folder / "sync-is-running"

    def description(self) -> dict[str, Any]:
        found = super().description()
        found["maintenance"] = {"timers": [{"host": "here", "kind": "cron-file", "path": str(self.cron)}]}
        program = {
            "stop": ["/bin/rm", str(self.running)],
            "start": ["/usr/bin/touch", str(self.running)],
            "status": ["/bin/sh", "-c", f"test -e {self.running} || exit 3"],
        }
        found["registries"]["main"]["maintenance"] = {
            "timers": [{"host": "there", "kind": "command", "name": "sync", **program}]
        }
        return found

    def write(self) -> Maintained:
        super().write()
        self.cron.parent.mkdir(exist_ok=True)
        self.cron.write_bytes(CRON)
        self.cron.chmod(0o640)
        for path in (self.cron, self.server.config_file, self.other.config_file):
            os.utime(path, ns=(1_700_000_000_500_000_000, 1_700_000_000_500_000_000))
        self.running.touch()
        return self

    def standing(self) -> dict[str, Any]:
        """All that must be as it was: files with mode and time, and who takes a push."""
        found: dict[str, Any] = {"sync": self.running.exists()}
        for path in (self.cron, self.server.config_file, self.other.config_file):
            info = path.stat()
            found[str(path)] = (path.read_bytes(), info.st_mode, info.st_uid, info.st_mtime_ns)
            found[f"{path.parent}/"] = sorted(entry.name for entry in path.parent.iterdir())
        found["pushes"] = [push_status(self.server.url), push_status(self.other.url)]
        return found

    def status(self) -> dict[str, Any]:
        done = self.regctl("maintenance", "status")
        found = done.json
        assert done.exit_code == (3 if found["state"] == "half" else 0), str(done)
        assert found["schema"] == "regctl/maintenance-status/1"
        return found

    def kinds(self) -> list[str]:
        return sorted(finding["kind"] for finding in self.status()["findings"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Maintained]:
    with Maintained(tmp_path / "site", RegistryServer(tmp_path / "registry")) as site:
        assert isinstance(site, Maintained)
        yield site


def on(site: Maintained, *more: str) -> dict[str, Any]:
    found = site.ok("maintenance", "on", "--reason", "new disk", "--yes", *more)
    assert found["state"] == "on", found
    return found


def test_on_closes_and_pauses_all_of_it_and_off_brings_the_same_back(site: Maintained) -> None:
    before = site.standing()
    assert before["pushes"] == [201, 201]
    assert site.status()["state"] == "off"
    dry = site.ok("maintenance", "on", "--dry-run")
    assert (dry["result"], len(dry["changes"])) == ("pending", 5)
    assert site.standing() == before
    found = on(site)
    assert (found["result"], found["registries"]["main"]["reason"]) == ("changed", "new disk")
    assert [push_status(site.server.url), push_status(site.other.url)] == [405, 405]
    assert (site.cron.exists(), site.running.exists()) == (False, False)
    status = site.status()
    assert (status["state"], status["findings"]) == ("on", [])
    assert status["registries"]["main"]["run"] == found["run"]
    assert {node["before"] for node in status["registries"]["main"]["nodes"]} == {"writable"}
    assert {timer["before"] for timer in status["registries"]["main"]["timers"]} == {"running"}
    assert site.ok("maintenance", "on", "--yes")["result"] == "nothing-to-do"
    assert site.ok("maintenance", "off", "--yes")["state"] == "off"
    assert site.standing() == before
    assert site.ok("maintenance", "off", "--yes")["result"] == "nothing-to-do"
    assert sorted(path.name for path in (site.state_dir / "maintenance").rglob("*.json")) == []


def test_what_was_closed_or_stopped_before_stays_so(site: Maintained) -> None:
    site.ok("read-only", "on", "--yes")
    site.running.unlink()
    on(site)
    status = site.status()["registries"]["main"]
    assert {node["before"] for node in status["nodes"]} == {"read-only"}
    assert {timer["name"]: timer["before"] for timer in status["timers"]}["sync"] == "stopped"
    site.ok("maintenance", "off", "--yes")
    assert [push_status(site.server.url), push_status(site.other.url)] == [405, 405]
    assert (site.cron.read_bytes(), site.running.exists()) == (CRON, False)
    site.ok("read-only", "off", "--yes")
    assert push_status(site.server.url) == 201


def test_each_half_is_found_and_repaired_by_the_command_that_it_names(site: Maintained) -> None:
    before = site.standing()
    on(site)

    # one node opened by another command, the timer of the other started by hand
    site.regctl("read-only", "off", "--yes")
    site.running.touch()
    found = site.status()
    assert sorted(one["kind"] for one in found["findings"]) == ["node-writable"] * 2 + ["timer-running"]
    assert {one["repair"] for one in found["findings"]} == {"regctl maintenance on main --repair"}
    refused = site.regctl("maintenance", "on", "--yes")
    assert (refused.exit_code, "--repair" in refused.stdout) == (6, True)
    repaired = site.ok("maintenance", "on", "--repair", "--yes")
    assert (repaired["state"], repaired["registries"]["main"]["reason"]) == ("on", "new disk")

    # a node that was restarted with a file of its own
    closed = site.server.config_file.read_bytes()
    site.server.write_config()
    site.ok("service", "restart", "main/here", "--yes")
    assert push_status(site.server.url) == 201
    assert site.kinds() == ["node-writable"]
    site.ok("maintenance", "on", "--repair", "--yes")
    assert (push_status(site.server.url), site.server.config_file.read_bytes()) == (405, closed)

    # a file edited by hand: the edit is kept, and is there still when it is open again
    edited = closed.replace(b"version: 0.1\n", b"version: 0.1\n# moved to the new disk\n")
    assert edited != closed
    site.server.config_file.write_bytes(edited)
    assert site.kinds() == ["node-edited"]
    assert site.regctl("maintenance", "off", "--yes").exit_code == 6
    site.ok("maintenance", "on", "--repair", "--yes")
    assert site.status()["state"] == "on"
    site.ok("maintenance", "off", "--yes")
    after = site.standing()
    path = str(site.server.config_file)
    assert after[path][0] == before[path][0].replace(
        b"version: 0.1\n", b"version: 0.1\n# moved to the new disk\n"
    )
    assert {**after, path: ()} == {**before, path: ()}


def test_a_record_without_effect_and_an_effect_without_record(site: Maintained) -> None:
    before = site.standing()
    on(site)
    record = site.state_dir / "maintenance" / "main.json"
    kept = record.read_bytes()
    record.unlink()
    found = site.status()
    assert {one["kind"] for one in found["findings"]} == {"effect-without-record"}
    assert {one["repair"] for one in found["findings"]} == {"regctl maintenance off main --repair"}
    assert site.regctl("maintenance", "off", "--yes").exit_code == 6
    site.ok("maintenance", "off", "--repair", "--yes")
    assert site.standing() == before

    record.write_bytes(kept)
    (finding,) = site.status()["findings"]
    assert finding["kind"] == "record-without-effect"
    assert "off main --repair" in finding["repair"]
    site.ok("maintenance", "off", "--repair", "--yes")
    assert (site.status()["state"], site.standing()) == ("off", before)

    # every record lost with the state folder: what lies on the hosts is proof enough
    on(site)
    for folder in ("maintenance", "read-only"):
        for path in (site.state_dir / folder).rglob("*.json"):
            path.unlink()
    assert "effect-without-record" in site.kinds()
    site.running.touch()  # only its own record knew that it was running
    site.ok("maintenance", "off", "--repair", "--yes")
    after = site.standing()
    for name in (str(site.server.config_file), str(site.other.config_file)):
        assert after[name][:3] == before[name][:3]  # when it was last changed is not among what lies there
        after[name] = before[name]
    assert after == before


@pytest.mark.soak  # tests/unit/steps/test_pause_timer.py has the same in memory
def test_a_timer_of_two_registries_sleeps_until_both_are_through(tmp_path: Path) -> None:
    first = Maintained(tmp_path / "site", RegistryServer(tmp_path / "registry"))
    second = RegistryServer(tmp_path / "second")
    second.write_config()
    node = {**SiteUnderTest(tmp_path / "x", second).description()["registries"]["main"]}
    node["nodes"] = [{**node["nodes"][0], "service": {"kind": "process", "name": "another"}}]
    with first as site:
        assert isinstance(site, Maintained)
        described = json.loads(json.dumps(site.description()))
        described["registries"]["more"] = node
        site.site_file.write_text(json.dumps(described))
        try:
            site.ok("service", "start", "more")
            assert site.ok("maintenance", "on", "main", "--yes")["state"] == "on"
            assert site.ok("maintenance", "on", "more", "--yes")["state"] == "on"
            site.ok("maintenance", "off", "main", "--yes")
            assert (site.cron.exists(), site.running.exists()) == (False, True)
            assert site.status()["state"] == "on"
            site.ok("maintenance", "off", "--yes")
            assert site.cron.read_bytes() == CRON
            assert site.status()["state"] == "off"
        finally:
            SiteUnderTest(site.folder, second).kill_leftovers()


def test_a_failure_in_the_middle_brings_everything_back(site: Maintained) -> None:
    before = site.standing()
    done = site.regctl("maintenance", "on", "--yes", REGCTL_FAILPOINT="9:before:error")
    assert done.exit_code == 1, str(done)
    assert site.standing() == before
    assert site.status()["state"] == "off"


def boundaries(site: Maintained, verb: str) -> int:
    done = site.regctl("maintenance", verb, "--yes", REGCTL_FAILPOINT="list")
    assert done.exit_code == 0, str(done)
    return sum(line.startswith("REGCTL_FAILPOINT") for line in done.stderr.splitlines())


def kill_everywhere(site: Maintained, every: int) -> int:
    """Kill both commands at each n-th boundary, resume, and look at the whole; return how often."""
    before = site.standing()
    kills = 0
    counts = {verb: boundaries(site, verb) for verb in ("on", "off")}
    assert min(counts.values()) > 10
    for offset, verb in enumerate(("on", "off")):
        for number in range(1 + offset, counts[verb] + 1, every):
            if verb == "off":
                on(site)
            done = site.regctl("maintenance", verb, "--yes", REGCTL_FAILPOINT=f"{number}:after:kill")
            if done.exit_code != -signal.SIGKILL:
                assert done.exit_code == 0, str(done)
            kills += 1
            if runs.open_runs(str(site.state_dir)):
                if site.status()["state"] != "half":  # before the first effect, or after the last
                    assert site.status()["state"] in ("on", "off")
                site.ok("run", "resume", "--yes")
            if site.status()["state"] == "on":
                site.ok("maintenance", "off", "--yes")
            assert site.status()["state"] == "off", f"killed after boundary {number} of {verb}"
            assert site.standing() == before, f"killed after boundary {number} of {verb}"
            assert not runs.open_runs(str(site.state_dir))
    return kills


def test_killed_at_some_boundaries_it_is_resumed_to_the_end(site: Maintained) -> None:
    assert kill_everywhere(site, 37) >= 2


@pytest.mark.soak
def test_killed_at_every_boundary_it_is_resumed_to_the_end(site: Maintained) -> None:
    assert kill_everywhere(site, 1) > 40
