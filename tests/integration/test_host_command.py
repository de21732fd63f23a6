"""`regctl host` over real SSH servers: some dead, some not usable, the rest at work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    labels = {"h1": {"role": "server"}}
    with Fleet(tmp_path_factory.mktemp("fleet"), 5, labels) as made:
        yield made


@pytest.fixture(autouse=True)
def _as_described(fleet: Fleet) -> Iterator[None]:
    yield
    fleet.changes = {}
    fleet.write()


def by_host(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {host["host"]: host for host in found["hosts"]}


def results(found: dict[str, Any]) -> dict[str, str]:
    return {name: host["result"] for name, host in by_host(found).items()}


def count_file(fleet: Fleet, name: str) -> list[str]:
    path = fleet.servers[name].root / "ran"
    return path.read_text().split() if path.exists() else []


def test_a_list_connects_to_nobody(fleet: Fleet) -> None:
    fleet.changes = {"h2": {"address": "192.0.2.1", "labels": {"role": "content-proxy", "zone": "eu"}}}
    fleet.write()
    done = fleet.regctl("host", "list", "zone=eu,h1")
    assert done.exit_code == 0, str(done)
    assert [host["host"] for host in done.json["hosts"]] == ["h1", "h2"]
    assert by_host(done.json)["h2"]["labels"] == {"role": "content-proxy", "zone": "eu"}
    wrong = fleet.regctl("host", "list", "h1,hh2")
    assert wrong.exit_code == 2
    assert "did you mean" in wrong.stderr


def test_a_check_tells_each_hosts_state(fleet: Fleet) -> None:
    fleet.changes = {"h1": {"state_dir": f"{fleet.servers['h1'].root}/fresh/state"}}
    fleet.write()
    well = fleet.regctl("host", "check", "h1")
    assert well.exit_code == 0, str(well)
    h1 = by_host(well.json)["h1"]
    assert (h1["user"], h1["uid"], h1["result"], h1["findings"]) == ("root", 0, "ok", [])
    assert abs(h1["clock_skew_seconds"]) < 5
    assert h1["free_bytes"] > 0
    assert all(h1["tools"].values())
    assert not (fleet.servers["h1"].root / "fresh").exists()  # looking creates nothing
    assert fleet.regctl("host", "check", "h1", "--min-free", str(2**40)).exit_code == 3
    fleet.servers["h3"].root.joinpath("file").write_text("")
    fleet.changes = {
        "h2": {"port": 1},
        "h3": {"state_dir": f"{fleet.servers['h3'].root}/file/state"},
        "h4": {"become": "nobody", "state_dir": "/not-ours"},
    }
    fleet.write()
    mixed = fleet.regctl("host", "check")
    assert mixed.exit_code == 7, str(mixed)
    assert results(mixed.json) == {
        "h1": "ok",
        "h2": "unreachable",
        "h3": "refused",
        "h4": "refused",
        "h5": "ok",
    }
    assert "become: root" in by_host(mixed.json)["h4"]["hint"]
    assert fleet.regctl("host", "check", "h1,h3").exit_code == 6


def test_a_program_runs_once_on_each_host_with_exactly_its_arguments(fleet: Fleet) -> None:
    hostile = ["a b", "$(touch /tmp/never)", "'\"\\`", "é\n", "", "*", "--", "-n"]
    done = fleet.regctl("host", "run", "all", "--", "printf", "<%s>", *hostile)
    assert done.exit_code == 0, str(done)
    assert results(done.json) == dict.fromkeys(fleet.servers, "changed")
    for host in done.json["hosts"]:
        assert host["stdout"] == "".join(f"<{one}>" for one in hostile)
        assert (host["exit_code"], host["stderr"]) == (0, "")
        assert fleet.jobs(host["host"]) == []


def test_only_the_hosts_that_are_meant_are_touched(fleet: Fleet) -> None:
    done = fleet.regctl("host", "run", "role=content-proxy&!h3", "--", "true")
    assert list(results(done.json)) == ["h2", "h4", "h5"]
    assert fleet.regctl("host", "run", "h1").exit_code == 2
    assert fleet.regctl("host", "run", "nobody", "--", "true").exit_code == 2
    dry = fleet.regctl("--dry-run", "host", "run", "h1", "--", "touch", f"{fleet.folder}/never")
    assert (dry.exit_code, dry.json["result"], dry.json["dry_run"]) == (0, "pending", True)
    assert not (fleet.folder / "never").exists()


# All hosts are one machine: which of them a program runs on is told by where its output goes.
HERE = 'here=$(readlink /proc/$$/fd/1); cd "${here%/state/jobs/*}" || exit 9; '


def test_a_failure_stops_what_has_not_begun_and_is_taken_up_later(fleet: Fleet) -> None:
    bad = fleet.servers["h2"].root / "bad"
    bad.write_text("")
    script = HERE + "[ ! -e bad ] || { echo no >&2; exit 4; }; echo x >> ran"
    done = fleet.regctl("host", "run", "--serial", "1", "all", "--", "sh", "-c", script)
    assert done.exit_code == 1, str(done)
    left = dict.fromkeys(["h3", "h4", "h5"], "not-attempted")
    assert results(done.json) == {"h1": "changed", "h2": "failed", **left}
    assert by_host(done.json)["h2"]["exit_code"] == 4
    assert by_host(done.json)["h2"]["stderr"] == "no\n"
    bad.unlink()
    again = fleet.regctl("host", "run", "--unfinished", done.json["run"])
    assert again.exit_code == 0, str(again)
    assert list(results(again.json)) == ["h2", "h3", "h4", "h5"]
    assert {name: len(count_file(fleet, name)) for name in fleet.servers} == dict.fromkeys(fleet.servers, 1)
    assert fleet.regctl("host", "run", "--unfinished", again.json["run"]).exit_code == 2


def test_one_that_is_dead_is_left_out_where_that_is_allowed(fleet: Fleet) -> None:
    fleet.servers["h5"].stop()
    try:
        none = fleet.regctl("host", "run", "h4,h5", "--", "sh", "-c", HERE + "echo x > touched")
        assert none.exit_code == 7, str(none)
        assert results(none.json) == {"h4": "not-attempted", "h5": "unreachable"}
        assert not (fleet.servers["h4"].root / "touched").exists()
        some = fleet.regctl("host", "run", "--max-fail", "1", "h4,h5", "--", "true")
        assert results(some.json) == {"h4": "changed", "h5": "unreachable"}
    finally:
        fleet.servers["h5"].start()
    rest = fleet.regctl("host", "run", "--unfinished", some.json["run"])
    assert (rest.exit_code, results(rest.json)) == (0, {"h5": "changed"})


def test_what_the_time_limit_ended_is_unknown_and_nothing_of_it_is_left(fleet: Fleet) -> None:
    began = time.monotonic()
    done = fleet.regctl(
        "host", "run", "--timeout", "1", "h1", "--", "sh", "-c", "sleep 987654 & sleep 987654"
    )
    assert time.monotonic() - began < 25
    assert done.exit_code == 1, str(done)
    assert results(done.json) == {"h1": "unknown"}
    assert "did not end in 1 s" in by_host(done.json)["h1"]["reason"]
    assert subprocess.run(["pgrep", "-f", "sleep 987654"], capture_output=True).stdout == b""


def test_a_secret_reaches_stdin_and_nothing_else(fleet: Fleet) -> None:
    secret = fleet.folder / "secret"
    secret.write_text("canary-7391\n")
    secret.chmod(0o600)
    script = "read -r got; tr '\\0' ' ' </proc/$$/cmdline; env; echo got=$got; [ $got = canary-7391 ]"
    script = script.replace("canary-7391", "canary-73$((90+1))")
    arguments = ("host", "run", "--stdin-secret", f"file:{secret}", "h1", "--", "sh", "-c", script)
    done = fleet.regctl(*arguments)
    assert by_host(done.json)["h1"]["exit_code"] == 0, str(done)
    assert "got=***" in by_host(done.json)["h1"]["stdout"]
    assert "canary-7391" not in done.stdout + done.stderr
    for file in [*fleet.state_dir.rglob("*"), *(fleet.servers["h1"].root).rglob("*")]:
        if file.is_file():
            assert b"canary-7391" not in file.read_bytes(), file


@pytest.mark.parametrize("moment", ["begins", "runs"])
def test_a_cut_connection_costs_nothing(fleet: Fleet, moment: str) -> None:
    ran = fleet.servers["h3"].root / f"ran-{moment}"
    script = HERE + f"echo x >> {ran.name}; sleep 2; echo done"
    child = fleet.start("host", "run", "h3", "--", "sh", "-c", script)
    if moment == "runs":
        wait_until(ran.exists, what="the program to begin", timeout=30)
    else:
        wait_until(lambda: bool(fleet.servers["h3"].pids()), what="a connection", timeout=30)
    fleet.servers["h3"].drop_connections()
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 0 or moment == "begins", stderr.decode()
    if child.returncode == 0:
        assert b'"done\\n"' in stdout
        assert ran.read_text() == "x\n"


def test_a_killed_regctl_is_resumed_and_the_program_ran_once(fleet: Fleet) -> None:
    script = HERE + "echo x >> ran-killed; sleep 3; echo done"
    child = fleet.start("host", "run", "h4,h5", "--", "sh", "-c", script)
    marks = [fleet.servers[name].root / "ran-killed" for name in ("h4", "h5")]
    wait_until(lambda: all(mark.exists() for mark in marks), what="both programs to begin", timeout=30)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    done = fleet.regctl("run", "resume")
    assert done.exit_code == 0, str(done)
    assert [mark.read_text() for mark in marks] == ["x\n", "x\n"]
    said = [step["data"]["stdout"] for step in done.json["steps"] if step["step"] == "RunProgram"]
    assert said == ["done\n", "done\n"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own without room."""
    place = tmp_path / "full"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        (place / "filler").write_bytes(bytes(32 * 1024))
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_one_dead_one_with_another_key_one_full(fleet: Fleet, full_disk: Path) -> None:
    fleet.servers["h2"].stop()
    fleet.servers["h3"].stop()
    known = fleet.servers["h3"].known_hosts.read_text()
    fleet.servers["h3"].change_host_key()
    fleet.servers["h3"].start()
    fleet.changes = {"h4": {"state_dir": f"{full_disk}/state"}}
    fleet.write()
    marks = [server.root / "mixed" for server in fleet.servers.values()]
    argv = ("all", "--", "sh", "-c", HERE + "echo x >> mixed")
    try:
        stopped = fleet.regctl("host", "run", "--max-fail", "2", *argv)
        assert stopped.exit_code == 6, str(stopped)
        assert not any(mark.exists() for mark in marks)  # one more than allowed: nothing was touched
        done = fleet.regctl("host", "run", "--max-fail", "3", *argv)
        assert done.exit_code == 1, str(done)
        assert results(done.json) == {
            "h1": "changed",
            "h2": "unreachable",
            "h3": "unreachable",
            "h4": "failed",
            "h5": "changed",
        }
        assert "has changed" in by_host(done.json)["h3"]["reason"]
        assert "is full" in by_host(done.json)["h4"]["reason"]
    finally:
        fleet.servers["h2"].start()
        assert fleet.servers["h3"].known_hosts.read_text() == known
        fleet.servers["h3"].trust()
        (full_disk / "filler").unlink()
    (full_disk / "more").write_text("")
    subprocess.run(["mount", "-o", "remount,size=64m", str(full_disk)], check=True)
    rest = fleet.regctl("host", "run", "--unfinished", done.json["run"])
    assert (rest.exit_code, list(results(rest.json))) == (0, ["h2", "h3", "h4"]), str(rest)
    assert [mark.exists() for mark in marks] == [True, True, True, False, True]


