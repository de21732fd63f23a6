"""Remedies: done only where they are asked for by name, where the check blocks, and to good effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ctl.errors import ConfigError, Outcome, UsageError
from ctl.recipes.codec import dump, load
from ctl.recipes.expand import Built, Surroundings, build
from ctl.recipes.load import RecipeFile, read_recipe
from ctl.recipes.model import Before, Look, Problem, RunReport, StepReport, Target
from tests.unit.recipes.children import boundaries, folder, killed_at, run_toy, runner
from tests.unit.recipes.toys import Box, Put, box_of
from tests.unit.recipes.words import Words

TEXT = """\
version: 1
name: any
summary: Try it
why: to see
items:
  - check: demand
    with: {name: a}
    because: it must be there
    remedy: {name: put-it, step: put, with: {name: a}}
  - step: put
    with: {name: done}
"""


class Demand(Look):
    """Block until a key is there."""

    name: str

    def check(self, here: Target) -> Iterator[Problem]:
        if box_of(here).get().get(self.name) != 1:
            yield Problem(f"{self.name} is missing", "put it there")


class Wrong(Put):
    """A remedy that does not help."""

    def apply(self, here: Target, before: Before) -> StepReport:
        return StepReport()

    def verify(self, here: Target) -> Iterator[Problem]:
        return iter(())


def words() -> Words:
    found = Words()
    found.known |= {"demand": Demand, "wrong": Wrong}
    return found


def built(box: Box, *remedies: str, text: str = TEXT) -> Built:
    around = Surroundings(
        box,  # type: ignore[arg-type]
        "/etc/regctl/site.yml",
        "/etc/regctl/secrets",
        "1.2",
        remedies=frozenset(remedies),
    )
    return build(
        read_recipe(text.encode(), RecipeFile("any", "any.yml", "site"), words()), words(), around, {}
    )


def run(box: Box, *remedies: str, **options: Any) -> RunReport:
    return runner(box).run(built(box, *remedies).recipe, **{"yes": True, **options})


def test_unasked_for_it_is_only_named(box: Box) -> None:
    report = run(box)
    assert report.outcome is Outcome.REFUSED
    assert report.problems[0].hint == "put it there; --remedy put-it would do this about it: put a"
    assert box.get() == {}


def test_asked_for_it_is_previewed_and_then_done(box: Box) -> None:
    look = run(box, "put-it", dry_run=True)
    assert (look.outcome, look.previews[0].title) == (Outcome.PENDING, "remedy put-it: put a")
    assert box.get() == {}
    report = run(box, "put-it")
    assert report.outcome is Outcome.CHANGED
    assert box.get() == {"a": 1, "done": 1}


def test_what_is_well_is_not_mended(box: Box) -> None:
    box.set("a", 1)
    report = run(box, "put-it")
    assert [one.result for one in report.steps] == ["ok", "changed"]
    assert box.logged() == ["apply done"]


def test_a_remedy_that_does_not_help_stops_the_run(box: Box) -> None:
    text = TEXT.replace("step: put, with: {name: a}", "step: wrong, with: {name: a}")
    report = runner(box).run(built(box, "put-it", text=text).recipe, yes=True)
    assert report.outcome is Outcome.FAILED
    assert report.problems[-1].message == "the remedy put-it did not mend it: a is missing"
    assert "done" not in box.get()


def test_its_own_checks_decide_before_anything_is_done(box: Box) -> None:
    box.set("plan:check a", "refused")
    report = run(box, "put-it")
    assert (report.outcome, box.logged()) == (Outcome.REFUSED, [])


def test_a_name_that_there_is_not_is_an_error(box: Box) -> None:
    with pytest.raises(UsageError, match=r"no remedy 'put-its'.*did you mean"):
        built(box, "put-its")


def test_killed_anywhere_it_is_done_once() -> None:
    def run_in(box: Box) -> Any:
        return lambda points: run_toy(box, built(box, "put-it").recipe, points)

    total = boundaries(run_in(Box(folder())))
    landed = 0
    for index in range(1, total + 1):
        for when in ("before", "after"):
            box = Box(folder())
            landed += killed_at(index, when, run_in(box))
            from ctl.recipes import runs

            for state in runs.open_runs(box.state_dir):
                assert runner(box).resume(state.id).state == "done"
            assert box.logged().count("apply a") <= 1
    assert landed == 2 * total


def test_it_survives_the_journal(box: Box) -> None:
    recipe = built(box, "put-it").recipe
    assert load(dump(recipe)).items == recipe.items


@pytest.mark.parametrize(
    ("remedy", "says"),
    [
        (
            "{name: put-it, step: putt, with: {name: a}}",
            "any.yml:9:34: items[0].remedy.step: names no step: 'putt'",
        ),
        ("{name: put-it, step: put}", "items[0].remedy.with.name: is missing"),
        ("{name: Put, step: put, with: {name: a}}", "items[0].remedy.name: is not a usable name"),
        ("{step: put, with: {name: a}}", "items[0].remedy.name: is missing"),
        ("{name: x, step: put, wiht: {name: a}}", "is not a known key"),
        ("{name: x, step: switch, with: {name: a}}", "is a scope"),
        ("put $nothing there", "uses $nothing, which is no parameter"),
    ],
)
def test_mistakes_have_their_place(remedy: str, says: str) -> None:
    text = TEXT.replace("{name: put-it, step: put, with: {name: a}}", remedy)
    with pytest.raises(ConfigError) as caught:
        read_recipe(text.encode(), RecipeFile("any", "any.yml", "site"), words())
    assert any(says in line for line in caught.value.details), caught.value.details
