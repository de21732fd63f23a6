"""Pulp's whole command in one transaction: all or nothing, and only where nothing stands in its way."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.engines.pulp import answers
from tests.support.preparing import MID_RUN, kill
from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.waiting import wait_until

SEED = Seed(images=120, varied=False)
RUNNING = "SELECT count(*) FROM core_task WHERE name = 'regctl_content.prepare' AND state = 'running'"

pytestmark = pytest.mark.soak  # no release that the tests have is without the parts for the better way


@pytest.fixture
def pulp(pulp_lab: PulpLab) -> Iterator[PulpUnderTest]:
    made = pulp_lab.clone(SEED)
    yield made
    pulp_lab.drop(made)


def test_it_does_all_of_it(pulp: PulpUnderTest) -> None:
    code, found = pulp.ask("whole")
    assert (code, found[-1]["state"], found[-1]["done"], found[-1]["remaining"]) == (0, "done", 120, 0)
    assert pulp.counts().todo == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 6), (signal.SIGKILL, -9)])
def test_stopped_in_the_middle_it_has_done_nothing(
    pulp: PulpUnderTest, tmp_path: Path, number: int, code: int
) -> None:
    process = pulp.start("whole", tmp_path / "log")
    wait_until(lambda: pulp.query(RUNNING)[0][0], what="its task", timeout=MID_RUN)
    kill(process.pid, number)
    assert process.wait(30) == code, (tmp_path / "log").read_text()
    counts = pulp.counts()
    assert (counts.todo, counts.unreadable) == (120, 0)
    if code == 6:
        assert list(answers((tmp_path / "log").read_bytes()))[-1]["state"] == "stopped"
    assert pulp.ask("whole")[0] == 0


def test_it_is_refused_where_one_file_is_missing(pulp_lab: PulpLab) -> None:
    pulp = pulp_lab.clone(Seed(images=120, varied=False, damage={"manifest_file_missing": 1}))
    code, found = pulp.ask("whole")
    assert (code, found[-1]["state"], found[-1]["why"]) == (6, "hindered", "1 manifest-file-missing")
    assert (pulp.counts().todo, pulp.counts().unreadable) == (121, 0)
