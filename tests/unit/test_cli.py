"""The contract of the command line: where options stand, what errors look like, what scripts read."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import click
import pytest
import yaml

from ctl import cli, listing, root, usage
from ctl.context import Context, pass_context
from ctl.errors import (
    EXIT_CODES,
    ConfigError,
    InterruptedRunError,
    LockedError,
    Outcome,
    RefusedError,
    RegctlError,
    UnreachableError,
)
from ctl.report.events import Message
from ctl.report.model import Report, Text
from tests.unit.conftest import Call

ERRORS = [RegctlError, ConfigError, LockedError, RefusedError, UnreachableError, InterruptedRunError]


def toy(body: Any) -> click.Command:
    """Return a group `toy` with a command `do`, so that options can stand on three levels."""

    @click.group("toy")
    def group() -> None:
        """A toy."""

    @group.command("do")
    @click.argument("words", nargs=-1)
    @click.option("--because", help="Why.")
    @pass_context
    def do(context: Context, words: tuple[str, ...], because: str | None) -> None:
        """Do it."""
        body(context, words, because)

    return group


@pytest.fixture
def with_toy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the command `regctl toy do` run a function."""

    def install(body: Any) -> None:
        command = toy(body)
        point = listing.EntryPoint(listing.COMMANDS, "toy", "toy:command", "toys", "1")
        real = listing.commands
        monkeypatch.setattr(listing, "commands", lambda: {**real(), "toy": point})
        load = root.load
        monkeypatch.setattr(root, "load", lambda p: command if p.name == "toy" else load(p))

    return install


def show(context: Context, words: tuple[str, ...], because: str | None) -> None:
    options = {name: getattr(context.options, name) for name in context.options.__dataclass_fields__}
    context.show(Report("toy-do", Outcome.OK, {"options": options, "words": list(words), "because": because}))


LINES = [
    "--output json --dry-run toy do a",
    "toy --output json -n do a",
    "toy do --output json --dry-run a",
    "toy do a --dry-run --output=json",
    "--output yaml -n toy --output jsonl do a --output json",
    "-n toy do --output json -- a",
]


@pytest.mark.parametrize("line", LINES)
def test_global_options_stand_anywhere(line: str, call: Call, with_toy: Any) -> None:
    with_toy(show)
    said = call(*line.split())
    assert said.code == 0, said
    assert said.json["options"]["dry_run"] is True
    assert said.json["options"]["output"] == "json"
    assert said.json["words"] == ["a"]


def test_every_global_option_arrives(call: Call, with_toy: Any) -> None:
    with_toy(show)
    line = "-v toy -q do --site S --state-dir D -y --no-color -vv --output json --because -n"
    assert call(*line.split()).json["options"] == {
        "site": "S",
        "state_dir": "D",
        "output": "json",
        "yes": True,
        "dry_run": False,  # the -n is the value of --because
        "quiet": True,
        "verbose": 3,
        "color": False,
    }


def test_nothing_behind_two_dashes_is_an_option(call: Call, with_toy: Any) -> None:
    with_toy(show)
    said = call("--output", "json", "toy", "do", "--", "--dry-run", "--output", "yaml")
    assert said.json["words"] == ["--dry-run", "--output", "yaml"]
    assert said.json["options"]["dry_run"] is False


def test_a_commands_own_option_wins_over_a_global_one() -> None:
    @click.command("tail")
    @click.option("-n", "lines", type=int)
    def tail(lines: int) -> None:
        """Show the end."""

    equipped = root.equipped(tail)
    flags = [flag for parameter in equipped.params for flag in parameter.opts]
    assert flags.count("-n") == 1
    assert "--dry-run" in flags
    assert [parameter.name for parameter in tail.params] == ["lines"], "the original is left alone"


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("output", ["table", "json", "yaml", "jsonl"])
def test_an_error_is_told_to_people_and_to_scripts(
    kind: type[RegctlError], output: str, call: Call, with_toy: Any
) -> None:
    def fail(*_: Any) -> None:
        raise kind("the disk is gone", hint="mount it", details=("one", "two"))

    with_toy(fail)
    said = call("toy", "do", "--output", output)
    assert said.code == EXIT_CODES[kind.outcome]
    assert said.err == "regctl: the disk is gone\n  one\n  two\nhint: mount it\n"
    if output == "table":
        assert said.out == ""
        return
    found = yaml.safe_load(said.out) if output == "yaml" else json.loads(said.out)
    assert found == {
        "schema": "regctl/toy-do/1",
        "result": kind.outcome.value,
        "error": {"message": "the disk is gone", "hint": "mount it", "details": ["one", "two"]},
    }


USAGE = [
    ("toy do --nonsense", "toy-do"),
    ("toy do --because", "toy-do"),
    ("toy dont", "toy"),
    ("toy", "toy"),
    ("statsu", "regctl"),
    ("--nonsense", "regctl"),
    ("gc --nonsense", "gc"),
    ("garbage-collect --nonsense", "gc"),
    ("import --nonsense", "registry-import"),
    ("image ls", "regctl"),
]


@pytest.mark.parametrize(("line", "command"), USAGE)
def test_a_wrong_line_is_an_object_too(line: str, command: str, call: Call, with_toy: Any) -> None:
    with_toy(show)
    said = call("--output", "json", *line.split())
    assert said.code == 2
    assert said.json["schema"] == f"regctl/{command}/1"
    assert said.json["result"] == "usage"
    assert said.json["error"]["message"] in said.err


