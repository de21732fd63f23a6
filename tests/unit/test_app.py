"""The composition root: where things are found, what is asked, what is mentioned."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ctl.app import App
from ctl.context import Options
from ctl.errors import ConfigError, Outcome, UnreachableError, UsageError
from ctl.recipes.model import Do, Recipe, Step, StepReport, Target
from ctl.report.events import Message
from ctl.report.model import Report, Text

NODE = """
    nodes:
      - {host: here, binary: /bin/true, config_file: /NAME.yml, url: "http://127.0.0.1:PORT",
         service: {kind: process, name: NAME}}
"""
REGISTRY = "    engine: distribution\n    storage: {filesystem: {rootdirectory: /no/NAME}}" + NODE


def write_site(folder: Path, *names: str, more: str = "") -> Path:
    registries = "".join(
        f"  {name}:\n{REGISTRY}".replace("NAME", name).replace("PORT", str(number))
        for number, name in enumerate(names, 1)
    )
    path = folder / "site.yml"
    path.write_text(
        f"version: 1\nhosts: {{here: {{}}}}\n{more}registries:{registries and chr(10)}{registries}"
    )
    return path


def app(folder: Path, environment: dict[str, str] | None = None, **options: Any) -> App:
    made = App(Options(site=str(folder / "site.yml"), **options), environment or {})
    made.words = ("toy",)
    return made


class Leave(Step):
    """Write a file."""

    path: str

    def apply(self, here: Target, before: Any) -> StepReport:
        here.run.guard()
        Path(self.path).write_text("here")
        return StepReport()


def recipe(path: Path, question: str = "Sure?") -> Recipe:
    return Recipe("leave", (Do(Leave(path=str(path))),), ("registry/main",), question=question)


def test_the_state_folder_is_found_in_order(tmp_path: Path) -> None:
    write_site(tmp_path, "main", more="state_dir: /from/site\n")
    variables = {"REGCTL_STATE_DIR": "/from/environment"}
    assert app(tmp_path, variables, state_dir="/from/option").state_dir == "/from/option"
    assert app(tmp_path, variables).state_dir == "/from/environment"
    assert app(tmp_path).state_dir == "/from/site"


def test_the_site_file_is_found_in_order(tmp_path: Path) -> None:
    variables = {"REGCTL_SITE": "/from/environment.yml", "REGCTL_CONFIG": "/not/ours"}
    assert App(Options(site="/from/option.yml"), variables).site_file == "/from/option.yml"
    assert App(Options(), variables).site_file == "/from/environment.yml"
    assert App(Options(), {"REGCTL_CONFIG": "/not/ours"}).site_file == "/etc/regctl/site.yml"


def test_the_registry_meant(tmp_path: Path) -> None:
    write_site(tmp_path, "main")
    assert app(tmp_path).registry_name(None) == "main"
    assert app(tmp_path).registry_name("main") == "main"
    with pytest.raises(UsageError) as wrong:
        app(tmp_path).registry_name("mian")
    assert wrong.value.hint == "did you mean 'main'?"
    write_site(tmp_path, "main", "other")
    with pytest.raises(UsageError) as several:
        app(tmp_path).registry_name(None)
    assert several.value.hint == "name one of main, other"


def test_one_command_shows_one_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = app(tmp_path)
    shown.show(Report("toy", Outcome.WARNING, {}, (Text("once"),)))
    with pytest.raises(RuntimeError, match="one report"):
        shown.show(Report("toy", Outcome.OK, {}))
    assert shown.finish() == 3
    assert capsys.readouterr().out == "once\n"


def test_without_a_terminal_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_site(tmp_path, "main")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError) as refused:
        app(tmp_path, state_dir=str(tmp_path / "state")).run(recipe(tmp_path / "file"))
    assert "--yes" in refused.value.hint
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError):
        app(tmp_path, state_dir=str(tmp_path / "state")).run(recipe(tmp_path / "file"))
    assert not (tmp_path / "file").exists()
    assert not (tmp_path / "state").exists()


def test_yes_asks_nothing_and_dry_run_does_nothing(tmp_path: Path) -> None:
    write_site(tmp_path, "main")
    state, file = tmp_path / "state", tmp_path / "file"
    dry = app(tmp_path, state_dir=str(state), dry_run=True, yes=True).run(recipe(file))
    assert dry.outcome is Outcome.PENDING
    assert not file.exists()
    assert not state.exists()
    done = app(tmp_path, state_dir=str(state), yes=True).run(recipe(file))
    assert done.outcome is Outcome.CHANGED
    assert file.read_text() == "here"


def test_a_recipe_without_a_question_just_runs(tmp_path: Path) -> None:
    write_site(tmp_path, "main")
    app(tmp_path, state_dir=str(tmp_path / "state")).run(recipe(tmp_path / "file", question=""))
    assert (tmp_path / "file").exists()


def test_a_format_that_was_named_late_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = app(tmp_path)
    shown.emit(Message("early"))
    shown.change("output", "json")
    shown.show(Report("toy", Outcome.OK, {}))
    captured = capsys.readouterr()
    assert captured.err == "early\n"
    assert captured.out.startswith("{")


def open_run(folder: Path) -> str:
    """Leave a run open, as kill -9 would."""
    from ctl.recipes.journal import Journal
    from ctl.recipes.runs import folder as run_folder
    from ctl.recipes.runs import new_id

    run_id = new_id("leave")
    journal = Journal.create(run_folder(str(folder), run_id))
    from ctl.recipes.codec import dump
    from ctl.recipes.identity import myself

    facts = {"run": run_id, "recipe": dump(recipe(folder / "file")), "epoch": 1, "holder": myself().as_json()}
    journal.append("start", facts)
    journal.close()
    return run_id


def test_the_next_command_mentions_an_open_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_site(tmp_path, "main")
    run_id = open_run(tmp_path / "state")
    for words, said in ((("gc",), True), (("run", "list"), False), (("status",), False)):
        one = app(tmp_path, state_dir=str(tmp_path / "state"))
        one.words = words
        assert list(one.site.registries) == ["main"]
        assert (f"regctl run resume {run_id}" in capsys.readouterr().err) is said


def test_doors_name_what_there_is(tmp_path: Path) -> None:
    write_site(tmp_path, "main", more="databases: {metadata: {embedded: true}}\n")
    world = app(tmp_path).world
    for call, hint in (
        (lambda: world.registry("mian"), "did you mean 'main'?"),
        (lambda: world.node("main", "hree"), "did you mean 'here'?"),
        (lambda: world.host("zzz"), "the site has here"),
        (lambda: world.database("metadat"), "did you mean 'metadata'?"),
    ):
        with pytest.raises(UsageError) as wrong:
            call()
        assert wrong.value.hint == hint
    with pytest.raises(ConfigError, match="names no database for the registry main"):
        world.catalog("main")


def test_doors_are_opened_once_and_closed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_site(tmp_path, "main")
    closed: list[str] = []
    monkeypatch.setattr("ctl.http.RegistryClient.close", lambda client: closed.append(client.url))
    with app(tmp_path) as one:
        world = one.world
        assert world.host("here") is world.host("here")
        assert world.engine("main") is world.engine("main")
        client = world.client("main", "here")
        assert client is world.client("main", "here")
        assert world.storage("main").root == "/no/main"
        assert not world.storage("main").exists()
        assert closed == []
    assert closed == ["http://127.0.0.1:1"]


def test_secrets_come_from_where_the_site_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_site(tmp_path, "main")
    secret = tmp_path / "password"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    one = app(tmp_path)
    assert one.world.resolve_secret(f"file:{secret}").reveal() == "correct horse"
    assert one.world.resolve_secret("command:/bin/echo battery").reveal() == "battery"
    one.emit(Message("it was correct horse battery staple"))
    assert capsys.readouterr().err == "it was *** *** staple\n"
    odd = 'a"b/c d\\ü'
    secret.write_text(odd)
    one.world.resolve_secret(f"file:{secret}")
    told = (odd, json.dumps(odd), quote(odd, safe=""), repr(odd))
    one.emit(Message(" ".join(told)))
    assert capsys.readouterr().err == "*** \"***\" *** '***'\n"
    with pytest.raises(ConfigError, match="ended with exit code 1"):
        one.world.resolve_secret("command:/bin/false")


def test_a_host_over_ssh_is_connected_only_when_something_is_asked_of_it(tmp_path: Path) -> None:
    path = write_site(tmp_path, "main")
    text = path.read_text().replace("{here: {}}", "{here: {connection: ssh, address: 127.0.0.1, port: 1}}")
    path.write_text(text)
    with pytest.raises(UnreachableError, match="cannot reach here"):
        app(tmp_path).world.host("here").stat("/")


def test_a_version_that_cannot_be_had(tmp_path: Path) -> None:
    write_site(tmp_path, "main")
    with pytest.raises(Exception, match="version"):
        app(tmp_path).world.version("main", "here")
