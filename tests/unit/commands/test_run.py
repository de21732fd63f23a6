"""`regctl run`: what a site's operator sees of runs, and how an open one is settled."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ctl import cli
from ctl.app import App
from ctl.context import Options
from ctl.recipes.failpoints import Failpoints
from ctl.recipes.model import (
    Across,
    Before,
    Do,
    ProbeAnswer,
    Recipe,
    Row,
    Scope,
    Step,
    StepReport,
    Target,
    Within,
)
from tests.unit.recipes.children import boundaries, killed_at

SITE = """
version: 1
state_dir: {folder}/state
hosts: {{here: {{connection: local}}}}
registries:
  main:
    engine: distribution
    storage: {{filesystem: {{rootdirectory: {folder}/tree}}}}
    nodes:
      - host: here
        binary: /usr/bin/docker-registry
        config_file: {folder}/config.yml
        url: http://127.0.0.1:5999
        service: {{kind: process, name: main}}
"""


class Touch(Step):
    """Create a file."""

    path: str

    def title(self) -> str:
        return f"create {os.path.basename(self.path)}"

    def host(self) -> str:
        return "here"

    def apply(self, here: Target, before: Before) -> StepReport:
        here.run.guard()
        Path(self.path).touch()
        return StepReport({"files": 1})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "done" if os.path.exists(self.path) else "pending"


class Gate(Scope):
    """A file that is there while the body runs."""

    path: str

    def title(self) -> str:
        return "close the gate"

    def apply(self, here: Target, before: Before) -> None:
        Path(self.path).touch()

    def leave(self, here: Target, before: Before) -> None:
        Path(self.path).unlink(missing_ok=True)


class Site:
    """A site in a folder, and the command line over it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        (folder / "site.yml").write_text(SITE.format(folder=folder))
        self.recipe = Recipe(
            "toy",
            (Within((Gate(path=str(folder / "gate")),), (Do(self.touch("a")), Do(self.touch("b")))),),
            ("registry/main",),
        )

    def touch(self, name: str) -> Touch:
        return Touch(path=str(self.folder / name))

    def run(self, points: Failpoints) -> None:
        with App(Options(site=str(self.folder / "site.yml"), yes=True)) as app:
            runner = app.runner
            runner.boundary = runner.locks._boundary = points.boundary
            runner.run(self.recipe, yes=True)

    def cut_off(self) -> None:
        """Leave a run open, killed in its window after the first step."""
        names: list[str] = []

        class Listing(Failpoints):
            def boundary(self, name: str) -> Any:
                names.append(name)
                return super().boundary(name)

        boundaries(lambda points: self.run(Listing(0, "", "count")))
        shutil.rmtree(self.folder / "state")
        for name in "ab":
            (self.folder / name).unlink()
        assert killed_at(names.index("apply 1.1 Touch") + 1, "after", self.run)

    def regctl(self, *words: str) -> tuple[int, dict[str, Any], str]:
        self.capsys.readouterr()
        code = cli.run(["--site", str(self.folder / "site.yml"), *words, "--output", "json"])
        out, err = self.capsys.readouterr()
        data: dict[str, Any] = json.loads(out)
        return code, data, err


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    return Site(tmp_path, capsys)


def test_without_a_run_there_is_nothing_to_show_and_nothing_to_resume(site: Site) -> None:
    code, data, _ = site.regctl("run", "list")
    assert (code, data["runs"]) == (0, [])
    assert site.regctl("run", "show")[0] == 2
    code, data, _ = site.regctl("run", "resume")
    assert (code, data["result"]) == (0, "nothing-to-do")
    assert not (site.folder / "state").exists()


def test_an_open_run_is_listed_shown_and_resumed(site: Site) -> None:
    site.cut_off()
    code, data, _ = site.regctl("run", "list", "--open")
    (run,) = data["runs"]
    assert (run["state"], run["open_scopes"], run["resources"]) == (
        "open",
        ["close the gate"],
        ["registry/main"],
    )
    code, shown, _ = site.regctl("run", "show")
    assert (code, shown["schema"], shown["id"], shown["state"]) == (0, "regctl/run-show/1", run["id"], "open")
    assert [(s["step"], s["host"], s["result"]) for s in shown["steps"]] == [("Gate", "", "changed")]
    assert shown["steps"][0]["started_at"] <= shown["steps"][0]["ended_at"]
    code, data, _ = site.regctl("run", "resume")
    assert (code, data["state"]) == (0, "done")
    assert [(s["path"], s["phase"], s["result"]) for s in data["steps"]] == [
        ("1.s1", "apply", "changed"),
        ("1.1", "apply", "changed"),
        ("1.2", "apply", "changed"),
        ("1.s1", "leave", "changed"),
    ]
    assert not (site.folder / "gate").exists()
    assert site.regctl("run", "list", "--open")[1]["runs"] == []
    assert site.regctl("run", "show", run["id"][:12])[1]["state"] == "done"