@pytest.mark.parametrize("word", root.REGCLIENT)
def test_regclients_verbs_are_recognised(word: str, call: Call) -> None:
    said = call(word, "ls", "example.com/app")
    assert said.code == 2
    assert "that is regclient's regctl" in said.err
    assert "hint: " in said.err


def test_regclients_registry_verbs_are_recognised(call: Call) -> None:
    said = call("registry", "login", "example.com")
    assert said.code == 2
    assert "that is regclient's regctl" in said.err


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("statsu", "did you mean `regctl status`?"),
        ("garbage-colect", "did you mean `regctl garbage-collect`?"),
        ("plugin lst", "did you mean `regctl plugin list`?"),
        ("qwertyuiop", "`regctl --help` lists the commands"),
    ],
)
def test_a_mistyped_command_gets_the_nearest_name(line: str, hint: str, call: Call) -> None:
    said = call(*line.split())
    assert said.code == 2
    assert f"hint: {hint}" in said.err


def test_an_unexpected_error_shows_no_traceback_unless_asked(call: Call, with_toy: Any) -> None:
    def crash(*_: Any) -> None:
        raise KeyError("blob")

    with_toy(crash)
    short = call("toy", "do", "--output", "json")
    assert short.code == 1
    assert "Traceback" not in short.err + short.out
    assert "unexpected error: KeyError: 'blob'" in short.err
    assert short.json["result"] == "failed"
    long = call("toy", "do", "-v")
    assert "Traceback" in long.err
    assert "in crash" in long.err


def test_a_secret_is_blotted_out_of_whatever_is_told(call: Call, with_toy: Any) -> None:
    def leak(context: Any, *_: Any) -> None:
        context._doors = SimpleNamespace(secrets={"hunter2hunter2", "no"})
        context.emit(Message("a driver says hunter2hunter2"))
        raise RuntimeError("no route to postgres://regctl:hunter2hunter2@db")

    with_toy(leak)
    said = call("toy", "do", "-v", "--output", "json")
    assert "hunter2" not in said.out + said.err
    assert "no route to postgres://regctl:***@db" in said.json["error"]["message"]
    assert "a driver says ***" in said.err


def test_ctrl_c_ends_with_130(call: Call, with_toy: Any) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with_toy(stop)
    said = call("toy", "do", "--output", "json")
    assert said.code == 130
    assert said.json["result"] == "interrupted"


def test_a_command_without_a_report_prints_an_object(call: Call, with_toy: Any) -> None:
    with_toy(lambda *_: None)
    for output in ("json", "jsonl"):
        assert call("toy", "do", "--output", output).json == {"schema": "regctl/toy-do/1", "result": "ok"}
    assert call("toy", "do").out == ""


def test_an_error_after_the_report_keeps_the_one_object(call: Call, with_toy: Any) -> None:
    def both(context: Context, *_: Any) -> None:
        context.show(Report("toy-do", Outcome.CHANGED, {"count": 1}))
        raise RegctlError("late")

    with_toy(both)
    said = call("toy", "do", "--output", "json")
    assert said.code == 1
    assert said.json["count"] == 1
    assert "regctl: late" in said.err


def test_the_reports_outcome_is_the_exit_code(call: Call, with_toy: Any) -> None:
    for outcome, code in EXIT_CODES.items():
        with_toy(lambda context, *_, o=outcome: context.show(Report("toy-do", o, {}, (Text(o),))))
        said = call("toy", "do")
        assert (said.code, said.out) == (code, f"{outcome}\n")
    with_toy(lambda context, *_: context.show(Report("toy-do", Outcome.PENDING, {}, exit_code=4)))
    assert call("toy", "do").code == 4


def test_no_site_is_exit_10_and_names_init(call: Call) -> None:
    for line in ("status", "gc --dry-run", "service status"):
        said = call(*line.split(), "--output", "json")
        assert said.code == 10, said
        assert said.json["result"] == "config"
        assert "regctl init" in said.json["error"]["hint"]


def test_an_unknown_format_is_refused(call: Call) -> None:
    said = call("version", "--output", "xml")
    assert said.code == 2
    assert "there is no output format 'xml'" in said.err
    assert "table, json, yaml, jsonl" in said.err


def test_nothing_at_all_is_help_on_stderr(call: Call) -> None:
    said = call()
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("Usage: regctl ")


def test_a_group_alone_is_help_on_stderr(call: Call) -> None:
    said = call("plugin")
    assert (said.code, said.out) == (2, "")
    assert "list" in said.err


def test_every_builtin_command_leaves_the_global_options_alone() -> None:
    reserved = {flag for option in usage.OPTIONS for flag in option.flags}

    def walk(command: click.Command) -> Any:
        yield command
        for child in getattr(command, "commands", {}).values():
            yield from walk(child)

    for name, point in listing.commands().items():
        for command in walk(root.load(point)):
            declared = {flag for parameter in command.params for flag in parameter.opts}
            assert not declared & reserved, name


@pytest.mark.parametrize("argv", [["--output", "json"], ["--output=json"], ["x", "--output", "json", "--y"]])
def test_the_format_is_known_before_the_line_is_parsed(argv: list[str]) -> None:
    assert root.options_before_parsing(argv).output == "json"


def test_the_format_is_not_guessed_behind_two_dashes() -> None:
    assert root.options_before_parsing(["--", "--output", "json"]).output == "table"
    assert root.options_before_parsing(["--output"]).output == "table"
    assert root.options_before_parsing(["--output", "xml"]).output == "table"


def test_click_errors_read_like_ours() -> None:
    failure = cli.understood(click.UsageError("No such thing."))
    assert failure is not None
    assert (failure.message, failure.exit_code) == ("no such thing", 2)
    assert cli.understood(ValueError("x")) is None
