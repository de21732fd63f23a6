"""The pre-flight's problems and report, and the steps that move entries aside and bring them back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ctl.catalog.preflight_words import Effect
from ctl.catalog.seeding import SeedPlan, seed_tree
from ctl.errors import Outcome, RefusedError
from ctl.hosts.base import Command
from ctl.recipes.model import Problem, Target
from ctl.report.model import Table
from ctl.steps import quarantine as module
from ctl.steps.preflight import preflight_problems, read_preflight
from ctl.steps.preflight_report import preflight_report
from ctl.steps.quarantine import Quarantine, RestoreQuarantine, listed
from ctl.storage.filesystem import FilesystemStorage
from ctl.testing.hosts import MemoryHost, Script
from ctl.testing.world import MemoryRun, MemoryWorld
from tests.support.preflight import picture

BAD = ["newline-tag-link", "nested-index", "empty-tag-link"]
Make = Callable[..., Target]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Seed a tree and return what a step is handed; the gate is open (it has tests of its own)."""
    monkeypatch.setattr(module, "metadata_in_use", lambda *_, **__: iter(()))

    def made(cases: list[str], *, user: str | None = None, find: Script | None = None) -> Target:
        seed_tree(str(tmp_path / "t"), SeedPlan(1, 2, garbage=0, shape="images"), cases)
        node = SimpleNamespace(host="here", user=user)
        registry = SimpleNamespace(storage=SimpleNamespace(host=None), nodes=[node])
        world = MemoryWorld(SimpleNamespace(registries={"main": registry}))
        world.storages = {"main": FilesystemStorage(str(tmp_path / "t"), workers=0)}
        host = MemoryHost("here")
        host.programs["find"] = lambda command: find or Script(0)
        world.hosts = {"here": host}
        return Target(world, MemoryRun())

    return made


def problems(target: Target, **options: Any) -> list[Problem]:
    return list(preflight_problems(target.world, "main", **options))


def test_nothing_to_say_of_a_healthy_tree(make: Make) -> None:
    target = make([])
    assert problems(target) == []
    report = preflight_report("main", read_preflight(target.world, "main"))
    assert report.outcome is Outcome.OK
    assert report.hints == ()
    assert not Quarantine(registry="main").preview(target).changes


def test_what_stops_blocks_and_what_is_lost_warns(make: Make) -> None:
    found = problems(make(BAD))
    assert [problem.blocking for problem in found] == [True, False]
    assert "newline-tag-link" in found[0].message
    assert "--quarantine-bad-entries" in found[0].hint
    assert "empty-tag-link" in found[1].message


def test_with_a_quarantine_only_what_it_cannot_move_blocks(make: Make) -> None:
    target = make(BAD)
    assert [problem.blocking for problem in problems(target, quarantine=True)] == [False]
    closed = target.world.storage("main").root + "/docker/registry/v2/repositories/team-00"
    script = Script(1, closed.encode() + b"\0", b"find: Permission denied")
    other = Target(target.world, target.run)
    node: Any = target.world.registry("main").nodes[0]
    node.user = "git"
    target.world.host("here").programs["find"] = lambda command: script  # type: ignore[attr-defined]
    found = problems(other, quarantine=True)
    assert found[0].blocking
    assert "team-00 (unreadable)" in found[0].message


def test_the_registrys_user_is_asked_once_as_himself(make: Make) -> None:
    target = make([], user="git")
    asked: list[Command] = []

    def find(command: Command) -> Script:
        asked.append(command)
        return Script(0)

    target.world.host("here").programs["find"] = find  # type: ignore[attr-defined]
    assert read_preflight(target.world, "main").of(Effect.ABORT) == []
    assert [(one.user, one.argv[1]) for one in asked] == [
        ("git", target.world.storage("main").root + "/docker/registry/v2")
    ]


