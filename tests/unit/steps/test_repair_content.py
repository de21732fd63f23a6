"""What linking again makes of each answer of the program over there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ctl.errors import CommandFailedError, LockedError, Outcome, RefusedError
from ctl.recipes.codec import dump, load
from ctl.recipes.model import Target
from ctl.steps.repair_content import RelinkContent, UnlinkContent
from ctl.steps.repair_report import repair_recipe
from ctl.testing import MemoryHost, MemoryWorld
from ctl.testing.hosts import Script
from ctl.testing.world import MemoryRun
from tests.unit.steps.test_content_survey import SITE

LOOK = {"regctl": "look", "linkable": 0, "gone": 0, "lost": 0, "preparing": False, "cleanups": 0}
END = {"regctl": "end", "state": "done", "done": 0, "failed": [], "failures": 0, "linkable": 0}
SEED = {"seed": "6b4e03423667dbb73b6e15454f0eb1ab"}


class Manager:
    """A manager that answers what the test says, and remembers what it was asked."""

    def __init__(self, *answers: dict[str, Any], code: int = 0) -> None:
        self.output = "".join(f"{json.dumps(one)}\n" for one in answers).encode()
        self.code = code
        self.asked: list[dict[str, Any]] = []

    def __call__(self, command: Any) -> Script:
        first = command.stdin.decode().partition("\n")[0]
        self.asked.append(json.loads(json.loads(first[first.index('"') : first.rindex(")")])))
        return Script(self.code, stdout=self.output, stderr=b"Traceback\nKeyError: 1\n")


def target(manager: Manager, run_id: str = "") -> Target:
    host = MemoryHost("katello", {"/usr/bin/pulpcore-manager": manager})
    return Target(MemoryWorld(SITE, hosts={"katello": host}), MemoryRun(id=run_id))


def step() -> RelinkContent:
    return RelinkContent(pulp="katello", host_name="katello")


@pytest.mark.parametrize(
    ("changes", "outcomes"),
    [
        ({}, []),
        ({"preparing": True}, []),  # there is nothing to link: nobody is in the way
        ({"linkable": 2, "preparing": True}, [Outcome.LOCKED]),
        ({"linkable": 2, "cleanups": 1}, [Outcome.REFUSED]),
        ({"linkable": 2}, []),
    ],
)
def test_what_stands_in_the_way(changes: dict[str, Any], outcomes: list[Outcome]) -> None:
    manager = Manager({**LOOK, **changes})
    assert [problem.outcome for problem in step().check(target(manager))] == outcomes


def test_check_and_preview_take_one_look() -> None:
    manager = Manager(
        {"regctl": "linkable", "digest": "sha256:1", "file": "artifact/1"}, {**LOOK, "linkable": 1}
    )
    here, one = target(manager), step()
    assert list(one.check(here)) == []
    preview = one.preview(here)
    assert (preview.changes, preview.data["manifests"]) == (True, ["sha256:1"])
    assert manager.asked == [{"action": "look"}]


def test_where_nothing_can_be_linked_it_says_what_stays_lost() -> None:
    preview = step().preview(target(Manager({**LOOK, "lost": 3, "gone": 1})))
    assert (preview.changes, preview.data["lost"]) == (False, 4)
    told = " ".join(str(block) for block in preview.blocks)
    assert "3 have no file any more" in told
    assert "1 are known by their digests, but their files are gone" in told


def test_the_links_keys_come_from_what_was_journaled() -> None:
    manager = Manager({**END, "done": 3})
    one = step()
    here = target(manager, "run")
    seed = one.observe(here)["seed"]
    assert seed != step().observe(here)["seed"]
    report = one.apply(here, {"seed": seed})
    assert (report.changed, report.data["linked"]) == (True, 3)
    assert manager.asked == [{"action": "link", "seed": seed, "chunk": 200}]
    assert list(one.verify(here)) == []  # counted by the program itself, under its lock
    one.undo(here, {"seed": seed})
    assert manager.asked[-1] == {"action": "unlink", "seed": seed, "chunk": 200}


@pytest.mark.parametrize(
    ("changes", "code", "error"),
    [
        ({"state": "locked"}, 5, LockedError),
        ({"state": "cleanup", "done": 2}, 4, RefusedError),
        ({"failed": [{"digest": "sha256:1", "why": "gone"}], "failures": 1}, 3, CommandFailedError),
    ],
)
def test_a_refusal_and_a_failure_are_told_apart(
    changes: dict[str, Any], code: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match="katello on katello"):
        step().apply(target(Manager({**END, **changes}, code=code), "run"), SEED)


def test_a_program_that_came_to_no_end_is_no_success() -> None:
    with pytest.raises(CommandFailedError, match="KeyError"):
        step().apply(target(Manager(code=1), "run"), SEED)


def test_what_is_left_after_all_is_a_failure() -> None:
    one, here = step(), target(Manager({**END, "done": 1, "linkable": 2}), "run")
    one.apply(here, SEED)
    (problem,) = one.verify(here)
    assert "2 manifests can still be linked" in problem.message


def test_taking_back_says_where_nothing_is_left_to_take_back() -> None:
    back = UnlinkContent(pulp="katello", host_name="katello", seed=SEED["seed"])
    assert back.apply(target(Manager({**END, "done": 2}), "run"), {}).data["unlinked"] == 2
    assert back.apply(target(Manager(END), "run"), {}).not_applicable


def test_a_step_that_has_looked_survives_the_journal() -> None:
    here = target(Manager(LOOK))
    recipe = repair_recipe(here.world, "katello", ["katello"])
    (row,) = recipe.items[0].rows  # type: ignore[union-attr]
    row.body[0].step.preview(here)  # type: ignore[union-attr]
    assert load(dump(recipe)).items == recipe.items
    assert recipe.resources == ("pulp/katello",)
