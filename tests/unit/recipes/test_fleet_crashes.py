"""Random fleets: rows that fail, hosts that are away, kill -9 at random boundaries, and recovery.

What must hold: limits are kept at every moment, each step is done once, every scope is left, each host's
result is the right one, and what is left over can be taken up. The controls show that runners without these
promises fail here.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctl.recipes import runs
from ctl.recipes.codec import acrosses, places, rows_of
from ctl.recipes.execute import Executor
from ctl.recipes.failpoints import Failpoints
from ctl.recipes.host_records import host_records
from ctl.recipes.journal import Record, read
from ctl.recipes.model import Across, Do, Recipe, Row, Within
from ctl.recipes.rows import Rows
from ctl.recipes.unfinished import unfinished
from tests.unit.recipes.children import boundaries, folder, killed_at, run_toy, runner
from tests.unit.recipes.toys import Box, Put, Switch

RESOURCES = ("toy/one", "registry/main")
NEVER = Failpoints(0, "", "count")


@dataclass
class Fleet:
    """A recipe over several hosts, and what goes wrong on them for as long as nobody mends it."""

    recipe: Recipe
    failing: dict[str, str] = field(default_factory=dict)  # by host: the step that fails there
    away: tuple[str, ...] = ()
    registry: bool = False  # whether the hosts are nodes of a registry, each with a claim

    def hosts(self) -> list[str]:
        return [row.host for _, item in acrosses(self.recipe.items) for row in item.rows]


def row(host: str, shape: str) -> Row:
    """Build a row of a shape such as "p(pp)p": steps, and a scope around some."""
    names = iter("abcdefgh")

    def put() -> Do:
        return Do(Put(name=f"{host}.{next(names)}"))

    before, _, rest = shape.partition("(")
    inner, _, after = rest.partition(")")
    body: list[Do | Within] = [put() for _ in before]
    if inner:
        body.append(Within((Switch(name=f"{host}.s", on=host),), tuple(put() for _ in inner)))
    return Row(host, (*body, *(put() for _ in after)))


def fleet_of(shapes: Sequence[str], limits: dict[str, Any], **other: Any) -> Fleet:
    rows = tuple(row(f"h{number}", shape) for number, shape in enumerate(shapes, 1))
    around = Within((Switch(name="outer"),), (Do(Put(name="first")), Across(rows, **limits)))
    return Fleet(Recipe("toy", (around, Do(Put(name="last"))), RESOURCES), **other)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    shapes = draw(st.lists(st.sampled_from(["p", "(p)", "p(pp)", "(p)p", "pp"]), min_size=1, max_size=5))
    limits = {
        "canary": draw(st.integers(0, 2)),
        "at_once": draw(st.integers(1, 3)),
        "max_fail": draw(st.integers(0, 2)),
    }
    fleet = fleet_of(shapes, limits)
    bad = draw(st.lists(st.sampled_from(fleet.hosts()), max_size=3, unique=True))
    for host in bad:
        steps = [p.step for p in places(fleet.recipe.items) if name(p.step).startswith(f"{host}.")]
        if draw(st.integers(0, 2)) == 0:
            fleet.away = (*fleet.away, host)
        else:
            fleet.failing[host] = name(draw(st.sampled_from(steps)))
    fleet.registry = draw(st.booleans())
    return fleet


def name(step: Any) -> str:
    return str(step.name)


@dataclass
class Trial:
    """A box in which a fleet is worked on."""

    box: Box
    fleet: Fleet

    @classmethod
    def new(cls, fleet: Fleet) -> Trial:
        box = Box(folder())
        box.add_registry("main", "here", *(fleet.hosts() if fleet.registry else ()))
        box.far = tuple(fleet.hosts())
        trial = cls(box, fleet)
        trial.plan("fail", "unreachable")
        return trial

    def plan(self, fail: str, away: str) -> None:
        for step in self.fleet.failing.values():
            self.box.set(f"plan:apply {step}", fail)
        for host in self.fleet.away:
            self.box.set(f"plan:reach {host}", away)

    def run(self, points: Failpoints) -> None:
        run_toy(self.box, self.fleet.recipe, points)

    def recover(self, points: Failpoints) -> None:
        for state in runs.open_runs(self.box.state_dir):
            runner(self.box, points).resume(state.id)

    def leave_only(self, points: Failpoints) -> None:
        for state in runs.open_runs(self.box.state_dir):
            runner(self.box, points).resume(state.id, leave_only=True)

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.box.folder)


def try_out(fleet: Fleet, kills: Sequence[tuple[int, str]] = (), *, leave_only: bool = False) -> None:
    """Run, kill, recover; then look, mend and take up the rest."""
    with Trial.new(fleet) as trial:
        actions = [trial.run, *([trial.recover] * len(kills))]
        for (index, when), action in zip(kills, actions, strict=False):
            killed_at(index, when, action)
        if not kills:
            trial.run(NEVER)
        (trial.leave_only if leave_only else trial.recover)(NEVER)
        demand_sound(trial, leave_only=leave_only)
        take_up(trial)


def demand_sound(trial: Trial, *, leave_only: bool) -> None:
    box, recipe = trial.box, trial.fleet.recipe
    assert runs.open_runs(box.state_dir) == []
    demand_left(trial)
    log = box.logged()
    for entry in set(log):
        assert log.count(entry) == 1 or not entry.startswith("apply "), f"{entry} was done twice"
    for run_id in runs.ids(box.state_dir):
        state = runs.load(box.state_dir, run_id)
        for path, item in acrosses(recipe.items):
            rows = {row_path: one.host for row_path, one in rows_of(item, path)}
            demand_limits(item, rows, read(runs.journal_path(box.state_dir, run_id)).records)
        demand_results(trial, {one.host: one.result for one in host_records(recipe, state)}, leave_only)


def demand_left(trial: Trial) -> None:
    content = trial.box.get()
    for place in places(trial.fleet.recipe.items):
        if place.is_scope:
            assert content.get(name(place.step), "on") == "on", f"{place.step} was not left"


def demand_limits(item: Across, rows: dict[str, str], records: Sequence[Record]) -> None:
    """Hold what the journal says, moment for moment, against the limits."""
    began: list[str] = []
    ended: dict[str, str] = {}
    for record in records:
        path = str(record.payload.get("path", ""))
        if path not in rows:
            continue
        bad = sum(result in ("failed", "unreachable") for result in ended.values())
        if record.kind == "row-begin":
            assert path not in began, f"{rows[path]} was begun twice"
            assert bad <= item.max_fail, f"{rows[path]} was begun after {bad} had failed"
            running = len(set(began) - set(ended))
            assert running < item.at_once, f"{rows[path]} was begun beside {running} others"
            tried = [one for one in rows if one in began or one not in ended]
            canary = tried[: item.canary]
            if path not in canary:
                results = [ended.get(one, "") for one in canary]
                assert not {"", "failed", "unreachable"} & set(results), f"{rows[path]} did not wait"
            began.append(path)
        elif record.kind == "row-end":
            assert path not in ended, f"{rows[path]} ended twice"
            ended[path] = str(record.payload["result"])


def demand_results(trial: Trial, results: dict[str, str], leave_only: bool) -> None:
    log = trial.box.logged()
    for host, result in results.items():
        mine = [name(p.step) for p in places(trial.fleet.recipe.items) if name(p.step).startswith(f"{host}.")]
        applied = {entry.partition(" ")[2] for entry in log if entry.startswith(("apply", "enter"))}
        touched = bool(applied & set(mine))
        if result == "changed":
            assert set(mine) <= applied, f"{host} is said to be done"
            assert host not in trial.fleet.failing
        elif result == "failed":
            assert leave_only or host in trial.fleet.failing, f"{host} is said to have failed"
        elif result == "unreachable":
            assert host in trial.fleet.away
            assert not touched
        else:
            assert result == "not-attempted", result
            assert not touched, f"{host} is said to be untouched"


def take_up(trial: Trial) -> None:
    """Mend everything, take up what is left, and look that nothing of what was done is done again."""
    box, recipe = trial.box, trial.fleet.recipe
    trial.plan("", "")
    ids = runs.ids(box.state_dir)
    state = runs.load(box.state_dir, ids[-1]) if ids else None
    if state is None or not state.recipe:
        return  # nothing was begun
    done = {one.host for one in host_records(recipe, state) if one.result == "changed"}
    before = box.logged()
    if done < set(trial.fleet.hosts()):
        rest = run_toy(box, unfinished(recipe, box.state_dir, state.id))
        assert rest.state == "done"
        assert {one.host for one in rest.hosts} == set(trial.fleet.hosts()) - done
        after = box.logged()[len(before) :]
        again = [entry for entry in after if entry.split()[1].partition(".")[0] in done]
        assert not again, f"done again: {again}"
        for place in places(recipe.items):
            assert box.get()[name(place.step)] in (1, "on")
    demand_left(trial)


kill_lists = st.lists(st.tuples(st.integers(1, 90), st.sampled_from(["before", "after"])), max_size=3)


@given(fleets(), kill_lists, st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_fails_and_wherever_it_is_killed(
    fleet: Fleet, kills: list[tuple[int, str]], leave_only: bool
) -> None:
    try_out(fleet, kills, leave_only=leave_only)


SMALL = fleet_of(["(p)", "p", "p"], {"at_once": 1, "canary": 1, "max_fail": 1}, failing={"h2": "h2.a"})


def test_killed_at_every_boundary() -> None:
    with Trial.new(SMALL) as trial:
        total = boundaries(trial.run)
    assert total > 40
    landed = 0
    for index in range(1, total + 1):
        for when in ("before", "after"):
            with Trial.new(SMALL) as trial:
                landed += killed_at(index, when, trial.run)
                trial.recover(NEVER)
                demand_sound(trial, leave_only=False)
    assert landed >= 2 * total - 1  # after a step that fails nothing is killed


# -- controls: runners without a promise must fail here -----------------------------------------------------


def test_control_a_runner_that_ignores_the_limit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rows, "_may_go_on", lambda self: True)
    fleet = fleet_of(["p", "p", "p"], {"at_once": 1}, failing={"h1": "h1.a"})
    with pytest.raises(AssertionError, match="had failed"):
        try_out(fleet)


def test_control_a_runner_that_does_not_wait_for_the_canary_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Rows._batch
    monkeypatch.setattr(Rows, "_batch", lambda self, rows, go_on: batch(self, self.rows, go_on))
    with Trial.new(fleet_of(["p", "p", "p"], {"at_once": 2, "canary": 1})) as trial:
        trial.box.set("plan:apply h1.a", "slow")
        trial.run(NEVER)
        with pytest.raises(AssertionError, match="did not wait"):
            demand_sound(trial, leave_only=False)


def test_control_a_row_that_does_not_leave_its_scopes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Executor.back_out

    def only_outside(self: Executor, found: Any, stuck: Any) -> None:
        if not self.run.row:
            original(self, found, stuck)

    monkeypatch.setattr(Executor, "back_out", only_outside)
    fleet = fleet_of(["(p)", "p"], {}, failing={"h1": "h1.a"})
    with pytest.raises(AssertionError, match="was not left"):
        try_out(fleet)


def test_control_rows_that_are_forgotten_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # A resume that knows nothing of rows begins them anew.
    from ctl.recipes.state import RunState

    monkeypatch.setattr(RunState, "_on_row_begin", lambda self, time, payload: None)
    with pytest.raises(AssertionError, match=r"twice|untouched"):
        test_killed_at_every_boundary()


def test_control_a_step_that_is_repeated_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Put, "probe", lambda self, here, before: "pending")
    with pytest.raises(AssertionError, match="was done twice"):
        test_killed_at_every_boundary()
