"""Settling an open run: going on, backing out, closing it as it is; and never beside one that lives."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctl.errors import LockedError, Outcome, RefusedError, UsageError
from ctl.recipes import runs
from ctl.recipes.failpoints import Failpoints
from ctl.recipes.lock import Locks
from ctl.recipes.model import Do, Recipe, Within
from ctl.report.events import Message
from tests.unit.recipes.children import boundaries, forked, killed_at, run_toy, runner, wait, wait_stopped
from tests.unit.recipes.toys import Box, Burn, Decide, Put, Switch

WINDOW = Recipe(
    "toy", (Within((Switch(name="s"),), (Do(Put(name="a")), Do(Put(name="b")))),), ("registry/main",)
)
BURN = Recipe("toy", (Within((Switch(name="s"),), (Do(Burn(name="x")),)),), ("registry/main",))


@pytest.fixture
def box(box: Box) -> Box:
    box.add_registry("main", "here")
    return box


def at(recipe: Recipe, label: str, when: str, box: Box) -> None:
    """Run the recipe in a child that is killed before or after the boundary of that name."""
    names: list[str] = []

    class Listing(Failpoints):
        def boundary(self, name: str):  # type: ignore[no-untyped-def]
            names.append(name)
            return super().boundary(name)

    scratch = Box(os.path.join(box.folder, "scratch"))
    os.makedirs(scratch.folder)
    scratch.add_registry("main", "here")
    boundaries(lambda points: run_toy(scratch, recipe, Listing(0, "", "count")))
    index = names.index(label) + 1
    assert killed_at(index, when, lambda points: run_toy(box, recipe, points))


def the_open_run(box: Box) -> str:
    (state,) = runs.open_runs(box.state_dir)
    return state.id


def test_a_run_goes_on_where_it_was_cut_off(box: Box) -> None:
    at(WINDOW, "apply 1.1 Put", "after", box)
    assert (box.get()["s"], box.get()["a"]) == ("off", 1)
    report = runner(box).resume("")
    assert (report.state, report.outcome) == ("done", Outcome.CHANGED)
    assert box.logged() == ["enter s", "apply a", "apply b", "leave s"]
    assert runs.load(box.state_dir, report.id).state == "done"


def test_leave_only_does_no_further_step(box: Box) -> None:
    at(WINDOW, "apply 1.1 Put", "after", box)
    report = runner(box).resume(the_open_run(box), leave_only=True)
    assert (report.state, report.outcome) == ("interrupted", Outcome.CHANGED)
    assert box.logged() == ["enter s", "apply a", "leave s"]
    assert {r.path: r.result for r in report.steps if r.phase == "apply"}["1.2"] == "not-attempted"


@pytest.mark.parametrize(
    ("last", "label", "when", "left"),
    [
        (Decide(name="x"), "apply 1.2 Decide", "before", {"a": None, "x": None}),
        # decided, and its outcome not journaled yet: it stands, and what it was built on
        (Decide(name="x"), "apply 1.2 Decide", "after", {"a": 1, "x": 1}),
        (Burn(name="x"), "apply 1.2 Burn", "before", {"a": 1, "x": None}),
    ],
)
def test_only_what_was_done_and_cannot_be_taken_back_keeps_what_came_before(
    box: Box, last: Decide | Burn, label: str, when: str, left: dict[str, int | None]
) -> None:
    items = (Within((Switch(name="s"),), (Do(Put(name="a")), Do(last))),)
    at(Recipe("toy", items, ("registry/main",), undo_on_failure=True), label, when, box)
    assert runner(box).resume("", leave_only=True).state == "interrupted"
    assert {name: box.get().get(name) for name in left} == left
    assert box.get()["s"] == "on"


def test_a_run_that_had_failed_only_backs_out(box: Box) -> None:
    box.set("plan:apply b", "fail")
    at(WINDOW, "journal outcome 1.1", "after", box)
    run_id = the_open_run(box)
    points = Failpoints(3, "after", "kill")  # of the resume: its take-over, its claim, its guard
    assert killed_at(points.index, "after", lambda points: runner(box, points).resume(run_id))
    box.set("plan:apply b", "fail")
    report = runner(box).resume(run_id)
    assert (report.state, report.outcome, box.get()["s"]) == ("failed", Outcome.FAILED, "on")


def test_when_nobody_can_tell_the_scopes_are_left(box: Box) -> None:
    at(BURN, "apply 1.1 Burn", "before", box)
    report = runner(box).resume(the_open_run(box))
    assert (report.state, report.outcome, box.get()["s"]) == ("failed", Outcome.REFUSED, "on")
    assert "nobody can tell" in report.problems[0].message
    assert box.logged() == ["enter s", "settle x", "leave s"]


def test_when_nobody_can_tell_the_operator_may_say_so(box: Box) -> None:
    at(BURN, "apply 1.1 Burn", "before", box)
    questions: list[str] = []

    def yes(question: str) -> bool:
        questions.append(question)
        return True

    assert runner(box, confirm=yes).resume("").state == "done"
    assert questions == ["Nobody can tell how far this came: burn x. Repeat it?"]
    assert box.logged() == ["enter s", "apply x", "leave s"]


def test_a_changing_command_is_refused_until_an_open_run_is_settled(box: Box) -> None:
    at(WINDOW, "apply 1.1 Put", "before", box)
    run_id = the_open_run(box)
    with pytest.raises(RefusedError, match=f"{run_id}.*still entered: switch s off") as error:
        run_toy(box, Recipe("other", (Do(Put(name="z")),), ("registry/main",)))
    assert f"regctl run resume {run_id}" in error.value.hint
    assert f"regctl run abandon {run_id}" in error.value.hint
    other = run_toy(box, Recipe("other", (Do(Put(name="z")),), ("toy/another",)))
    assert other.state == "done"  # it locks something else
    assert runner(box).run(WINDOW, dry_run=True).state == "dry-run"


def test_a_run_that_left_nothing_behind_is_taken_over(box: Box) -> None:
    plain = Recipe("toy", (Do(Put(name="a")), Do(Put(name="b"))), ("registry/main",))
    at(plain, "apply 1 Put", "before", box)
    run_id = the_open_run(box)
    report = run_toy(box, plain)
    assert report.state == "done"
    old = runs.load(box.state_dir, run_id)
    assert (old.state, old.reason) == ("superseded", f"by run {report.id}")
    assert runs.open_runs(box.state_dir) == []


def test_a_run_with_an_irreversible_step_in_flight_is_not_taken_over(box: Box) -> None:
    plain = Recipe("toy", (Do(Burn(name="x")),), ("registry/main",))
    at(plain, "apply 1 Burn", "before", box)
    with pytest.raises(RefusedError, match="has not ended"):
        run_toy(box, plain)
    assert runner(box).resume("").outcome == Outcome.REFUSED  # nobody can tell how far it came
    assert runs.open_runs(box.state_dir) == []


def test_abandoning_needs_closed_scopes_or_a_clear_word(box: Box) -> None:
    at(WINDOW, "apply 1.1 Put", "after", box)
    run_id = the_open_run(box)
    with pytest.raises(UsageError, match="reason"):
        runner(box).abandon(run_id, " ")
    with pytest.raises(RefusedError, match="still entered: switch s off") as error:
        runner(box).abandon(run_id, "hurry")
    assert "--leave-only" in error.value.hint
    assert runs.open_runs(box.state_dir)
    state = runner(box).abandon(run_id, "hurry", leave_open_scopes=True)
    assert (state.state, state.reason) == ("abandoned", "hurry")
    told = [e.text for e in box.events if isinstance(e, Message) and e.level == "warning"]
    assert any("nobody will put it back: switch s off" in text for text in told)
    assert box.get()["s"] == "off"
    assert not (Path(box.folder) / "here" / ".config.yml.regctl-claim").exists()
    with pytest.raises(UsageError, match="has ended already"):
        runner(box).resume(run_id)


def test_a_living_run_is_not_resumed(box: Box) -> None:
    pid = stalled_run(box)
    run_id = the_open_run(box)
    for action in (
        lambda: runner(box).resume(run_id),
        lambda: runner(box).abandon(run_id, "why", leave_open_scopes=True),
        lambda: run_toy(box, WINDOW),
    ):
        with pytest.raises(LockedError, match=f"pid {pid}"):
            action()
    os.kill(pid, signal.SIGCONT)
    assert wait(pid) == 0
    assert box.get()["s"] == "on"


def stalled_run(box: Box, label_index: int = 0) -> int:
    """Start the window in a child that stops itself inside, just before its second step's own write."""
    scratch = Box(os.path.join(box.folder, "scratch"))
    os.makedirs(scratch.folder, exist_ok=True)
    scratch.add_registry("main", "here")
    index = next_boundary(scratch, "apply 1.2 Put")

    def child() -> None:
        run_toy(box, WINDOW, Failpoints(index, "before", "stall"))

    pid = forked(child)
    wait_stopped(pid)
    return pid