def test_the_report_names_the_worst_first_and_counts(make: Make) -> None:
    result = read_preflight(make(BAD).world, "main")
    report = preflight_report("main", result)
    assert report.outcome is Outcome.WARNING
    findings: Any = report.data["findings"]
    order = [str(effect) for effect in Effect]
    places = [order.index(one["effect"]) for one in findings]
    assert places == sorted(places)
    assert report.data["abort_findings"] == 2
    assert report.data["moves"] == 2
    assert report.data["tags_lost"] == 3
    only = preflight_report("main", result, ["drop"])
    assert only.data["abort_findings"] == 2
    left: Any = only.data["findings"]
    assert {one["effect"] for one in left} == {"drop"}


def test_a_step_moves_verifies_and_takes_back(make: Make) -> None:
    target = make(BAD)
    root = target.world.storage("main").root
    before = picture(root)
    step = Quarantine(registry="main")
    assert list(step.check(target)) == []
    preview = step.preview(target)
    assert preview.data["moves"] == 2
    assert isinstance(preview.blocks[0], Table)
    assert picture(root) == before
    assert [problem.blocking for problem in step.verify(target)] == [True]
    state = step.observe(target)
    assert step.probe(target, state) == "pending"
    report = step.apply(target, state)
    assert report is not None
    assert report.data["moves"] == 2
    assert report.changed
    assert target.run.guarded >= 2  # type: ignore[attr-defined]
    assert step.probe(target, state) == "partial"
    assert list(step.verify(target)) == []
    assert [len(one["entries"]) for one in listed(target.world, "main")] == [2]
    again = step.apply(target, state)
    assert again is not None
    assert not again.changed
    assert again.data["moves"] == 2
    step.undo(target, state)
    assert picture(root) == before
    assert listed(target.world, "main") == []


def test_an_entry_mended_between_two_looks_stays(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    target = make(["newline-tag-link"])
    link = Path(target.world.storage("main").root) / (
        "docker/registry/v2/repositories/corrupt/newline-tag-link/_manifests/tags/good/current/link"
    )
    real: Any = vars(module)["read_preflight"]
    reads: list[Any] = []

    def read(*arguments: Any, **options: Any) -> Any:
        reads.append(options)
        found = real(*arguments, **options)
        if len(reads) == 1:  # a push, after the first look
            link.write_bytes(link.read_bytes().strip())
        return found

    monkeypatch.setattr(module, "read_preflight", read)
    step = Quarantine(registry="main")
    report = step.apply(target, step.observe(target))
    assert report is not None
    assert not report.changed
    assert link.exists()
    assert listed(target.world, "main") == []


def test_a_later_run_brings_back_what_an_earlier_one_moved(make: Make) -> None:
    target = make(BAD)
    root = target.world.storage("main").root
    before = picture(root)
    step = Quarantine(registry="main")
    step.apply(target, step.observe(target))
    later = Target(target.world, MemoryRun(id="20260102T000000-later"))
    back = RestoreQuarantine(registry="main", run=target.run.id)
    assert list(back.check(later)) == []
    assert back.preview(later).data["moves"] == 2
    state = back.observe(later)
    report = back.apply(later, state)
    assert report is not None
    assert report.data["moves"] == 2
    assert list(back.verify(later)) == []
    assert back.probe(later, state) == "done"
    assert picture(root) == before
    assert [problem.blocking for problem in back.check(later)] == [True]  # nothing is there any more


def test_a_place_that_was_taken_is_a_problem_and_refused(make: Make) -> None:
    target = make(["newline-tag-link"])
    step = Quarantine(registry="main")
    step.apply(target, step.observe(target))
    tags = Path(target.world.storage("main").root) / (
        "docker/registry/v2/repositories/corrupt/newline-tag-link/_manifests/tags"
    )
    (tags / "good").mkdir()
    back = RestoreQuarantine(registry="main", run=target.run.id)
    assert ["there again" in problem.message for problem in back.check(target)] == [True]
    with pytest.raises(RefusedError):
        back.apply(target, {"items": 1})
