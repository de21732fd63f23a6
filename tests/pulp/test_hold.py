"""A cleanup of orphans and preparing, on a Pulp whose API and worker run: they keep out of each other's way.

Preparing lets go of the files that a manifest's text came from. Until it is over they are the way back.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.preparing import MID_RUN, kill
from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.pulp_services import PulpServices
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.soak]

IMAGES = 200
CLEANUP = "pulpcore.app.tasks.orphan.orphan_cleanup"
SLOWLY = {"chunk": 5, "rate": 25}
LET_GO = """
SELECT a.pulp_id, a.file FROM core_artifact a WHERE NOT EXISTS
  (SELECT 1 FROM core_contentartifact c WHERE c.artifact_id = a.pulp_id) ORDER BY a.pulp_id
"""


@pytest.fixture(scope="module")
def services(pulp_lab: PulpLab) -> Iterator[PulpServices]:
    """A Pulp with much to do, its API and one worker."""
    pulp = pulp_lab.clone(Seed(images=IMAGES, varied=False, repositories=1))
    with PulpServices(pulp, ("api", "worker")) as services:
        services.set_password()
        yield services


def cleanup(services: PulpServices) -> str:
    """Ask for a cleanup of everything that is orphaned; return its task."""
    answer = services.api("POST", "/pulp/api/v3/orphans/cleanup/", {"orphan_protection_time": 0})
    assert answer.status == 202, answer.body
    return str(answer.json["task"])


def task(services: PulpServices, href: str) -> dict[str, Any]:
    found = services.api("GET", href).json
    assert isinstance(found, dict)
    return found


def ours(pulp: PulpUnderTest) -> list[tuple[str, Any, Any]]:
    """How the tasks that prepared stand, the oldest first: state, when it began, when it ended."""
    query = "SELECT state, started_at, finished_at FROM core_task WHERE name = %s ORDER BY pulp_created"
    return pulp.query(query, "regctl_content.prepare")


def begun(pulp: PulpUnderTest, log: Path, **how: object) -> subprocess.Popen[bytes]:
    """Start preparing; return once ten more manifests are done."""
    before = pulp.counts().todo
    process = pulp.start("prepare", log, **{**SLOWLY, **how})
    wait_until(lambda: pulp.counts().todo <= before - 10, what="ten manifests", timeout=MID_RUN)
    return process


def files_let_go(pulp: PulpUnderTest) -> list[Path]:
    return [pulp.media / file for _, file in pulp.query(LET_GO)]


def words(log: Path) -> list[dict[str, Any]]:
    found = [line for line in log.read_text().splitlines() if line.startswith('{"regctl"')]
    return [json.loads(line) for line in found]


def test_neither_begins_while_the_other_is_at_work(services: PulpServices, tmp_path: Path) -> None:
    pulp, log = services.pulp, tmp_path / "log"

    # Killed in its middle: Pulp's own worker closes the task, and its hold is gone.
    first = begun(pulp, tmp_path / "first")
    kill(first.pid, signal.SIGKILL)
    first.wait()
    assert ours(pulp)[0][0] == "running"
    with closing(psycopg.connect(pulp.database.dsn)) as session:
        # A cleanup that is at work for as long as we like: it comes to a row that we hold.
        row = session.execute("SELECT pulp_id FROM core_artifact WHERE pulp_id = %s FOR UPDATE",
                              (pulp.query(LET_GO)[-1][0],)).fetchone()  # fmt: skip
        assert row is not None
        running = cleanup(services)
        wait_until(lambda: task(services, running)["state"] == "running", what="the cleanup", timeout=60)
        assert ours(pulp)[0][0] == "failed"

        left = pulp.counts().todo
        second = pulp.start("prepare", log, **SLOWLY)
        wait_until(
            lambda: "a cleanup of orphans is at work" in log.read_text(), what="it to rest", timeout=60
        )
        time.sleep(2.5)
        assert (pulp.counts().todo, second.poll()) == (left, None)
    wait_until(lambda: task(services, running)["state"] == "completed", what="the cleanup's end", timeout=60)
    wait_until(lambda: pulp.counts().todo <= left - 10, what="it to go on", timeout=60)

    # While it works, a cleanup waits, and what was let go stays.
    there = files_let_go(pulp)
    assert there
    waiting = cleanup(services)
    wait_until(lambda: pulp.counts().todo <= left - 40, what="more of it", timeout=60)
    assert task(services, waiting)["state"] == "waiting"
    assert [file for file in there if not file.exists()] == []
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 6
    assert words(log)[-1]["state"] == "stopped"
    wait_until(lambda: task(services, waiting)["state"] == "completed", what="the cleanup", timeout=60)
    assert [file for file in there if file.exists()] == []  # afterwards it does its work
    query = "SELECT started_at FROM core_task WHERE name = %s ORDER BY pulp_created"
    assert pulp.query(query, CLEANUP)[1][0] > ours(pulp)[-1][2]


def test_without_the_hold_it_deletes_what_was_let_go_meanwhile(
    services: PulpServices, tmp_path: Path
) -> None:
    """The control of the test above."""
    pulp = services.pulp
    process = begun(pulp, tmp_path / "log", hold=False)
    try:
        there = files_let_go(pulp)
        assert there
        done = cleanup(services)
        wait_until(lambda: task(services, done)["state"] == "completed", what="the cleanup", timeout=60)
        assert process.poll() is None
        assert [file for file in there if file.exists()] == []
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