def test_ctrl_c_begins_no_further_host_and_a_second_one_leaves_the_program_to_be_found(fleet: Fleet) -> None:
    def begun(mark: str, seconds: int, *hosts: str) -> subprocess.Popen[bytes]:
        script = HERE + f"echo x >> {mark}; sleep {seconds}; echo done"
        child = fleet.start("host", "run", "--serial", "1", ",".join(hosts), "--", "sh", "-c", script)
        wait_until((fleet.servers[hosts[0]].root / mark).exists, what="the program to begin", timeout=30)
        return child

    child = begun("stopped", 2, "h1", "h2")
    child.send_signal(signal.SIGINT)
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr.decode()
    assert results(json.loads(stdout)) == {"h1": "changed", "h2": "not-attempted"}
    child = begun("at-once", 6, "h1")
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=5)  # the program takes longer
    assert child.returncode == 130, stderr.decode()
    done = fleet.regctl("run", "resume")
    assert [step["data"]["stdout"] for step in done.json["steps"]] == ["done\n"], str(done)
    assert (fleet.servers["h1"].root / "at-once").read_text() == "x\n"


def test_what_goes_on_while_its_host_is_away_is_taken_up_by_the_next_run(fleet: Fleet) -> None:
    script = HERE + "echo x >> away; sleep 3; echo done"
    child = fleet.start("host", "run", "h2", "--", "sh", "-c", script)
    mark = fleet.servers["h2"].root / "away"
    wait_until(mark.exists, what="the program to begin", timeout=30)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    fleet.servers["h2"].stop()
    try:
        left = fleet.regctl("run", "resume", "--leave-only")
        assert left.json["state"] == "interrupted", str(left)
    finally:
        fleet.servers["h2"].start()
    done = fleet.regctl("host", "run", "--unfinished", left.json["id"])
    assert done.exit_code == 0, str(done)
    assert by_host(done.json)["h2"]["stdout"] == "done\n"
    assert mark.read_text() == "x\n"
