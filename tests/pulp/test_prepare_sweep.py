"""Preparing, hurt in its middle in every way there is, on both sides; and at full size. Takes long."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer
from tests.support.preparing import (
    ALWAYS,
    FEW,
    MANY,
    PREPARE,
    cut_off,
    driver,
    jobs,
    kill,
    last_one,
    under_way,
)
from tests.support.pulp import PulpLab, Seed
from tests.support.pulp_site import SERVER, PulpSite

pytestmark = pytest.mark.soak


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.mark.parametrize("seconds", [1.0, 12.0])
def test_a_restart_of_postgresql_is_sat_out_or_told(
    own_server: PostgresServer, tmp_path: Path, seconds: float
) -> None:
    lab = PulpLab(own_server, tmp_path / "lab")
    patient = {"content": {"patience_seconds": 5, "worth_minutes": 0}}
    with PulpSite(tmp_path / "site", lab.clone(MANY), overlay=patient) as site:
        process = site.start(*PREPARE)
        under_way(site.pulps[SERVER], 20, 250, process)
        own_server.stop()
        if seconds < 5:
            time.sleep(seconds)
            own_server.start()
        out, errors = process.communicate(timeout=120)
        found = json.loads(out)
        if seconds < 5:
            assert (process.returncode, found["hosts"][0]["remaining"]) == (0, 0), errors.decode()
        else:
            assert (process.returncode, found["hosts"][0]["result"]) == (7, "unreachable"), errors.decode()
            assert "PostgreSQL stayed away" in found["hosts"][0]["reason"]
            # and nothing is begun on it while it is away
            again = site.regctl("content", "prepare", "--yes")
            assert (again.exit_code, again.json["hosts"][0]["result"]) == (7, "unreachable")
            own_server.start()
            assert site.pulps[SERVER].counts().unreadable == 0
            assert site.ok("content", "prepare", "--yes")["hosts"][0]["remaining"] == 0
        assert (site.pulps[SERVER].counts().todo, site.pulps[SERVER].counts().unreadable) == (0, 0)


@pytest.mark.parametrize("fault", ["TERM", "HUP", "INT", "KILL", "connection", "file", "regctl", "ctrl-c"])
@pytest.mark.parametrize("where", [SERVER, "proxy1"])
def test_each_fault_on_each_side(pulp_lab: PulpLab, tmp_path: Path, fault: str, where: str) -> None:
    pulps = {name: pulp_lab.clone(MANY) for name in (SERVER, "proxy1")}
    hurt = pulps[where]
    missing = ""
    with PulpSite(tmp_path / "site", pulps[SERVER], {"proxy1": pulps["proxy1"]}, overlay=ALWAYS) as site:
        process = site.start(*PREPARE)
        under_way(hurt, 20, 250, process)
        if fault == "file":
            missing = last_one(hurt)
            hurt.file_of(missing).unlink()
        elif fault == "connection":
            cut_off(hurt)
        elif fault in ("regctl", "ctrl-c"):
            process.send_signal(signal.SIGKILL if fault == "regctl" else signal.SIGINT)
        else:
            kill(driver(site, where), getattr(signal, f"SIG{fault}"), group=True)
        out, errors = process.communicate(timeout=180)
        assert [one.counts().unreadable for one in pulps.values()] == [0, 0]

        if fault == "file":
            found = json.loads(out)
            assert process.returncode == 3, errors.decode()
            [host] = [one for one in found["hosts"] if one["host"] == where]
            assert [one["digest"] for one in host["leftovers"]] == [missing]
            assert [one.counts().todo for name, one in pulps.items()] == [
                int(name == where) for name in pulps
            ]
            return
        codes = {"KILL": 0, "connection": 0, "regctl": -9, "ctrl-c": 130}
        assert process.returncode == codes.get(fault, 130), errors.decode()
        if fault == "regctl":
            site.ok("run", "resume", "--yes")
        elif process.returncode:
            site.ok("content", "prepare", "--yes")
        assert [(one.counts().todo, one.counts().unreadable) for one in pulps.values()] == [(0, 0), (0, 0)]
        assert site.ok("content", "prepare", "--yes")["result"] == "nothing-to-do"


def test_a_run_that_is_backed_out_or_abandoned_leaves_nothing_half_done(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    with PulpSite(tmp_path / "site", pulp_lab.clone(MANY), overlay=ALWAYS) as site:
        server = site.pulps[SERVER]

        def cut_short() -> str:
            before = server.counts().todo
            process = site.start("content", "prepare", "--yes", "--chunk", "2", "--rate", "2")
            under_way(server, 2, before, process)
            process.kill()
            process.communicate()
            [run] = [one["id"] for one in site.ok("run", "list", "--open")["runs"]]
            return str(run)

        run = cut_short()
        back = site.regctl("run", "resume", run, "--leave-only", "--yes")
        assert (back.exit_code, back.json["state"]) == (0, "interrupted"), str(back)
        left = server.counts()
        assert (0 < left.todo < 250, left.unreadable) == (True, 0)
        time.sleep(1.0)
        assert server.counts() == left  # its job was ended, after its chunk

        run = cut_short()
        site.ok("run", "abandon", run, "--reason", "test", "--leave-open-scopes")
        # its job goes on: a regctl that knows nothing of it is kept out
        stranger = ("--state-dir", str(tmp_path / "elsewhere"))
        second = site.regctl(*stranger, "content", "prepare", "--yes")
        assert (second.exit_code, second.json["result"]) == (5, "locked"), str(second)
        # ours follows it, and begins no other one
        with site.start("content", "prepare", "--yes") as process:
            assert process.stderr is not None
            assert any(b"is still at work: followed" in line for line in process.stderr)
            assert len(jobs(site, SERVER)) == 2  # the one that was backed out, and this one
            assert len(site.ok("content", "prepare", "--abort")["hosts"]) == 1
            assert process.wait(60) == 130
        assert site.ok("content", "prepare", "--yes")["hosts"][0]["remaining"] == 0
        assert (server.counts().todo, server.counts().unreadable) == (0, 0)


def test_twelve_hundred_and_six_hundred_by_one_command(pulp_lab: PulpLab, tmp_path: Path) -> None:
    server = pulp_lab.clone(Seed(images=1140, lists=60, repositories=5))
    proxy = pulp_lab.clone(Seed(images=570, lists=30, repositories=3, seed=2))
    with PulpSite(tmp_path / "site", server, {"proxy1": proxy}, overlay=ALWAYS) as site:
        found = site.ok("content", "prepare", "--yes", timeout=600)
        assert [(one["done"], one["remaining"], one["result"]) for one in found["hosts"]] == [
            (1200, 0, "changed"),
            (600, 0, "changed"),
        ]
        assert [(one.counts().todo, one.counts().unreadable) for one in (server, proxy)] == [(0, 0), (0, 0)]
        again = site.ok("content", "prepare", "--yes")
        assert (again["result"], again["run"], again["remaining"]) == ("nothing-to-do", "", 0)
        assert len(site.ok("run", "list")["runs"]) == 1


def test_hosts_that_are_done_undone_and_out_of_reach_each_get_their_word(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    done = Seed(images=120, varied=False, prepared=120)
    proxies = {"proxy1": pulp_lab.clone(done), "proxy2": pulp_lab.clone(FEW)}
    with PulpSite(tmp_path / "site", pulp_lab.clone(FEW), proxies, overlay=ALWAYS) as site:
        site.sshds["proxy2"].stop()
        refused = site.regctl("content", "prepare", "--yes")
        assert refused.exit_code == 7, str(refused)
        assert site.pulps[SERVER].counts().todo == 120  # nothing was begun anywhere
        assert [one["result"] for one in refused.json["hosts"]] == [
            "not-attempted",
            "not-applicable",
            "unreachable",
        ]

        planned = site.regctl("content", "prepare", "--dry-run", "--max-fail", "1", "--rate", "40")
        hosts = planned.json["hosts"]
        assert [one["result"] for one in hosts] == ["not-attempted", "not-applicable", "unreachable"]
        assert hosts[0]["remaining"] == 120
        assert hosts[0]["estimated_seconds"] >= 3.0  # 120 at 40 a second
        assert (hosts[1]["estimated_seconds"], hosts[2]["estimated_seconds"]) == (0.0, None)
        assert site.pulps[SERVER].counts().todo == 120

        found = site.regctl("content", "prepare", "--yes", "--max-fail", "1")
        assert found.exit_code == 7, str(found)
        assert [one["result"] for one in found.json["hosts"]] == [
            "changed",
            "not-applicable",
            "unreachable",
        ]
        assert site.pulps[SERVER].counts().todo == 0
        assert jobs(site, "proxy1") == {}
        assert not (site.sshds["proxy1"].root / "state").exists()  # nothing was written there
