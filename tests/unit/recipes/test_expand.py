"""A recipe's text becomes steps: loops, conditions, reasons, what is locked, and what must be said aloud."""

from __future__ import annotations

from typing import Any

import pytest

from ctl.errors import ConfigError, Outcome, RefusedError
from ctl.recipes.codec import dump, load, places
from ctl.recipes.expand import Built, Surroundings, build
from ctl.recipes.load import RecipeFile, RecipeText, read_recipe
from ctl.recipes.model import Do, Within
from ctl.recipes.only_check import OnlyCheck
from ctl.recipes.runner import Runner
from tests.unit.recipes.toys import Box, Put, Switch
from tests.unit.recipes.words import Roll, Shut, Words

HEAD = """\
version: 1
name: any
summary: Try it
why: to see
parameters:
  registry: {type: registry, help: which one}
  admin: {type: string, required: false, help: may be absent}
  sure: {type: boolean, default: false, help: a switch}
  much: {type: integer, default: 3, help: how much}
"""


@pytest.fixture
def world(box: Box) -> Box:
    box.add_registry("main", "reg1", "reg2")
    return box


def read(items: str, head: str = HEAD) -> RecipeText:
    return read_recipe((head + items).encode(), RecipeFile("any", "any.yml", "site"), Words())


def built(world: Any, items: str, head: str = HEAD, consent: Any = False, **given: Any) -> Built:
    around = Surroundings(world, "/etc/regctl/site.yml", "/etc/regctl/secrets", "1.2", consent)
    return build(read(items, head), Words(), around, given)


def steps(found: Built) -> list[Any]:
    return [place.step for place in places(found.recipe.items)]


def test_loops_go_through_the_nodes_in_the_order_of_the_site(world: Box) -> None:
    found = built(
        world,
        """\
items:
  - for_each: node
    do:
      - step: roll
        with: {registry: $registry, node: $node}
        because: $node of $registry is next
  - within:
      - for_each: node
        do: [{step: shut, with: {registry: $registry, node: $node}}]
      - step: switch
        with: {name: lamp}
    because: nobody may push
    do:
      - step: put
        with: {name: $registry, value: $much}
""",
        much="7",
    )
    reason = "reg1 of main is next"
    first, second, window = found.recipe.items
    assert first == Do(Roll(registry="main", node="reg1"), reason)
    assert second == Do(Roll(registry="main", node="reg2"), "reg2 of main is next")
    shut = tuple(Shut(registry="main", node=host) for host in ("reg1", "reg2"))
    assert window == Within((*shut, Switch(name="lamp")), (Do(Put(name="main", value=7)),), "nobody may push")
    assert found.recipe.resources == ("registry/main",)
    assert found.recipe.question == "Run the recipe any?"
    assert load(dump(found.recipe)).items == found.recipe.items
    assert next(place.because for place in places(found.recipe.items)) == reason


def test_hosts_are_chosen_by_their_labels(world: Box) -> None:
    from ctl.config.models import Host, Site

    class Labelled(Box):
        @property
        def site(self) -> Site:
            hosts = {name: Host(labels={"role": "proxy"}) for name in ("p1", "p2")}
            return Site(version=1, hosts={"reg1": Host(), **hosts}, registries=world.registries)

    found = built(
        Labelled(world.folder),
        "items: [{for_each: host, where: {role: proxy}, do: [{step: put, with: {name: $host}}]}]\n",
    )
    assert steps(found) == [Put(name="p1"), Put(name="p2")]


ITEMS = """\
items:
  - {step: put, with: {name: always}}
  - {step: put, when: $admin, with: {name: $admin}}
  - {step: put, unless: $admin, with: {name: nobody}}
  - {step: put, when: $sure, with: {name: sure}}
  - {step: put, unless: $sure, with: {name: unsure}}
"""


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["always", "nobody", "unsure"]),
        ({"admin": "me"}, ["always", "me", "unsure"]),
        ({"sure": "true"}, ["always", "nobody", "sure"]),
    ],
)
def test_items_are_left_out_by_what_was_given(world: Box, given: dict[str, str], names: list[str]) -> None:
    assert [step.name for step in steps(built(world, ITEMS, **given))] == names


