"""Parameters of recipes: what may be written for each type, and how they stand in a text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.config.models import Database, Host, Site
from ctl.errors import UsageError
from ctl.recipes.parameters import (
    ABSENT,
    ParameterError,
    duration,
    fill,
    parse_boolean,
    parse_duration,
    parse_integer,
    references,
    written,
)
from ctl.recipes.text import Parameter, RecipeModel
from ctl.recipes.values import examples, given_values, parse
from tests.unit.recipes.toys import Box

VALUES = st.text() | st.integers() | st.booleans()
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@given(st.integers(min_value=0, max_value=10**9))
def test_a_duration_comes_back(seconds: int) -> None:
    assert parse_duration(duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172800), ("1d2h3m4s", 93784), ("0s", 0)],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "1.5h", "-5s", "5 m", "m", "1m1h", "5x", "1h30", "9" * 20 + "s"])
def test_other_words_are_no_duration(text: str) -> None:
    with pytest.raises(ParameterError):
        parse_duration(text)


@given(st.integers(min_value=-(10**9), max_value=10**9))
def test_a_number_comes_back_and_keeps_its_bounds(number: int) -> None:
    assert parse_integer(str(number)) == number
    assert parse_integer(str(number), number, number) == number
    with pytest.raises(ParameterError):
        parse_integer(str(number), minimum=number + 1)
    with pytest.raises(ParameterError):
        parse_integer(str(number), maximum=number - 1)


@given(st.text())
def test_any_text_is_a_value_or_a_reason(text: str) -> None:
    """No text is an accident: it is read, and then reads the same again, or it is refused with a reason."""
    for kind in ("string", "integer", "duration", "boolean"):
        parameter = Parameter(type=kind, help="any")
        reason, value = "", None
        try:
            value = parse(parameter, text)
        except ParameterError as error:
            reason = str(error)
        assert reason.startswith("must be ") == (value is None)
        if value is not None:
            again = duration(int(value)) if kind == "duration" else written(value)
            assert parse(parameter, again) == value


def test_only_two_words_are_booleans() -> None:
    assert (parse_boolean("true"), parse_boolean("false")) == (True, False)
    for word in ("yes", "True", "1", "on", ""):
        with pytest.raises(ParameterError):
            parse_boolean(word)


@given(NAMES, VALUES)
def test_a_value_alone_keeps_its_type_and_within_words_becomes_one(name: str, value: Any) -> None:
    values = {name: value}
    for alone in (f"${name}", f"${{{name}}}"):
        assert fill(alone, values) is value
        assert references(alone) == [name]
    assert fill(f"<${{{name}}}>", values) == f"<{written(value)}>"
    assert fill({"a": [f"${name}", "b"]}, values) == {"a": [value, "b"]}


@given(st.text())
def test_any_text_can_be_written_by_doubling_the_sign(text: str) -> None:
    doubled = text.replace("$", "$$")
    assert fill(doubled, {}) == text
    assert references(doubled) == []


def test_a_value_that_is_absent_takes_its_key_along() -> None:
    assert fill("$admin", {"admin": None}) is ABSENT
    assert fill({"admin": "$admin", "name": "a"}, {"admin": None}) == {"name": "a"}
    assert fill(["$admin", "b"], {"admin": None}) == ["b"]


def model(**parameters: dict[str, Any]) -> RecipeModel:
    return RecipeModel.model_validate(
        {
            "version": 1,
            "name": "any",
            "summary": "s",
            "why": "w",
            "parameters": {name: {"help": "h", **one} for name, one in parameters.items()},
            "items": [{"step": "put"}],
        }
    )


@pytest.fixture
def site(box: Box) -> Site:
    box.add_registry("main", "reg1", "reg2")
    hosts = {"reg1": Host(), "reg2": Host(), "proxy": Host()}
    return Site(version=1, hosts=hosts, registries=box.registries, databases={"gitlab": Database()})


def test_what_is_given_is_checked_against_the_site(site: Site) -> None:
    described = model(
        registry={"type": "registry"},
        node={"type": "node"},
        host={"type": "host", "default": "proxy"},
        base={"type": "database", "required": False},
    )
    assert given_values(described, {"node": "reg2"}, site) == {
        "registry": "main",
        "host": "proxy",
        "base": None,
        "node": "reg2",
    }
    for wrong, word in (
        ({"node": "proxy"}, "node must be the host of one"),
        ({"node": "reg1", "registry": "mian"}, 'did you mean "main"'),
        ({"node": "reg1", "base": "other"}, "there is: gitlab"),
        ({}, "needs --set node=VALUE"),
        ({"nod": "reg1"}, 'did you mean "node"'),
    ):
        with pytest.raises(UsageError, match=word):
            given_values(described, wrong, site)


def test_a_registry_must_be_named_where_there_are_two(site: Site, box: Box) -> None:
    box.add_registry("other", "reg3")
    described = model(registry={"type": "registry"})
    two = Site(version=1, hosts=site.hosts, registries=box.registries)
    with pytest.raises(UsageError) as caught:
        given_values(described, {}, two)
    assert "main, other" in caught.value.hint
    assert given_values(described, {"registry": "other"}, two) == {"registry": "other"}


def test_examples_have_every_choice_and_every_absence() -> None:
    described = model(
        how={"type": "choice", "choices": ["a", "b", "c"]},
        maybe={"type": "string", "required": False},
        sure={"type": "boolean", "default": False},
        few={"type": "integer", "minimum": 7},
    )
    tried = list(examples(described))
    assert {one["how"] for one in tried} == {"a", "b", "c"}
    assert {one["maybe"] is None for one in tried} == {True, False}
    assert {one["sure"] for one in tried} == {True, False}
    assert {one["few"] for one in tried} == {7}
