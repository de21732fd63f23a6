"""What prepares content is a running task of Pulp meanwhile, and leaves none behind that holds anything."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ctl.engines.pulp import answers, question
from tests.support.preparing import MID_RUN, kill
from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.waiting import wait_until

SEED = Seed(images=120, varied=False)
TASKS = "SELECT state, error::text FROM core_task WHERE name = 'regctl_content.prepare' ORDER BY pulp_created"
RESERVES = (
    "SELECT count(*) FROM core_task WHERE state = 'running' AND EXISTS (SELECT 1 FROM core_domain d "
    "WHERE 'pdrn:' || d.pulp_id || ':orphans' = ANY(reserved_resources_record))"
)


def holding(pulp: PulpUnderTest) -> int:
    return int(pulp.query(RESERVES)[0][0])


def without_text(pulp: PulpUnderTest) -> int:
    """Count them as a release knows them that has no column `type` yet, too."""
    return int(pulp.query("SELECT count(*) FROM container_manifest WHERE coalesce(data, '') = ''")[0][0])


@pytest.mark.soak
@pytest.mark.parametrize("line", ["20", "24", "27"])
def test_a_killed_one_is_closed_by_the_next(
    pulp_labs: Callable[[str], PulpLab], line: str, tmp_path: Path
) -> None:
    pulp = pulp_labs(line).clone(SEED)
    first = pulp.start("prepare", tmp_path / "first", chunk=10, rate=40)
    wait_until(lambda: without_text(pulp) < 120, what="the work to be under way", timeout=MID_RUN)
    assert holding(pulp) == 1
    kill(first.pid, signal.SIGKILL)
    first.wait()
    assert 0 < without_text(pulp) < 120

    code, found = pulp.ask("prepare", chunk=50)
    assert (code, found[-1]["state"], found[-1]["remaining"]) == (0, "done", 0)
    assert without_text(pulp) == 0
    assert [one for one in found if one["regctl"] == "unheld"] == []
    assert [state for state, _ in pulp.query(TASKS)] == ["canceled", "completed"]
    assert holding(pulp) == 0


CARELESS = """
class Careless:
    def update_manifests(self, manifests):
        count = 0
        for manifest in manifests:
            manifest._artifacts.clear()
            if count % 2:
                manifest.data = "{}"
                manifest.save()
            count += 1
        return count

work = Work(Careless())
state, why = alone(work)
say("end", state=state, done=work.done, failures=sorted(set(work.failed.values())), failed=len(work.failed))
"""


@pytest.mark.soak
def test_what_would_leave_neither_text_nor_file_is_not_committed(pulp_lab: PulpLab) -> None:
    """Code of Pulp that forgets to save: the proof before the commit finds it out."""
    pulp = pulp_lab.clone(SEED)
    asked = question(pulp.node(), "prepare", {"chunk": 10})
    assert isinstance(asked.stdin, bytes)
    program, call, rest = asked.stdin.decode().rpartition("\nprepare()\n")
    assert (bool(call), rest) == (True, "")
    found = pulp.run(program + CARELESS)

    # of ten at once some were not saved, so none is; each by itself it is never the second one
    assert (found["state"], found["done"], found["failed"]) == ("done", 0, 120)
    assert found["failures"] == ["Unsafe: Pulp's own code would leave 1 with neither text nor file"]
    assert pulp.counts().unreadable == 0


@pytest.mark.soak
def test_cancelled_in_pulp_it_ends_after_its_chunk(pulp_lab: PulpLab, tmp_path: Path) -> None:
    pulp = pulp_lab.clone(SEED)
    process = pulp.start("prepare", tmp_path / "log", chunk=10, rate=20)
    wait_until(lambda: without_text(pulp) < 120, what="the work to be under way", timeout=MID_RUN)
    pulp.query("UPDATE core_task SET state = 'canceling' WHERE name = 'regctl_content.prepare'")
    assert process.wait(30) == 6
    end = list(answers((tmp_path / "log").read_bytes()))[-1]
    assert (end["state"], end["done"] % 10, end["remaining"]) == ("stopped", 0, 120 - end["done"])
    assert pulp.ask("prepare")[0] == 0  # and its task, which no worker closed, is in nobody's way
    assert [state for state, _ in pulp.query(TASKS)] == ["canceled", "completed"]


@pytest.mark.soak
def test_on_a_busy_machine_it_rests_until_it_is_told_to_stop(pulp_lab: PulpLab, tmp_path: Path) -> None:
    pulp = pulp_lab.clone(SEED)
    process = pulp.start("prepare", tmp_path / "log", chunk=10, load=0.001)

    def told() -> list[dict[str, object]]:
        return list(answers((tmp_path / "log").read_bytes()))

    wait_until(lambda: any(one["regctl"] == "resting" for one in told()), what="a rest", timeout=MID_RUN)
    kill(process.pid, signal.SIGINT)
    assert process.wait(30) == 6
    assert (told()[-1]["done"], without_text(pulp)) == (10, 110)
    assert "the load is" in str(next(one for one in told() if one["regctl"] == "resting")["why"])
