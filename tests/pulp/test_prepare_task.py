"""What prepares content is a running task of Pulp meanwhile, and leaves none behind that would hold anything."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ctl.engines.pulp import answers
from tests.support.preparing import kill, under_way
from tests.support.pulp import PulpLab, PulpUnderTest, Seed

SEED = Seed(images=120, varied=False)
TASKS = "SELECT state, error::text FROM core_task WHERE name = 'regctl_content.prepare' ORDER BY pulp_created"
RESERVES = (
    "SELECT count(*) FROM core_task WHERE state = 'running' AND EXISTS (SELECT 1 FROM core_domain d "
    "WHERE 'pdrn:' || d.pulp_id || ':orphans' = ANY(reserved_resources_record))"
)


def holding(pulp: PulpUnderTest) -> int:
    return int(pulp.query(RESERVES)[0][0])


@pytest.mark.parametrize("line", ["24", pytest.param("27", marks=pytest.mark.soak)])
def test_a_killed_one_is_closed_by_the_next(
    pulp_labs: Callable[[str], PulpLab], line: str, tmp_path: Path
) -> None:
    pulp = pulp_labs(line).clone(SEED)
    first = pulp.start("prepare", tmp_path / "first", chunk=10, rate=40)
    under_way(pulp, 10)
    assert holding(pulp) == 1
    kill(first.pid, signal.SIGKILL)
    first.wait()
    assert pulp.counts().unreadable == 0

    code, found = pulp.ask("prepare", chunk=50)
    assert (code, found[-1]["state"], found[-1]["remaining"]) == (0, "done", 0)
    assert [one for one in found if one["regctl"] == "unheld"] == []
    assert [state for state, _ in pulp.query(TASKS)] == ["canceled", "completed"]
    assert holding(pulp) == 0
