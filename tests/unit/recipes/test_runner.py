"""The runner's order and its promises, on toy steps."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ctl.errors import InterruptedRunError, LockedError, Outcome, RefusedError, RegctlError, UsageError
from ctl.recipes import runs
from ctl.recipes.journal import read
from ctl.recipes.lock import Locks
from ctl.recipes.model import Before, Do, Item, Problem, Recipe, Step, StepReport, Target, Within
from ctl.report.events import Message, Planned, Retrying
from tests.unit.recipes.children import run_toy, runner
from tests.unit.recipes.toys import Box, Burn, Lamp, Put, Switch, box_of

RESOURCES = ("toy/one",)


def recipe(*items: Item, question: str = "", undo: bool = False) -> Recipe:
    return Recipe("toy", items, RESOURCES, question=question, undo_on_failure=undo)


def put(name: str) -> Do:
    return Do(Put(name=name))


class Spoil(Put):
    """Does its work, and makes a check fail that was in order before."""

    plan: str

    def apply(self, here: Target, before: Before) -> StepReport:
        box_of(here).set(f"plan:{self.plan}", "refused")
        return super().apply(here, before)


class Fill(Put):
    """Fills the disk that the journal is on."""

    def apply(self, here: Target, before: Before) -> StepReport:
        def full(kind: str, payload: object) -> None:
            raise RegctlError("the journal cannot be written: No space left on device")

        live: Any = here.run
        live.journal.put = full
        return super().apply(here, before)


WINDOW = recipe(put("a"), Within((Switch(name="s"), Lamp(name="l")), (put("b"), put("c"))), put("d"))


def tree(folder: str) -> list[str]:
    return sorted(os.path.join(path, name) for path, _, names in os.walk(folder) for name in names)


def test_steps_run_in_order_and_scopes_are_left_in_reverse(box: Box) -> None:
    report = run_toy(box, WINDOW)
    assert (report.state, report.outcome) == ("done", Outcome.CHANGED)
    assert box.logged() == [
        "apply a", "enter s", "enter l", "apply b", "apply c", "leave l", "leave s", "apply d",
    ]  # fmt: skip
    assert [(r.path, r.phase, r.result) for r in report.steps] == [
        ("1", "apply", "changed"),
        ("2.s1", "apply", "changed"),
        ("2.s2", "apply", "changed"),
        ("2.1", "apply", "changed"),
        ("2.2", "apply", "changed"),
        ("2.s2", "leave", "changed"),
        ("2.s1", "leave", "changed"),
        ("3", "apply", "changed"),
    ]
    assert report.data("Put") == {"value": 1}
    state = runs.load(box.state_dir, report.id)
    assert (state.state, state.open_scopes(), state.in_flight()) == ("done", [], [])
    assert Locks(box.state_dir).state("toy/one").info is None


def test_each_intent_is_journaled_before_and_each_outcome_after(box: Box) -> None:
    report = run_toy(box, recipe(put("a")))
    records = read(runs.journal_path(box.state_dir, report.id)).records
    assert [record.kind for record in records] == ["start", "intent", "outcome", "end"]
    intent = records[1].payload
    assert (intent["path"], intent["attempt"], intent["before"]) == ("1", 1, {"value": None})
    assert records[0].payload["recipe"]["items"][0]["do"]["args"] == {"name": "a", "value": 1}
    assert records[0].payload["argv"] == ["regctl", "toy"]


def test_a_dry_run_writes_nothing_anywhere(box: Box) -> None:
    before = tree(box.folder)
    report = runner(box).run(WINDOW, dry_run=True)
    assert (report.state, report.outcome, report.id) == ("dry-run", Outcome.PENDING, "")
    assert [p.title for p in report.previews] == [
        "put a", "switch s off", "switch l off", "put b", "put c", "put d",
    ]  # fmt: skip
    assert tree(box.folder) == before
    assert not os.path.exists(box.state_dir)


def test_a_dry_run_without_changes_has_nothing_to_do(box: Box) -> None:
    box.set("a", 1)
    report = runner(box).run(recipe(Within((Switch(name="s"),), (put("a"),))), dry_run=True)
    assert report.outcome == Outcome.NOTHING_TO_DO


def test_without_changes_no_scope_is_entered_and_nothing_is_journaled(box: Box) -> None:
    box.set("a", 1)
    report = run_toy(box, recipe(Within((Switch(name="s"),), (put("a"),))))
    assert (report.state, report.outcome) == ("done", Outcome.NOTHING_TO_DO)
    assert box.logged() == []
    assert not os.path.exists(box.state_dir)


def test_all_checks_run_before_the_first_write_and_all_problems_are_told(box: Box) -> None:
    box.set("plan:check a", "warn")
    box.set("plan:check c", "unreachable")
    box.set("plan:check d", "refused")
    report = run_toy(box, WINDOW)
    assert report.outcome == Outcome.UNREACHABLE  # the first one that blocks
    assert [p.message for p in report.problems] == ["a looks odd", "c is not right", "d is not right"]
    assert [e.text for e in box.events if isinstance(e, Message)] == [p.message for p in report.problems]
    assert box.logged() == []
    assert not os.path.exists(box.state_dir)


def test_a_question_needs_an_answer(box: Box) -> None:
    asked: list[str] = []

    def answer(question: str) -> bool:
        asked.append(question)
        return len(asked) > 1

    risky = recipe(put("a"), question="Really?")
    with pytest.raises(UsageError, match="no terminal") as error:
        runner(box).run(risky)
    assert "--yes" in error.value.hint
    with pytest.raises(InterruptedRunError, match="not confirmed; nothing was changed"):
        runner(box, confirm=answer).run(risky)
    assert box.logged() == []
    assert not os.path.exists(box.state_dir)
    assert runner(box, confirm=answer).run(risky).state == "done"
    assert asked == ["Really?", "Really?"]
    assert any(isinstance(event, Planned) for event in box.events)


def test_a_check_is_skipped_by_name_with_a_reason_and_still_reported(box: Box) -> None:
    box.set("plan:check a", "refused")
    asking = runner(box)
    with pytest.raises(UsageError, match="--skip-reason"):
        asking.run(recipe(put("a")), yes=True, skip=["a-right"])
    with pytest.raises(UsageError, match="'a-rihgt'") as error:
        asking.run(recipe(put("a")), yes=True, skip=["a-rihgt"], skip_reason="I know")
    assert "did you mean a-right?" in error.value.hint
    report = asking.run(recipe(put("a")), yes=True, skip=["a-right"], skip_reason="I know")
    assert (report.state, report.outcome) == ("done", Outcome.WARNING)
    assert report.steps[0].result == "warned"
    assert "skipped: I know" in report.steps[0].reason
    start = read(runs.journal_path(box.state_dir, report.id)).records[0].payload
    assert (start["skipped"], start["skip_reason"]) == (["a-right"], "I know")


def test_a_problem_without_a_name_cannot_be_skipped(box: Box) -> None:
    box.set("plan:check s", "refused")
    with pytest.raises(UsageError, match="no check of toy"):
        runner(box).run(WINDOW, yes=True, skip=["s"], skip_reason="I know")


@pytest.mark.parametrize("where", ["apply b", "after b", "verify b", "check-late"])
def test_after_a_failure_the_scopes_are_left_and_the_rest_is_not_attempted(box: Box, where: str) -> None:
    items = WINDOW.items
    if where == "check-late":  # in order before the first write, not any more just before its own
        items = (Do(Spoil(name="a", plan="check b")), *items[1:])
    else:
        box.set(f"plan:{where}", "fail")
    report = run_toy(box, Recipe("toy", items, RESOURCES))
    assert report.state == "failed"
    assert report.outcome == (Outcome.REFUSED if where == "check-late" else Outcome.FAILED)
    assert box.logged()[-2:] == ["leave l", "leave s"]
    assert (box.get()["s"], box.get()["l"]) == ("on", "on")
    words = {(r.path, r.phase): r.result for r in report.steps}
    assert words["2.1", "apply"] == "failed"
    assert words["2.2", "apply"] == words["3", "apply"] == "not-attempted"
    assert runs.open_runs(box.state_dir) == []


def test_a_scope_that_was_half_entered_is_left_too(box: Box) -> None:
    box.set("plan:after l", "fail")
    report = run_toy(box, WINDOW)
    assert (report.state, box.get()["s"], box.get()["l"]) == ("failed", "on", "on")
    assert box.logged() == ["apply a", "enter s", "enter l", "leave l", "leave s"]


def test_a_scope_whose_own_check_refused_it_is_not_left(box: Box) -> None:
    box.set("l", "off")
    report = run_toy(box, recipe(Do(Spoil(name="a", plan="check l")), *WINDOW.items[1:]))
    assert (report.state, report.outcome) == ("failed", Outcome.REFUSED)
    assert box.logged() == ["apply a", "enter s", "leave s"]
    assert box.get()["l"] == "off"


def test_what_was_off_before_stays_off(box: Box) -> None:
    box.set("s", "off")
    assert run_toy(box, WINDOW).state == "done"
    assert (box.get()["s"], box.get()["l"]) == ("off", "on")


def test_a_bug_in_a_step_leaves_the_scopes_and_says_where(box: Box) -> None:
    box.set("plan:apply c", "bug")
    report = run_toy(box, WINDOW)
    assert (report.state, report.outcome, box.get()["s"]) == ("failed", Outcome.FAILED, "on")
    assert "unexpected ValueError" in report.problems[0].message
    assert "toys.py:" in report.problems[0].message


def test_no_scope_is_left_around_one_that_could_not_be(box: Box) -> None:
    box.set("plan:leave l", "fail")
    report = run_toy(box, WINDOW)
    assert (report.state, report.outcome) == ("open", Outcome.FAILED)
    assert (box.get()["s"], box.get()["l"]) == ("off", "off")
    told = [e.text for e in box.events if isinstance(e, Message) and e.level == "error"]
    assert any("could not leave: switch l off" in text for text in told)
    assert f"regctl run resume {report.id}" in told[-1]
    assert [state.id for state in runs.open_runs(box.state_dir)] == [report.id]
    with pytest.raises(RefusedError, match=report.id) as error:
        run_toy(box, recipe(put("z")))
    assert "regctl run resume" in error.value.hint
    assert "regctl run abandon" in error.value.hint
    box.set("plan:leave l", "")
    again = runner(box).resume(report.id)
    assert (again.outcome, box.get()["s"], box.get()["l"]) == (Outcome.CHANGED, "on", "on")
    assert box.logged()[-2:] == ["leave l", "leave s"]
    assert runs.open_runs(box.state_dir) == []


def test_one_kind_on_several_hosts_is_left_wherever_it_can_be(box: Box) -> None:
    row = tuple(Switch(name=f"s{host}", on=host) for host in "xyz")
    box.set("plan:leave sy", "fail")
    report = run_toy(box, recipe(Within((Lamp(name="l"), *row), (put("a"),))))
    assert report.state == "open"
    assert {name: box.get()[name] for name in ("l", "sx", "sy", "sz")} == {
        "l": "off",  # of another kind, and around all three
        "sx": "on",
        "sy": "off",
        "sz": "on",
    }


def test_a_step_that_may_still_be_at_work_keeps_its_scopes(box: Box) -> None:
    box.set("plan:apply burned", "fail")
    box.set("plan:settle burned", "fail")
    report = run_toy(box, recipe(Within((Switch(name="s"),), (Do(Burn(name="burned")),))))
    assert (report.state, box.get()["s"]) == ("open", "off")
    box.set("plan:settle burned", "")
    assert runner(box).resume(report.id).outcome == Outcome.CHANGED
    assert box.logged()[-2:] == ["settle burned", "leave s"]


def test_transient_errors_are_tried_again_bounded_and_shown(box: Box) -> None:
    box.set("plan:apply a", "transient:2")
    asking = runner(box)
    report = asking.run(recipe(put("a")), yes=True)
    assert report.state == "done"
    assert [e.attempt for e in box.events if isinstance(e, Retrying)] == [1, 2]
    kinds = [r.kind for r in read(runs.journal_path(box.state_dir, report.id)).records]
    assert kinds == ["start", "intent", "retry", "intent", "retry", "intent", "outcome", "end"]
    box.set("plan:apply b", "transient:99")
    report = asking.run(recipe(put("b")), yes=True)
    assert (report.state, box.get()["plan:apply b"]) == ("failed", "transient:95")  # 1 and 3 more


def test_a_leave_is_tried_again_too(box: Box) -> None:
    box.set("plan:leave s", "transient:2")
    asking = runner(box)
    assert asking.run(WINDOW, yes=True).state == "done"
    assert box.get()["s"] == "on"


def test_completed_steps_are_undone_where_the_recipe_says_so(box: Box) -> None:
    box.set("plan:apply c", "fail")
    box.set("b", 7)
    report = run_toy(box, recipe(*WINDOW.items, undo=True))
    assert report.state == "failed"
    assert box.logged()[-5:] == ["undo c", "undo b", "leave l", "leave s", "undo a"]
    assert (box.get()["b"], box.get()["a"]) == (7, None)


def test_nothing_is_undone_from_before_what_cannot_be_taken_back(box: Box) -> None:
    box.set("plan:apply c", "fail")
    run_toy(box, recipe(put("a"), Do(Burn(name="x")), put("b"), put("c"), undo=True))
    assert box.logged()[-2:] == ["undo c", "undo b"]
    assert box.get()["a"] == 1


def test_nothing_is_undone_whose_scope_is_left_already(box: Box) -> None:
    box.set("plan:apply c", "fail")
    report = run_toy(box, recipe(Within((Switch(name="s"),), (put("a"),)), put("c"), undo=True))
    assert box.get()["a"] == 1
    assert any("not undone" in p.message for p in report.problems)


def test_a_held_lock_is_told_before_any_check(box: Box) -> None:
    locks = Locks(box.state_dir)
    locks.acquire_by_hand("toy/one", "disk")
    box.set("plan:check a", "refused")
    with pytest.raises(LockedError, match="disk"):
        run_toy(box, WINDOW)
    report = runner(box).run(recipe(put("b")), dry_run=True)  # looking always works
    assert report.outcome == Outcome.PENDING
    assert any(isinstance(e, Message) and "would be refused now" in e.text for e in box.events)


class Nosy(Step):
    """Writes where it must only look."""

    verb: ClassVar[str] = "guard"

    def check(self, here: Target) -> Iterator[Problem]:
        here.run.guard()
        yield Problem("unreachable")

    def apply(self, here: Target, before: Before) -> None: ...


def test_a_check_that_wants_to_write_is_a_bug(box: Box) -> None:
    with pytest.raises(RuntimeError, match="tried to write"):
        run_toy(box, recipe(Do(Nosy())))


class Idle(Step):
    """Does not apply here."""

    def apply(self, here: Target, before: Before) -> StepReport:
        here.run.note(job="j1")
        assert here.run.notes("Idle") == {"job": "j1"}
        return StepReport(changed=False, not_applicable="there is no cache")


def test_what_does_not_apply_is_never_reported_as_ok(box: Box) -> None:
    report = run_toy(box, recipe(Do(Idle())))
    assert [(r.result, r.reason) for r in report.steps] == [("not-applicable", "there is no cache")]
    assert report.outcome == Outcome.OK
    assert runs.load(box.state_dir, report.id).at("1").notes == {"job": "j1"}


def test_a_lost_terminal_does_not_stop_the_work(box: Box) -> None:
    def gone(event: object) -> None:
        raise BrokenPipeError

    asking = runner(box)
    from ctl.recipes.live import safe

    asking.emit = safe(gone)
    assert asking.run(WINDOW, yes=True).state == "done"


def test_a_full_disk_below_state_dir_does_not_keep_a_scope_entered(box: Box) -> None:
    report = run_toy(box, recipe(Within((Switch(name="s"),), (Do(Fill(name="a")),))))
    assert (report.state, box.get()["s"]) == ("open", "on")
    assert any("No space left" in p.message for p in report.problems)
    again = runner(box).resume(report.id)
    assert (again.state, box.get()["s"]) == ("done", "on")


def test_secrets_in_argv_are_not_journaled(box: Box) -> None:
    asking = runner(box)
    asking.argv = ("regctl", "--password", "hunter2", "--token=hunter2", "http://u:hunter2@example.com")
    report = asking.run(recipe(put("a")), yes=True)
    text = Path(runs.journal_path(box.state_dir, report.id)).read_text()
    assert "hunter2" not in text
    assert "http://u:***@example.com" in json.loads(text.splitlines()[0])["payload"]["argv"]