def next_boundary(box: Box, label: str) -> int:
    names: list[str] = []

    class Listing(Failpoints):
        def boundary(self, name: str):  # type: ignore[no-untyped-def]
            names.append(name)
            return super().boundary(name)

    run_toy(box, WINDOW, Listing(0, "", "count"))
    return names.index(label) + 1


def test_a_run_that_slept_through_a_break_and_a_resume_changes_nothing(box: Box) -> None:
    pid = stalled_run(box)
    run_id = the_open_run(box)
    locks = Locks(box.state_dir)
    info = locks.state("registry/main").info
    assert info is not None
    locks.break_(info.id, "it hangs")
    report = runner(box).resume(run_id, leave_only=True)
    assert report.state == "interrupted"
    content, log = box.get(), box.logged()
    assert content["s"] == "on"
    journal = Path(runs.journal_path(box.state_dir, run_id)).read_bytes()
    os.kill(pid, signal.SIGCONT)
    assert wait(pid) == 1  # FencedError, with no scope left and nothing journaled
    assert (box.get(), box.logged()) == (content, log)
    assert Path(runs.journal_path(box.state_dir, run_id)).read_bytes() == journal


def test_control_without_the_guard_it_does_write_late(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    from ctl.recipes.live import LiveRun

    monkeypatch.setattr(LiveRun, "guard", lambda self: None)
    pid = stalled_run(box)
    locks = Locks(box.state_dir)
    info = locks.state("registry/main").info
    assert info is not None
    locks.break_(info.id, "it hangs")
    runner(box).resume("", leave_only=True)
    os.kill(pid, signal.SIGCONT)
    assert wait(pid) == 1  # the journal stops it, but only after the step
    assert box.logged()[-1] == "apply b"


def test_a_damaged_journal_is_never_acted_on(box: Box) -> None:
    at(WINDOW, "apply 1.1 Put", "after", box)
    run_id = the_open_run(box)
    path = Path(runs.journal_path(box.state_dir, run_id))
    path.write_bytes(path.read_bytes().replace(b'"kind":"intent"', b'"kind":"intemt"', 1))
    (state,) = runs.open_runs(box.state_dir, ("anything/else",))
    assert (state.id, state.state) == (run_id, "unreadable")
    actions: list[Callable[[], object]] = [
        lambda: run_toy(box, WINDOW),
        lambda: runner(box).resume(run_id),
    ]
    for action in actions:
        with pytest.raises(RefusedError, match=r"journal.jsonl:2"):
            action()
    with pytest.raises(RefusedError, match="nobody can tell"):
        runner(box).abandon(run_id, "looked at it")
    assert runner(box).abandon(run_id, "looked at it", leave_open_scopes=True).state == "abandoned"
    assert runs.open_runs(box.state_dir) == []
    assert run_toy(box, WINDOW).state == "done"


def test_a_recipe_that_is_not_the_one_begun_is_refused(box: Box) -> None:
    at(WINDOW, "apply 1.1 Put", "after", box)
    run_id = the_open_run(box)
    rewrite_start(box, run_id, lambda start: start.update(plan_hash="0" * 64))
    with pytest.raises(RefusedError, match="not the one that was begun"):
        runner(box).resume(run_id)


def test_a_step_whose_class_is_gone_is_named(box: Box) -> None:
    at(WINDOW, "apply 1.1 Put", "after", box)
    run_id = the_open_run(box)

    def rename(start: dict[str, Any]) -> None:
        from ctl.recipes.codec import plan_hash

        start["recipe"]["items"][0]["body"][0]["do"]["step"] = "ctl.steps.gone:Gone"
        start["plan_hash"] = plan_hash(start["recipe"])

    rewrite_start(box, run_id, rename)
    from ctl.errors import RegctlError

    with pytest.raises(RegctlError, match=r"ctl.steps.gone:Gone cannot be built again") as error:
        runner(box).resume(run_id)
    assert "version of regctl" in error.value.hint


def rewrite_start(box: Box, run_id: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the journal anew, well-formed, with another first record."""
    import hashlib

    from ctl.recipes.journal import encode, read

    path = Path(runs.journal_path(box.state_dir, run_id))
    data, previous = b"", ""
    for record in read(str(path)).records:
        payload = json.loads(json.dumps(record.payload))
        if record.kind == "start":
            change(payload)
        line = encode(record.seq, record.time, record.kind, payload, previous)
        previous = hashlib.sha256(line[:-1]).hexdigest()
        data += line
    path.write_bytes(data)


def test_the_open_run_is_found_by_itself_only_if_there_is_one(box: Box) -> None:
    with pytest.raises(UsageError, match="no run is open"):
        runner(box).resume("")
    with pytest.raises(UsageError, match="no run has an id beginning"):
        runner(box).resume("2026")
