"""Whatever ends it in the middle: no manifest is broken, and the same command goes on from there.

The positive controls show that Pulp's own command does break manifests under the same faults.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctl.engines.pulp import answers
from tests.support.postgres import PostgresServer
from tests.support.preparing import cut_off, driver, jobs, kill, stock_in_the_middle, under_way
from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.pulp_site import SERVER, PulpSite

ALWAYS = {"content": {"worth_minutes": 0}}  # whatever it saves
PREPARE = ("content", "prepare", "--yes", "--chunk", "10", "--rate", "50")
FEW = Seed(images=120, varied=False)
MANY = Seed(images=250, varied=False)
SLOWLY = {"chunk": 20, "rate": 60}
DAMAGED = Seed(images=250, varied=False, damage={"manifest_file_missing": 1})


def told(log: Path) -> list[dict[str, Any]]:
    return list(answers(log.read_bytes()))


def last(log: Path) -> dict[str, Any]:
    return told(log)[-1]


def last_one(pulp: PulpUnderTest) -> str:
    """Return the manifest that comes last."""
    rows = pulp.query(
        "SELECT digest FROM container_manifest WHERE data IS NULL ORDER BY content_ptr_id DESC LIMIT 1"
    )
    return str(rows[0][0])


@pytest.fixture
def pulp(pulp_lab: PulpLab) -> Iterator[PulpUnderTest]:
    made = pulp_lab.clone(MANY)
    yield made
    pulp_lab.drop(made)


# -- the program itself ---------------------------------------------------------------------------


def test_a_second_one_is_kept_out_and_a_hangup_lets_the_chunk_end(
    pulp: PulpUnderTest, tmp_path: Path
) -> None:
    first = pulp.start("prepare", tmp_path / "first", chunk=20, rate=20)
    under_way(pulp, 20)
    code, found = pulp.ask("prepare", lock_patience=0.5)
    assert (code, found[-1]["state"], found[-1]["done"]) == (5, "locked", 0)
    assert first.poll() is None
    kill(first.pid, signal.SIGHUP, group=True)
    assert first.wait(30) == 6

    end = last(tmp_path / "first")
    counts = pulp.counts()
    assert (end["state"], counts.unreadable) == ("stopped", 0)
    assert 0 < end["done"] < 250
    assert end["done"] % 20 == 0
    assert counts.todo == 250 - end["done"] == end["remaining"]


@pytest.mark.soak
def test_a_lost_connection_and_a_missing_file_cost_one_manifest_and_not_one_more(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    pulp = pulp_lab.clone(DAMAGED)
    process = pulp.start("prepare", tmp_path / "log", **SLOWLY)
    under_way(pulp, 20)
    assert cut_off(pulp) >= 1
    assert process.wait(60) == 3

    end = last(tmp_path / "log")
    assert (end["state"], end["done"], end["remaining"]) == ("done", 250, 1)
    [left] = end["leftovers"]
    assert [left["digest"]] == pulp.damaged("manifest_file_missing")
    assert left["why"] == "manifest-file-missing"
    assert any(
        "PostgreSQL is away" in one["why"] for one in told(tmp_path / "log") if one["regctl"] == "resting"
    )
    assert pulp.counts().unreadable == 0  # it still has the link to its file, should that come back


# -- the stock command, under the same faults ------------------------------------------------------


def test_the_stock_command_breaks_manifests_when_it_is_told_to_stop(pulp: PulpUnderTest) -> None:
    with stock_in_the_middle(pulp) as process:
        process.send_signal(signal.SIGTERM)
    assert pulp.counts().unreadable >= 20


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["kill", "connection"])
def test_and_when_it_is_killed_or_loses_its_connection(pulp: PulpUnderTest, fault: str) -> None:
    with stock_in_the_middle(pulp) as process:
        if fault == "kill":
            process.kill()
        else:
            cut_off(pulp)
    assert pulp.counts().unreadable >= 20


@pytest.mark.soak
def test_and_where_a_file_is_missing(pulp_lab: PulpLab) -> None:
    pulp = pulp_lab.clone(DAMAGED)
    assert pulp.stock().returncode == 1
    assert pulp.counts().unreadable > 0


# -- the whole command -----------------------------------------------------------------------------


def test_one_command_goes_on_after_a_kill_a_cut_line_and_a_missing_file(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    server, proxy = pulp_lab.clone(FEW), pulp_lab.clone(FEW)
    with PulpSite(tmp_path / "site", server, {"proxy1": proxy}, overlay=ALWAYS) as site:
        process = site.start(*PREPARE)
        under_way(server, 10, 120, process)
        kill(driver(site, SERVER))
        under_way(proxy, 10, 120, process)
        site.sshds["proxy1"].drop_connections()
        missing = last_one(proxy)
        proxy.file_of(missing).unlink()
        out, errors = process.communicate(timeout=120)

        found = json.loads(out)
        assert process.returncode == 3, errors.decode()
        assert [
            (one["host"], one["result"], one["done"], one["remaining"], one["jobs"]) for one in found["hosts"]
        ] == [("server", "changed", 120, 0, 2), ("proxy1", "warned", 119, 1, 1)]
        assert [[(left["digest"], left["why"]) for left in one["leftovers"]] for one in found["hosts"]] == [
            [],
            [(missing, "manifest-file-missing")],
        ]
        assert all(0 < one["rate_per_second"] <= 55 for one in found["hosts"])  # --rate 50
        assert "it was ended by force" in errors.decode()
        assert "trying to reach it again" in errors.decode()
        assert [(one.counts().todo, one.counts().unreadable) for one in (server, proxy)] == [(0, 0), (1, 0)]
        assert [len(jobs(site, host)) for host in site.pulps] == [1, 0]  # of the killed one the log is kept


def test_a_killed_regctl_is_ended_gently_by_abort_and_resumed(pulp_lab: PulpLab, tmp_path: Path) -> None:
    proxy = pulp_lab.clone(FEW)
    with PulpSite(tmp_path / "site", None, {"proxy1": proxy}, overlay=ALWAYS) as site:
        process = site.start(*PREPARE)
        under_way(proxy, 10, 120, process)
        process.kill()
        process.communicate()
        ours = driver(site, "proxy1")

        [aborted] = site.ok("content", "prepare", "--abort")["hosts"]
        assert (aborted["host"], aborted["result"]) == ("proxy1", "changed")
        assert not Path(f"/proc/{ours}").exists()
        left = proxy.counts()
        assert (0 < left.todo < 120, left.todo % 10, left.unreadable) == (True, 0, 0)
        assert site.ok("content", "prepare", "--abort")["result"] == "nothing-to-do"

        resumed = site.ok("run", "resume", "--yes")
        assert (resumed["state"], [one["result"] for one in resumed["hosts"]]) == ("done", ["changed"])
        assert (proxy.counts().todo, proxy.counts().unreadable) == (0, 0)
        assert len(jobs(site, "proxy1")) == 1  # of the one that was ended the log is kept


@pytest.mark.soak
def test_abort_ends_a_living_one_as_interrupted_and_the_same_command_goes_on(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    with PulpSite(tmp_path / "site", pulp_lab.clone(MANY), overlay=ALWAYS) as site:
        process = site.start(*PREPARE)
        under_way(site.pulps[SERVER], 20, 250, process)
        [ended] = site.ok("content", "prepare", "--abort")["hosts"]
        assert ended["result"] == "changed"
        out, _ = process.communicate(timeout=60)
        [host] = json.loads(out)["hosts"]
        assert (process.returncode, host["result"]) == (130, "stopped")
        assert (host["done"] % 10, host["done"] + host["remaining"]) == (0, 250)
        assert site.pulps[SERVER].counts().todo == host["remaining"]

        [host] = site.ok("content", "prepare", "--yes")["hosts"]
        assert (host["result"], host["remaining"]) == ("changed", 0)
        again = site.ok("content", "prepare", "--yes")
        assert (again["result"], again["run"], again["hosts"][0]["result"]) == (
            "nothing-to-do",
            "",
            "not-applicable",
        )


# -- long ones -------------------------------------------------------------------------------------


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.mark.soak
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


@pytest.mark.soak
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


@pytest.mark.soak
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


@pytest.mark.soak
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


@pytest.mark.soak
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