def test_a_recipe_that_comes_to_nothing_is_no_success(world: Box) -> None:
    with pytest.raises(ConfigError, match="nothing to do with these values"):
        built(world, "items: [{step: put, when: $admin, with: {name: a}}]\n")


def test_a_python_recipe_is_taken_in_whole(world: Box) -> None:
    text = "items:\n  - recipe: both\n    with: {registry: $registry, count: 2}\n    because: it knows how\n"
    found = built(world, text)
    assert steps(found) == [Put(name="main-0"), Put(name="main-1")]
    assert [item.because for item in found.recipe.items] == ["it knows how", ""]
    assert found.recipe.resources == ("database/other",)
    assert found.recipe.undo_on_failure is True
    assert len(steps(built(world, text, consent=True))) == 3


def test_only_the_operators_own_option_accepts_data_loss(world: Box) -> None:
    text = "items: [{step: roll, with: {registry: $registry, node: a}}]\n"
    assert [step.accept_data_loss for step in steps(built(world, text))] == [False]
    assert [step.accept_data_loss for step in steps(built(world, text, consent=True))] == [True]


def test_a_recipe_for_another_regctl_is_refused(world: Box) -> None:
    items = "items: [{step: put, with: {name: a}}]\n"
    assert steps(built(world, 'requires: [{regctl: ">=1,<2"}]\n' + items)) == [Put(name="a")]
    with pytest.raises(RefusedError, match=r"needs regctl >=2; this is 1\.2"):
        built(world, 'requires: [{regctl: ">=2"}]\n' + items)


def test_a_requirement_becomes_the_first_step(world: Box) -> None:
    text = 'requires: [{registry: $registry, engine: gitlab, version: ">=4"}]\n'
    text += "items: [{step: put, with: {name: a}}]\n"
    required = steps(built(world, text))[0]
    assert (required.registry, required.engine, required.version) == ("main", "gitlab", ">=4")


def test_a_value_that_its_step_does_not_take_is_named_with_its_line(world: Box) -> None:
    head = HEAD.replace("admin: {type: string, required: false", "admin: {type: string")
    text = "items:\n  - step: roll\n    with: {registry: $registry, node: a, how: $admin}\n"
    with pytest.raises(ConfigError) as caught:
        built(world, text, head, admin="softly")
    assert caught.value.details[0].startswith("any.yml:12:")
    assert "gently or hard" in caught.value.details[0]


def test_checks_alone_ask_nothing_and_do_nothing(world: Box) -> None:
    text = """\
items:
  - check: put
    with: {name: a}
  - check: roll
    with: {registry: $registry, node: reg1}
    remedy: start it
"""
    found = built(world, text)
    assert (found.looks_only, found.recipe.question) == (True, "")
    assert found.recipe.resources == ("registry/main",)
    told: list[Any] = []
    report = Runner(world, emit=told.append).run(found.recipe)  # type: ignore[arg-type]
    assert (report.outcome, report.state, report.id) == (Outcome.REFUSED, "failed", "")
    assert [(one.message, one.hint) for one in report.problems] == [
        ("reg1 is not well", "look at its log; start it")
    ]
    skipped = Runner(world, emit=told.append).run(  # type: ignore[arg-type]
        found.recipe, skip=["well"], skip_reason="known"
    )
    assert (skipped.outcome, skipped.id) == (Outcome.NOTHING_TO_DO, "")
    assert world.logged() == []
    assert world.get() == {}


def test_a_built_recipe_is_run_and_journaled_with_its_reasons(world: Box) -> None:
    found = built(
        world, "items:\n  - step: put\n    with: {name: a, value: $much}\n    because: it is needed\n"
    )
    told: list[Any] = []
    report = Runner(world, emit=told.append).run(found.recipe, yes=True)  # type: ignore[arg-type]
    assert (report.outcome, report.recipe) == (Outcome.CHANGED, "any")
    assert world.get() == {"a": 3}
    dry = Runner(world, emit=told.append).run(found.recipe, dry_run=True)  # type: ignore[arg-type]
    assert dry.previews[0].data == {"because": "it is needed"}


def test_a_wrapped_check_survives_the_journal() -> None:
    wrapped = OnlyCheck.of(Roll(registry="main", node="reg1", seconds=2.5), "start it")
    assert OnlyCheck.model_validate_json(wrapped.model_dump_json()).inner() == wrapped.inner()
    assert wrapped.title() == "only check: Roll"
