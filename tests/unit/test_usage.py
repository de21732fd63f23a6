"""The text of --help: one text, however it is reached and however wide the terminal is."""

from __future__ import annotations

import click
import pytest

from ctl import listing, usage
from ctl.root import Root


def test_the_fast_way_and_click_say_the_same() -> None:
    root = Root()
    assert usage.quick(["--help"]) == root.get_help(click.Context(root)) + "\n"


def test_every_command_has_its_line() -> None:
    text = usage.root_help()
    for name, point in listing.commands().items():
        assert f"\n  {name} " in text, name
        assert listing.first_line(point).split()[0] in text, name


def test_aliases_are_named_as_such() -> None:
    assert "garbage-collect  Alias of `gc`" in usage.root_help()
    assert "Alias of `registry import`" in usage.root_help()


@pytest.mark.parametrize("columns", ["1", "40", "79", "80", "100", "500", "not a number", "0", ""])
def test_no_line_is_wider_than_the_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    width = max(50, min(int(columns), 100)) if columns.isdigit() and int(columns) else 80
    lines = usage.root_help().splitlines()
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(
    ("argv", "fast"),
    [
        (["-h"], True),
        (["-y", "--no-color", "--help"], True),
        (["--version"], True),
        (["gc", "--help"], False),
        (["--output", "json", "--help"], False),
        (["--", "--help"], False),
        ([], False),
        (["-q"], False),
    ],
)
def test_only_plain_questions_are_answered_fast(argv: list[str], fast: bool) -> None:
    assert (usage.quick(argv) is not None) is fast


def test_the_version_line_says_which_regctl_this_is() -> None:
    assert usage.quick(["--version"]) == f"registry-maintain {listing.own_version()} (regctl)\n"
