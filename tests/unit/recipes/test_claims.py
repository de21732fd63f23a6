"""Claims keep two controllers apart, and stop one whose node was taken over."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import cast

import pytest

from ctl.errors import LockedError, Outcome, RefusedError, UnreachableError
from ctl.recipes import claims, runs
from ctl.recipes.claims import claim_path
from ctl.recipes.identity import controller_id
from ctl.recipes.lock import Locks
from ctl.recipes.model import Before, Do, Recipe, StepReport, Target, Within
from ctl.world import World
from tests.unit.recipes.children import run_toy, runner
from tests.unit.recipes.toys import Box, Put, Switch, box_of

RESOURCES = ("registry/main",)


@pytest.fixture
def box(box: Box) -> Box:
    box.add_registry("main", "one", "two")
    return box


def claim_file(box: Box, host: str) -> Path:
    return Path(claim_path(os.path.join(box.folder, host, "config.yml")))


def second_controller(box: Box) -> Box:
    """Another controller, with a state_dir of its own, over the same nodes."""
    other = Box(box.folder)
    other.state_dir = os.path.join(box.folder, "other-state")
    other.registries = box.registries
    return other


def as_world(box: Box) -> World:
    return cast("World", box)


class Look(Put):
    """Keeps what lies beside the nodes' files while it works."""

    def apply(self, here: Target, before: Before) -> StepReport:
        box = box_of(here)
        box.set("seen", {host: json.loads(claim_file(box, host).read_text()) for host in ("one", "two")})
        return super().apply(here, before)


class Compete(Put):
    """While it works, another controller takes the node over, and only then it writes."""

    def apply(self, here: Target, before: Before) -> StepReport:
        path = claim_file(box_of(here), "two")
        data = json.loads(path.read_text())
        path.write_text(json.dumps({**data, "run": "other", "controller": "somebody"}))
        return super().apply(here, before)


def test_claim_path() -> None:
    assert claim_path("/etc/docker/registry/config.yml") == "/etc/docker/registry/.config.yml.regctl-claim"


def test_every_node_is_claimed_while_a_run_works_and_free_afterwards(box: Box) -> None:
    recipe = Recipe("toy", (Within((Switch(name="s"),), (Do(Look(name="a")),)),), RESOURCES)
    report = run_toy(box, recipe)
    assert report.state == "done"
    for host in ("one", "two"):
        seen = box.get()["seen"][host]
        assert (seen["run"], seen["epoch"], seen["registry"]) == (report.id, 1, "main")
        assert seen["controller"] == controller_id(box.state_dir, create=False)
        assert seen["before"] == {"1.s1": {"was": "on"}}
        assert not claim_file(box, host).exists()


def test_a_claim_is_private(box: Box) -> None:
    box.set("plan:leave s", "fail")
    run_toy(box, Recipe("toy", (Within((Switch(name="s"),), (Do(Put(name="a")),)),), RESOURCES))
    assert stat.S_IMODE(claim_file(box, "one").stat().st_mode) == 0o600


def test_another_controllers_claim_is_in_the_way_and_only_read(box: Box) -> None:
    other = second_controller(box)
    box.set("plan:leave s", "fail")
    theirs = run_toy(box, Recipe("toy", (Within((Switch(name="s"),), (Do(Put(name="a")),)),), RESOURCES))
    assert theirs.state == "open"
    before = claim_file(box, "one").read_bytes()
    for dry_run in (True, False):
        report = runner(other).run(Recipe("toy", (Do(Put(name="z")),), RESOURCES), dry_run=dry_run, yes=True)
        assert report.outcome == Outcome.LOCKED
        assert theirs.id in report.problems[0].message
        assert f"regctl lock break {theirs.id}" in report.problems[0].hint
    assert claim_file(box, "one").read_bytes() == before
    assert not os.path.exists(other.state_dir)


