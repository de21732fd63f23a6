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
MANY = Seed(images=250, varied=False)
SLOWLY = {"chunk": 20, "rate": 60}
DAMAGED = Seed(images=250, varied=False, damage={"manifest_file_missing": 1})


def told(log: Path) -> list[dict[str, Any]]:
    return list(answers(log.read_bytes()))


def last(log: Path) -> dict[str, Any]:
    return told(log)[-1]


@pytest.fixture
def pulp(pulp_lab: PulpLab) -> Iterator[PulpUnderTest]:
    made = pulp_lab.clone(MANY)
    yield made
    pulp_lab.drop(made)


# -- the program itself ---------------------------------------------------------------------------


def test_a_second_one_is_kept_out_and_a_hangup_lets_the_chunk_end(
    pulp: PulpUnderTest, tmp_path: Path
) -> None:
    first = pulp.start("prepare", tmp_path / "first", **SLOWLY)
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


@pytest.fixture
def site(pulp_lab: PulpLab, tmp_path: Path) -> Iterator[PulpSite]:
    with PulpSite(
        tmp_path / "site", pulp_lab.clone(MANY), {"proxy1": pulp_lab.clone(MANY)}, overlay=ALWAYS
    ) as made:
        yield made


PREPARE = ("content", "prepare", "--yes", "--chunk", "20", "--rate", "60")


def test_one_command_goes_on_after_a_kill_there_and_across_a_broken_connection(site: PulpSite) -> None:
    server, proxy = site.pulps.values()
    process = site.start(*PREPARE)
    under_way(server, 20)
    under_way(proxy, 20, 250)
    kill(driver(site, SERVER))
    site.sshds["proxy1"].drop_connections()
    out, errors = process.communicate(timeout=120)

    found = json.loads(out)
    assert process.returncode == 0, errors.decode()
    assert [(one["host"], one["result"], one["done"], one["remaining"]) for one in found["hosts"]] == [
        ("server", "changed", 250, 0),
        ("proxy1", "changed", 250, 0),
    ]
    assert [one["jobs"] for one in found["hosts"]] == [2, 1]
    assert "it was ended by force" in errors.decode()
    assert "trying to reach it again" in errors.decode()
    assert [(one.counts().todo, one.counts().unreadable) for one in (server, proxy)] == [(0, 0), (0, 0)]
    assert [len(jobs(site, host)) for host in site.pulps] == [1, 0]  # of the killed one the log is kept


def test_a_killed_regctl_is_ended_gently_by_abort_and_resumed(site: PulpSite) -> None:
    server, proxy = site.pulps.values()
    process = site.start(*PREPARE)
    under_way(server, 20)
    under_way(proxy, 20, 250)
    process.kill()
    process.communicate()
    ours = {host: driver(site, host) for host in site.pulps}

    aborted = site.ok("content", "prepare", "--abort")
    assert sorted(one["host"] for one in aborted["hosts"]) == ["proxy1", "server"]
    left = {host: one.counts().todo for host, one in site.pulps.items()}
    assert all(0 < count < 250 for count in left.values())
    assert all(not Path(f"/proc/{pid}").exists() for pid in ours.values())
    assert site.ok("content", "prepare", "--abort")["result"] == "nothing-to-do"

    resumed = site.ok("run", "resume", "--yes")
    assert (resumed["state"], [one["result"] for one in resumed["hosts"]]) == ("done", ["changed", "changed"])
    assert [(one.counts().todo, one.counts().unreadable) for one in (server, proxy)] == [(0, 0), (0, 0)]
    assert {host: len(jobs(site, host)) for host in site.pulps} == {SERVER: 1, "proxy1": 1}


def test_abort_ends_a_living_one_as_interrupted_and_the_same_command_goes_on(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    with PulpSite(tmp_path / "site", pulp_lab.clone(MANY), overlay=ALWAYS) as site:
        process = site.start(*PREPARE)
        under_way(site.pulps[SERVER], 20)
        [ended] = site.ok("content", "prepare", "--abort")["hosts"]
        assert ended["result"] == "changed"
        out, _ = process.communicate(timeout=60)
        [host] = json.loads(out)["hosts"]
        assert (process.returncode, host["result"]) == (130, "stopped")
        assert (host["done"] % 20, host["done"] + host["remaining"]) == (0, 250)
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
        under_way(site.pulps[SERVER], 20)
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
        under_way(hurt, 20)
        if fault == "file":
            [missing] = [
                row[0]
                for row in hurt.query(
                    "SELECT digest FROM container_manifest WHERE data IS NULL "
                    "ORDER BY content_ptr_id DESC LIMIT 1"
                )
            ]
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
