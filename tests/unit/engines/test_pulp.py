"""How a Pulp is asked, and what is read from what its manager prints: also where that is cut off."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.config.pulp import PulpNode
from ctl.engines.pulp import answer, answers, explained, manager_command, question

NODE = PulpNode(
    host="here", role="server", manager="/usr/bin/pulpcore-manager", settings_file="/etc/pulp/settings.py"
)
NAMES = ("survey", "prepare", "verify", "relink", "keep", "restore", "whole", "schema")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FACTS = st.dictionaries(st.text().filter(lambda key: key != "regctl"), VALUES, max_size=4)
NOISE = st.text(st.characters(exclude_characters='{"\n\r', exclude_categories=["Cs"]), max_size=40)


def said(facts: dict[str, Any]) -> str:
    """A line as the programs over there print it."""
    return json.dumps({"regctl": "x", **facts})


@given(st.lists(st.tuples(NOISE, FACTS), max_size=6), st.data())
def test_output_that_is_cut_off_gives_the_whole_answers_before_the_cut_and_no_other(
    lines: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    whole = "".join(f"{noise}\n{said(facts)}\n" for noise, facts in lines).encode()
    wanted = [{"regctl": "x", **facts} for _, facts in lines]
    assert list(answers(whole)) == wanted
    cut = data.draw(st.integers(0, len(whole)))
    assert list(answers(whole[:cut])) == wanted[: len(list(answers(whole[:cut])))]
    tail = list(answers(whole[cut:]))
    assert tail == wanted[len(wanted) - len(tail) :]
    # every line that is whole is there: nothing is lost but the one that the cut went through
    assert len(list(answers(whole[:cut]))) + len(tail) >= len(wanted) - 1


@given(st.binary(max_size=200))
def test_whatever_a_manager_prints_is_no_crash(output: bytes) -> None:
    for one in answers(output):
        assert "regctl" in one


def test_the_last_answer_of_a_kind_counts() -> None:
    lines = [{"regctl": "a", "n": 1}, {"regctl": "b", "n": 2}, {"regctl": "a", "n": 3}]
    output = "\n".join(json.dumps(line) for line in lines).encode()
    assert answer(output, "a") == {"regctl": "a", "n": 3}
    assert answer(output, "c") is None
    assert answer(b'warning: {"regctl": "a"}\n', "a") is None  # somebody quotes us


def test_a_manager_is_called_as_its_own_user_with_its_own_settings() -> None:
    command = manager_command(NODE, "migrate", "--check")
    assert command.argv == ("/usr/bin/pulpcore-manager", "migrate", "--check")
    assert (dict(command.env), command.user) == ({"PULP_SETTINGS": "/etc/pulp/settings.py"}, "pulp")


@pytest.mark.parametrize("name", NAMES)
def test_every_question_is_a_program_that_python_can_read(name: str) -> None:
    command = question(NODE, name, {"sample": 3})
    assert isinstance(command.stdin, bytes)
    ast.parse(command.stdin.decode())
    assert not any("sample" in word for word in command.argv)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_request_comes_over_as_it_was_whatever_it_holds(request_: dict[str, Any]) -> None:
    command = question(NODE, "survey", request_)
    assert isinstance(command.stdin, bytes)
    first = ast.parse(command.stdin.decode()).body[0]
    assert isinstance(first, ast.Assign)
    names: dict[str, Any] = {}
    exec(compile(ast.Module([first], []), "request", "exec"), names)
    assert names["REQUEST"] == request_


@pytest.mark.parametrize(
    ("stderr", "advice"),
    [
        ("ModuleNotFoundError: No module named 'pulp_container'", "container plugin"),
        ("no such file: database_fields.symmetric.key", "settings_file"),
        ("django.db.utils.OperationalError: connection failed", "PostgreSQL"),
        ("django.db.utils.ProgrammingError: column x does not exist", "regctl database migrate plan"),
        ("something else", "by hand"),
    ],
)
def test_a_manager_that_does_not_answer_is_explained(stderr: str, advice: str) -> None:
    error = explained("katello on here", 1, b"", f"Traceback\n  line\n{stderr}\n".encode())
    assert error.message.startswith("katello on here: ")
    assert stderr in error.message
    assert advice in error.hint
