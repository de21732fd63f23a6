"""kill -9 at every boundary, also during recovery, and random recipes with random failures and kills.

What must hold afterwards: the run is closed, every scope is left in the right order, and a step that was
done was done once. The controls at the end show that a runner without these promises fails here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctl.recipes import runs
from ctl.recipes.codec import places
from ctl.recipes.execute import Executor, independent, inside
from ctl.recipes.failpoints import Failpoints
from ctl.recipes.model import Do, Recipe, Scope, Within
from tests.unit.recipes.children import boundaries, folder, killed_at, run_toy, runner
from tests.unit.recipes.toys import Box, Lamp, Put, Switch

RESOURCES = ("toy/one", "registry/main")
WINDOW = Recipe(
    "toy",
    (
        Do(Put(name="a")),
        Within((Switch(name="s"), Lamp(name="l")), (Do(Put(name="b")), Do(Put(name="c")))),
        Do(Put(name="d")),
    ),
    RESOURCES,
)


@dataclass
class Trial:
    """A box, the recipe that runs in it, and how it is recovered."""

    box: Box
    recipe: Recipe

    @classmethod
    def new(cls, recipe: Recipe) -> Trial:
        box = Box(folder())
        box.add_registry("main", "here")
        return cls(box, recipe)

    def run(self, points: Failpoints) -> None:
        run_toy(self.box, self.recipe, points)

    def recover(self, points: Failpoints) -> None:
        """What the next regctl does: settle the open run, or run again if none is open."""
        for state in runs.open_runs(self.box.state_dir):
            runner(self.box, points).resume(state.id)

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.box.folder)


def never() -> Failpoints:
    return Failpoints(0, "", "count")


def demand_sound(trial: Trial) -> None:
    """Assert what must hold once everything is recovered."""
    box, content = trial.box, trial.box.get()
    assert runs.open_runs(box.state_dir) == []
    scopes = [place for place in places(trial.recipe.items) if place.is_scope]
    for place in scopes:
        assert content.get(name(place.step), "on") == "on", f"{place.step} was not left"
    log = box.logged()
    for entry in set(log):
        if entry.startswith("apply "):
            assert log.count(entry) == 1, f"{entry} was done twice"
            assert content[entry.removeprefix("apply ")] == 1
    entered: set[str] = set()
    for entry in log:
        verb, _, what = entry.partition(" ")
        if verb == "enter":
            entered.add(what)
        elif verb == "leave":
            outer = next(place for place in scopes if name(place.step) == what)
            within = {name(p.step) for p in scopes if inside(p, outer) and not independent(outer, p)}
            assert not within & entered, f"{what} was left around {within & entered}"
            entered.discard(what)
        elif verb == "apply":
            around = next(p.within for p in places(trial.recipe.items) if name(p.step) == what)
            by_path = {place.path: name(place.step) for place in scopes}
            assert {by_path[path] for path in around} <= entered, f"{what} was done outside its scopes"
    assert not list(box_claims(box))


def name(step: Any) -> str:
    return str(step.name)


def box_claims(box: Box) -> Iterator[str]:
    import glob

    yield from glob.glob(f"{box.folder}/*/.*.regctl-claim")


def test_killed_at_every_boundary_and_at_every_boundary_of_the_recovery() -> None:
    with Trial.new(WINDOW) as counted:
        total = boundaries(counted.run)
    assert total > 30
    landed = {"run": 0, "recovery": 0}
    for index in range(1, total + 1):
        for when in ("before", "after"):
            landed["run"] += kill_once(index, when)
        landed["recovery"] += kill_recovery(index)
    assert landed["run"] == 2 * total
    assert landed["recovery"] > 200


def kill_once(index: int, when: str) -> int:
    with Trial.new(WINDOW) as trial:
        landed = killed_at(index, when, trial.run)
        trial.recover(never())
        demand_sound(trial)
        assert run_toy(trial.box, WINDOW).state == "done"  # and the same command works again
        demand_sound_again(trial)
    return landed


def kill_everywhere(when: str) -> None:
    for index in range(1, 40):
        kill_once(index, when)


def kill_recovery(index: int) -> int:
    """Kill the run at a boundary, then its recovery at its first boundary, the next at its second, ..."""
    with Trial.new(WINDOW) as trial:
        assert killed_at(index, "before", trial.run)
        landed, at = 0, 1
        while killed_at(at, "after", trial.recover):
            landed, at = landed + 1, at + 1
        demand_sound(trial)
    return landed


def demand_sound_again(trial: Trial) -> None:
    content = trial.box.get()
    assert {key: content[key] for key in "abcd"} == dict.fromkeys("abcd", 1)
    assert (content["s"], content["l"]) == ("on", "on")
    assert runs.open_runs(trial.box.state_dir) == []


# -- random recipes ---------------------------------------------------------------------------------


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    names = iter(f"n{number}" for number in range(1000))

    def item(depth: int) -> Do | Within:
        if depth == 0 or draw(st.integers(0, 2)) == 0:
            return Do(Put(name=next(names)))
        return Within(tuple(row()), tuple(body(depth - 1)))

    def row() -> Sequence[Scope]:
        if draw(st.booleans()):  # one kind on several hosts
            return [Switch(name=next(names), on=host) for host in "xyz"[: draw(st.integers(1, 3))]]
        kinds = draw(st.lists(st.sampled_from([Switch, Lamp]), min_size=1, max_size=2))
        return [kind(name=next(names)) for kind in kinds]

    def body(depth: int) -> list[Do | Within]:
        return [item(depth) for _ in range(draw(st.integers(1, 3)))]

    return Recipe("toy", tuple(body(2)), RESOURCES)


def steps_of(recipe: Recipe) -> list[str]:
    return [name(place.step) for place in places(recipe.items)]


mishaps = st.one_of(
    st.tuples(st.sampled_from(["apply", "leave"]), st.sampled_from(["fail", "bug", "transient:1"])),
    st.tuples(st.sampled_from(["after", "verify"]), st.just("fail")),
)


@st.composite
def plans(draw: st.DrawFn, recipe: Recipe) -> dict[str, str]:
    chosen = draw(st.lists(st.sampled_from(steps_of(recipe)), max_size=2, unique=True))
    planned = [(what, *draw(mishaps)) for what in chosen]
    return {f"plan:{moment} {what}": word for what, moment, word in planned}


def try_out(recipe: Recipe, planned: dict[str, str], kills: Sequence[tuple[int, str]]) -> None:
    """Run with everything going wrong as planned, then mend it and recover."""
    with Trial.new(recipe) as trial:
        for key, word in planned.items():
            trial.box.set(key, word)
        actions = [trial.run, *([trial.recover] * len(kills))]
        for (index, when), action in zip(kills, actions, strict=False):
            killed_at(index, when, action)
        if not kills:
            trial.run(never())
        for key in planned:
            trial.box.set(key, "")
        trial.recover(never())
        demand_sound(trial)


kill_lists = st.lists(
    st.tuples(st.integers(1, 45), st.sampled_from(["before", "after"])), min_size=0, max_size=4
)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_fails_and_wherever_it_is_killed_everything_is_left(data: st.DataObject) -> None:
    recipe = data.draw(recipes())
    try_out(recipe, data.draw(plans(recipe)), data.draw(kill_lists))


# -- controls: runners without a promise must fail here -----------------------------------------------


def test_control_a_runner_that_does_not_leave_scopes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Executor, "unwind", lambda self: None)
    with pytest.raises(AssertionError, match="was not left"):
        try_out(WINDOW, {"plan:apply b": "fail"}, [])


def test_control_a_runner_that_leaves_the_outer_scope_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Executor._leave_all

    def outer_first(self: Executor, scopes: Any) -> None:
        original(self, list(reversed(scopes)))

    monkeypatch.setattr(Executor, "_leave_all", outer_first)
    with pytest.raises(AssertionError, match="was left around"):
        try_out(WINDOW, {}, [])


def test_control_a_runner_that_forgets_what_was_done_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # It re-applies without asking how far the step came: killed after the effect, it does it twice.
    monkeypatch.setattr(Put, "probe", lambda self, here, before: "pending")
    with pytest.raises(AssertionError, match="was done twice"):
        kill_everywhere("after")


def test_control_a_journal_that_is_not_flushed_before_the_step_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ctl.recipes.attempt import Attempts

    def unjournaled(self: Attempts, place: Any, phase: Any, before: Any, verb: Any) -> Any:
        with self.boundary("verb"):
            return verb()

    monkeypatch.setattr(Attempts, "_once", unjournaled)
    with pytest.raises(AssertionError):
        kill_everywhere("after")