def test_a_dry_run_of_resume_shows_what_it_would_do_and_writes_nothing(site: Site) -> None:
    site.cut_off()
    before = {p: p.read_bytes() for p in site.folder.rglob("*") if p.is_file()}
    code, data, _ = site.regctl("run", "resume", "--dry-run")
    assert (code, data["result"]) == (0, "pending")
    assert (data["would_do"], data["would_leave"]) == (["create a", "create b"], ["close the gate"])
    assert site.regctl("run", "resume", "--leave-only", "--dry-run")[1]["would_do"] == []
    run_id = data["id"]
    assert site.regctl("run", "abandon", run_id, "--reason", "x", "--dry-run")[1]["result"] == "pending"
    assert {p: p.read_bytes() for p in site.folder.rglob("*") if p.is_file()} == before


def test_resume_can_only_put_back(site: Site) -> None:
    site.cut_off()
    code, data, _ = site.regctl("run", "resume", "--leave-only")
    assert (code, data["state"]) == (0, "interrupted")
    assert not (site.folder / "gate").exists()
    assert not (site.folder / "b").exists()


def test_abandon_wants_a_clear_word(site: Site) -> None:
    site.cut_off()
    run_id = site.regctl("run", "list")[1]["runs"][0]["id"]
    assert site.regctl("run", "abandon", run_id)[0] == 2
    code, data, err = site.regctl("run", "abandon", run_id, "--reason", "moved away")
    assert (code, data["result"]) == (6, "refused")
    words = ("run", "abandon", run_id, "--reason", "moved away", "--leave-open-scopes")
    code, data, err = site.regctl(*words)
    assert (code, data["state"], data["reason"]) == (0, "abandoned", "moved away")
    assert "nobody will put it back: close the gate" in err
    assert site.regctl("run", "resume", run_id)[0] == 2


def test_every_other_command_tells_of_an_open_run_on_stderr(site: Site) -> None:
    site.cut_off()
    code, _, err = site.regctl("lock", "status")
    assert code == 0
    assert "regctl run resume" in err


def test_people_get_a_table(site: Site) -> None:
    site.cut_off()
    site.capsys.readouterr()
    assert cli.run(["--site", str(site.folder / "site.yml"), "run", "show"]) == 0
    out = site.capsys.readouterr().out
    assert "still entered: close the gate" in out
    assert "cut off: create a" in out


def test_hosts_stand_in_show_follow_and_in_the_plan_of_a_resume(site: Site) -> None:
    rows = tuple(
        Row(host, (Within((Gate(path=str(site.folder / f"gate-{host}")),), (Do(site.touch(host)),)),))
        for host in ("h1", "h2", "h3")
    )
    site.recipe = Recipe("toy", (Across(rows, at_once=1),), ("registry/main",))
    hosts = {"hosts": "\n".join(f"  {host}: {{connection: local}}" for host in ("h1", "h2", "h3"))}
    text = (site.folder / "site.yml").read_text()
    (site.folder / "site.yml").write_text(
        text.replace(
            "hosts: {here: {connection: local}}", "hosts:\n  here: {connection: local}\n" + hosts["hosts"]
        )
    )
    names: list[str] = []

    class Listing(Failpoints):
        def boundary(self, name: str) -> Any:
            names.append(name)
            return super().boundary(name)

    boundaries(lambda points: site.run(Listing(0, "", "count")))
    shutil.rmtree(site.folder / "state")
    for host in ("h1", "h2", "h3"):
        (site.folder / host).unlink()
    assert killed_at(names.index("apply 1.r2.1.1 Touch") + 1, "before", site.run)

    code, shown, _ = site.regctl("run", "show")
    assert code == 0
    assert [(one["host"], one["result"]) for one in shown["hosts"]] == [
        ("h1", "changed"),
        ("h2", "cut-off"),
        ("h3", "not-attempted"),
    ]
    assert shown["open_scopes"] == ["[h2] close the gate"]
    code, followed, _ = site.regctl("run", "follow")
    assert (code, followed["state"], followed["result"]) == (1, "open", "failed")
    plan = site.regctl("run", "resume", "--dry-run")[1]
    assert plan["would_do"] == ["[h2] create h2", "[h3] close the gate", "[h3] create h3"]
    assert plan["would_leave"] == ["[h2] close the gate"]

    code, left, _ = site.regctl("run", "resume", "--leave-only")
    assert (code, left["state"]) == (0, "interrupted")
    assert [(one["host"], one["result"]) for one in left["hosts"]] == [
        ("h1", "changed"),
        ("h2", "failed"),
        ("h3", "not-attempted"),
    ]
    assert not list(site.folder.glob("gate*"))
    code, followed, _ = site.regctl("run", "follow", shown["id"])
    assert (code, followed["state"]) == (0, "interrupted")
    assert [one["host"] for one in followed["hosts"]] == ["h1", "h2", "h3"]
