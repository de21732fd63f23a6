"""A Pulp's name in a command that is not for a Pulp: a line that says why and what there is, exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.unit.config.test_pulp import SITE
from tests.unit.conftest import Call
from tests.unit.docs.test_pages import ENTRY_POINTS, load, walk

NAME = "katello"
# what there is for a Pulp, too
FOR_A_PULP = ("content", "status", "check", "service", "upgrade", "database migrate")
REQUIRED = {"reason": ["--reason", "test"], "run_id": ["20260101T000000"]}
MORE = [
    ["gc", "--registry", NAME, "--read-only"],
    ["gc", "--registry", NAME, "--stopped"],
]


def calls() -> Iterator[list[str]]:
    """Yield a call of every command that takes a registry's name and is not for a Pulp."""
    for name in sorted(ENTRY_POINTS):
        for path, command in walk(name, load(name)):
            named = [one for one in command.params if one.name in ("registry", "registries")]
            if isinstance(command, click.Group) or not named or path.startswith(FOR_A_PULP):
                continue
            given = [REQUIRED[str(one.name)] for one in command.params if one.required and one not in named]
            option = [named[0].opts[0]] if isinstance(named[0], click.Option) else []
            yield [*path.split(), *(word for words in given for word in words), *option, NAME]


CALLS = [*calls(), *MORE]


def test_the_list_is_of_some_length() -> None:
    assert len(CALLS) > 30


@pytest.mark.parametrize("line", CALLS, ids=" ".join)
def test_it_is_refused_by_name_with_what_there_is_for_it(line: list[str], tmp_path: Path, call: Call) -> None:
    path = tmp_path / "site.yml"
    path.write_text(SITE)
    done = call("--site", str(path), "--state-dir", str(tmp_path / "state"), "--yes", *line)
    assert done.code == 2, done.err
    assert "katello is a Pulp" in done.err
    assert "regctl content" in done.err
    assert done.out == ""
    assert not (tmp_path / "state").exists()


def test_where_there_is_nothing_but_a_pulp_it_is_said_without_a_name_too(tmp_path: Path, call: Call) -> None:
    path = tmp_path / "site.yml"
    path.write_text(SITE.partition("  main:\n")[0])
    for line in (["gc", "--read-only"], ["config", "diff"], ["registry", "verify"]):
        done = call("--site", str(path), "--state-dir", str(tmp_path / "state"), *line)
        assert (done.code, "katello is a Pulp" in done.err) == (2, True), done.err


def test_a_registry_is_refused_where_a_pulp_is_meant(tmp_path: Path, call: Call) -> None:
    path = tmp_path / "site.yml"
    path.write_text(SITE)
    for verb in ("status", "verify", "repair", "prepare"):
        done = call("--site", str(path), "--state-dir", str(tmp_path / "state"), "content", verb, "main")
        assert done.code == 2
        assert "main is run by the engine distribution" in done.err
        assert "katello" in done.err
