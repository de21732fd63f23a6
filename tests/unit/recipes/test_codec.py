"""Recipes survive the journal; argv loses its secrets on the way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.errors import RegctlError
from ctl.recipes.codec import dump, load, load_step, places, plan_hash, redact
from ctl.recipes.model import Do, Recipe, Step, Within
from tests.unit.recipes.test_crashes import recipes
from tests.unit.recipes.toys import Put, Switch


class Rich(Step):
    """Arguments of many kinds."""

    names: tuple[str, ...]
    grace: timedelta
    limit: int | None = None


@given(recipes())
@settings(max_examples=40, deadline=None)
def test_a_recipe_comes_back_as_it_was(recipe: Recipe) -> None:
    again = load(dump(recipe))
    assert (again.items, again.resources, again.name) == (recipe.items, recipe.resources, recipe.name)
    assert plan_hash(dump(again)) == plan_hash(dump(recipe))


@given(st.lists(st.text()), st.timedeltas(), st.none() | st.integers())
@settings(max_examples=60, deadline=None)
def test_arguments_of_many_kinds_come_back(names: list[str], grace: timedelta, limit: int | None) -> None:
    recipe = Recipe("toy", (Do(Rich(names=tuple(names), grace=grace, limit=limit)),), ())
    assert load(dump(recipe)).items == recipe.items


def test_paths_name_places() -> None:
    inner = Within((Switch(name="t"),), (Do(Put(name="b")),))
    recipe = Recipe("toy", (Do(Put(name="a")), Within((Switch(name="s"), Switch(name="u")), (inner,))), ())
    assert [(place.path, place.within, place.is_scope) for place in places(recipe.items)] == [
        ("1", (), False),
        ("2.s1", (), True),
        ("2.s2", ("2.s1",), True),
        ("2.1.s1", ("2.s1", "2.s2"), True),
        ("2.1.1", ("2.s1", "2.s2", "2.1.s1"), False),
    ]


@pytest.mark.parametrize(
    "name", ["os:system", "ctl.recipes.codec:load", "nowhere:Nothing", "nonsense", "ctl.recipes.model:Recipe"]
)
def test_only_steps_are_built_from_a_journal(name: str) -> None:
    with pytest.raises(RegctlError, match="cannot be built again"):
        load_step({"step": name, "args": {}})


def test_arguments_that_a_step_does_not_take_any_more_are_an_error() -> None:
    with pytest.raises(RegctlError, match="cannot be built again"):
        load_step({"step": "tests.unit.recipes.toys:Put", "args": {"name": "a", "gone": 1}})


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["regctl", "--password", "x", "gc"], ["regctl", "--password", "***", "gc"]),
        (["--db-password=x"], ["--db-password=***"]),
        (["--token", "x"], ["--token", "***"]),
        (["--yes", "--password", "--dry-run"], ["--yes", "--password", "--dry-run"]),
        (["postgresql://me:pass@h/db"], ["postgresql://me:***@h/db"]),
        (["gc", "--read-only", "--registry", "main"], ["gc", "--read-only", "--registry", "main"]),
    ],
)
def test_argv_is_redacted(argv: list[str], expected: list[str]) -> None:
    assert redact(argv) == expected


def test_failpoints_say_what_they_take() -> None:
    from ctl.errors import UsageError
    from ctl.recipes import failpoints

    assert failpoints.from_environment({}) is failpoints.off
    for wrong in ("0:before:kill", "1:between:kill", "1:after", "x"):
        with pytest.raises(UsageError, match="REGCTL_FAILPOINT"):
            failpoints.from_environment({failpoints.VARIABLE: wrong})


def test_failpoints_list_their_boundaries(capsys: pytest.CaptureFixture[str]) -> None:
    from ctl.recipes import failpoints

    boundary = failpoints.from_environment({failpoints.VARIABLE: "list"})
    with boundary("one"), boundary("two"):
        pass
    assert capsys.readouterr().err == "REGCTL_FAILPOINT 1 one\nREGCTL_FAILPOINT 2 two\n"


def test_a_failpoint_can_fail() -> None:
    from ctl.recipes import failpoints

    boundary = failpoints.from_environment({failpoints.VARIABLE: "2:before:error"})
    with boundary("one"):
        pass
    with pytest.raises(OSError, match="boundary 2"), boundary("two"):
        pytest.fail("it came in")
