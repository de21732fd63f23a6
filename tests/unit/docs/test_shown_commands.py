"""Every regctl call that a page or a message shows exists, with the options that it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ctl import usage
from tests.unit.docs.test_pages import ENTRY_POINTS, load

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
SOURCES = sorted((ROOT / "ctl").rglob("*.py"))
FENCE = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PLACEHOLDER = re.compile(r"[A-Z{<\[$(].*|.*[{*|].*|\.\.\.")
GLOBAL = {flag for option in usage.OPTIONS for flag in option.flags} | {"--help", "-h", "--version"}


def calls(text: str, *, page: bool) -> Iterator[str]:
    """Yield what follows `regctl` in code spans and, on pages, on the lines of shell blocks."""
    yield from re.findall(r"`(?:sudo )?regctl ([^`\n]+)`", text)
    if page:
        for block in FENCE.findall(text):
            for line in block.replace("\\\n", " ").splitlines():
                found = re.match(r"(?:[$#] )?(?:sudo )?regctl (.+)", line.strip())
                if found:
                    yield re.split(r"\s#|\s[|&>;]", found[1])[0]


def mistake(call: str) -> str:
    """Return what is wrong with a call, "" if nothing is. Arguments that are not words are let through."""
    words = [word for word in call.replace('"', " ").split() if word]
    while words and words[0].startswith("-"):  # global options before the command, with their values
        option = next((o for o in usage.OPTIONS if words[0].split("=")[0] in o.flags), None)
        if option is None:
            return "" if words[0] in GLOBAL else f"no global option {words[0]}"
        words = words[2 if option.metavar and "=" not in words[0] else 1 :]
    if not words or PLACEHOLDER.match(words[0]):
        return ""
    name = words.pop(0).rstrip(",.;:")
    if name not in ENTRY_POINTS:
        return f"no command {name}"
    command = load(name)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        if PLACEHOLDER.match(words[0]):
            break
        word = words.pop(0).rstrip(",.;:")
        choices = [one for one in word.split("/") if one in command.commands]
        if not choices:
            return f"no command {word} below {command.name}"
        command = command.commands[choices[0]]
    return _wrong_option(command, words)


def _wrong_option(command: click.Command, words: list[str]) -> str:
    flags = {
        flag
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        flag = re.split(r"[=\]),.;:]", word.lstrip("[("))[0]
        if flag.startswith("--") and len(flag) > 2 and flag not in flags | GLOBAL:
            return f"{command.name} has no option {flag}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_exists(page: Path) -> None:
    shown = set(calls(page.read_text(), page=True))
    assert {call: mistake(call) for call in sorted(shown) if mistake(call)} == {}


def test_what_a_message_names_exists() -> None:
    wrong = {
        f"{source.relative_to(ROOT)}: regctl {call}": mistake(call)
        for source in SOURCES
        for call in set(calls(source.read_text(), page=False))
        if mistake(call)
    }
    assert wrong == {}


def test_wrong_calls_are_noticed() -> None:
    assert mistake("frobnicate now") == "no command frobnicate"
    assert mistake("version --frob") == "version has no option --frob"
    assert mistake("--frob version") == "no global option --frob"
    assert mistake("--output json version") == ""
    text = "see `regctl a b`\n```sh\nregctl c --d  # why\n$ regctl e | wc\n```\n"
    assert list(calls(text, page=True)) == ["a b", "c --d ", "e"]