def test_a_claim_is_broken_by_its_runs_id_and_its_owner_then_changes_nothing(box: Box) -> None:
    other = second_controller(box)
    box.set("plan:leave s", "fail")
    theirs = run_toy(box, Recipe("toy", (Within((Switch(name="s"),), (Do(Put(name="a")),)),), RESOURCES))
    locks = Locks(other.state_dir)
    assert claims.break_claims(as_world(other), locks, theirs.id, "its host burned", dry_run=True) == 2
    assert claim_file(box, "one").exists()
    assert claims.break_claims(as_world(other), locks, theirs.id, "its host burned", dry_run=False) == 2
    assert not claim_file(box, "one").exists()
    audit = json.loads(Path(locks.folder, "audit.jsonl").read_text().splitlines()[0])
    assert (audit["what"], audit["run"], audit["reason"]) == ("claim-broken", theirs.id, "its host burned")
    runner(box).resume(theirs.id)  # leaves it open again, with its claims placed anew
    with pytest.raises(RefusedError, match="this controller's own"):
        claims.break_claims(as_world(box), Locks(box.state_dir), theirs.id, "why", dry_run=False)


def test_a_node_that_is_taken_over_meanwhile_is_not_written_to(box: Box) -> None:
    recipe = Recipe("toy", (Within((Switch(name="s"),), (Do(Compete(name="a")),)),), RESOURCES)
    with pytest.raises(LockedError, match="was taken"):
        run_toy(box, recipe)
    assert "apply a" not in box.logged()
    assert box.get()["s"] == "off"  # whoever took it over leaves it, not we
    assert len(runs.open_runs(box.state_dir)) == 1


def test_a_claim_of_an_earlier_closed_run_of_ours_is_replaced(box: Box) -> None:
    run_toy(box, Recipe("toy", (Do(Put(name="a")),), RESOURCES))
    own = controller_id(box.state_dir, create=False)
    claim_file(box, "one").write_bytes(claims.Claim("main", "old", 0, own, "h", "toy", "me", "now").dump())
    assert run_toy(box, Recipe("toy", (Do(Put(name="b")),), RESOURCES)).state == "done"
    assert not claim_file(box, "one").exists()


def test_an_unreadable_claim_is_in_the_way(box: Box) -> None:
    claim_file(box, "two").write_text("{")
    report = run_toy(box, Recipe("toy", (Do(Put(name="a")),), RESOURCES))
    assert report.outcome == Outcome.LOCKED
    assert "delete that file" in report.problems[0].hint


def test_a_node_without_a_configuration_folder_has_nothing_to_guard(box: Box) -> None:
    os.rmdir(os.path.join(box.folder, "two"))
    assert run_toy(box, Recipe("toy", (Do(Put(name="a")),), RESOURCES)).state == "done"


def test_an_unreachable_node_is_told_before_anything_is_written(box: Box) -> None:
    box.unreachable.add("two")
    report = run_toy(box, Recipe("toy", (Do(Put(name="a")),), RESOURCES))
    assert (report.outcome, report.id) == (Outcome.UNREACHABLE, "")
    assert not os.path.exists(box.state_dir)


def test_a_resume_that_cannot_reach_a_node_decides_nothing(box: Box) -> None:
    recipe = Recipe("toy", (Within((Switch(name="s"),), (Do(Put(name="a")), Do(Put(name="b")))),), RESOURCES)
    box.set("plan:leave s", "fail")
    run_id = run_toy(box, recipe).id
    box.unreachable.add("two")
    with pytest.raises(UnreachableError):
        runner(box).resume(run_id)
    assert [state.id for state in runs.open_runs(box.state_dir)] == [run_id]
    box.unreachable.clear()
    box.set("plan:leave s", "")
    assert runner(box).resume(run_id).outcome == Outcome.CHANGED
    assert box.get()["s"] == "on"


def test_a_large_state_before_is_left_to_the_journal() -> None:
    claim = claims.Claim("main", "r", 1, "c", "h", "toy", "me", "now", {"1.s1": {"bytes": "x" * 100_000}})
    assert json.loads(claim.dump())["before"] == {"1.s1": "too large; see the journal"}
