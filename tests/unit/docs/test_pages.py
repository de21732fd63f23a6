"""What the pages list is what the code has: commands, options, exit codes, steps, settings, examples."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from ctl.config import models
from ctl.errors import EXIT_CODES, PENDING_EXIT_CODE
from tools import docs_pages

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs" / "reference"
ENTRY_POINTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "entry-points"
]["regctl.commands"]


def load(name: str) -> click.Command:
    module, _, attribute = ENTRY_POINTS[name].partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    return command


def page_of(name: str) -> str:
    """Return the name of the page for a command; an alias stands on the page of what it is short for."""
    for other, target in ENTRY_POINTS.items():
        if target == ENTRY_POINTS[name]:
            return other
    return name


def pages(name: str) -> str:
    """Return the text of a command's page, and of its subcommands' own ones where it has them."""
    page = REFERENCE / f"{page_of(name)}.md"
    assert page.exists(), f"docs/reference/{page.name} is missing"
    return "\n".join(p.read_text() for p in [page, *REFERENCE.glob(f"{page.stem}-*.md")])


def walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            if not child.hidden:
                yield from walk(f"{path} {name}", child)


@pytest.mark.parametrize("name", sorted(ENTRY_POINTS))
def test_every_command_has_a_page_that_names_its_options(name: str) -> None:
    text = pages(name)
    assert re.search(rf"^# regctl {re.escape(page_of(name))}\b", text, re.MULTILINE)
    missing = []
    for path, command in walk(f"regctl {name}", load(name)):
        full = path.replace(f"regctl {name}", f"regctl {page_of(name)}", 1)  # of an alias
        if path not in text and full not in text:
            missing.append(path)
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                missing += [
                    f"{path} {flag}"
                    for flag in (*parameter.opts, *parameter.secondary_opts)
                    if flag.startswith("--")
                    and not re.search(rf"`{re.escape(flag)}\b|\s{re.escape(flag)}\b", text)
                ]
    assert missing == []


@pytest.mark.parametrize("name", sorted(ENTRY_POINTS))
def test_every_command_and_option_has_help(name: str) -> None:
    for path, command in walk(f"regctl {name}", load(name)):
        assert command.help, f"{path} has no help"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, f"{path} {parameter.opts[0]} has no help"


def test_the_table_of_exit_codes_is_the_codes_own() -> None:
    rows = re.findall(r"^\| (\d+) \| `([a-z-]+)` \|", (REFERENCE / "exit-codes.md").read_text(), re.M)
    assert {word: int(code) for code, word in rows} == {
        outcome.value: code for outcome, code in EXIT_CODES.items()
    }
    assert len(rows) == len(EXIT_CODES)
    assert f"{PENDING_EXIT_CODE} stands for `pending`" in (REFERENCE / "exit-codes.md").read_text()


def test_generated_pages_are_up_to_date() -> None:
    stale = [
        page.name
        for page, text in docs_pages.wanted().items()
        if not page.exists() or page.read_text() != text
    ]
    assert stale == [], "run `make pages`"


def test_every_step_says_what_it_does() -> None:
    found = list(docs_pages.steps())
    assert len(found) > 5
    assert [step.__name__ for step in found if not step.__dict__.get("__doc__")] == []


def test_every_setting_of_the_site_is_documented() -> None:
    text = (REFERENCE / "site.md").read_text()
    missing = [
        f"{name}.{field}"
        for name, model in vars(models).items()
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == models.__name__
        for field in model.model_fields
        if not re.search(rf"`[^`]*\b{re.escape(field)}\b[^`]*`", text)
    ]
    assert missing == []
