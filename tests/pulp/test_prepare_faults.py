"""Whatever ends it in the middle: no manifest is broken, and the same command goes on from there.

The positive controls show that Pulp's own command does break manifests under the same faults.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctl.engines.pulp import answers
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
    stock_in_the_middle,
    under_way,
)
from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.pulp_site import SERVER, PulpSite

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
        process = site.start(*PREPARE[:-1], "20")  # slow enough to be met, twice
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
        assert all(0 < one["rate_per_second"] <= 22 for one in found["hosts"])
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
