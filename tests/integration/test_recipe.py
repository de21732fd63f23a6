"""`regctl recipe` on a real registry: an operator's own recipe, from a slip of the pen to the resumed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from tests.support.registry import RegistryServer
from tests.support.site import REPOSITORY_ROOT, SiteUnderTest

pytestmark = [pytest.mark.registry]
RECIPE = """\
version: 1
name: fresh-start
summary: Start every node anew while nobody pushes
why: to see new limits in effect
parameters:
  registry: {type: registry, help: which one}
  grace: {type: duration, default: 30s, help: how long uploads may take}
requires:
  - registry: $registry
    engine: distribution
    version: ">=2.8"
    feature: read-only
items:
  - check: stop-service
    with: {registry: $registry, node: here}
    because: what cannot be stopped cannot be started anew
  - within:
      - for_each: node
        do:
          - step: read-only
            with: {registry: $registry, node: $node}
    because: an upload that is cut leaves half an image
    do:
      - for_each: node
        do:
          - step: restart-service
            with: {registry: $registry, node: $node, grace_seconds: $grace}
            because: limits are read at a start
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SiteUnderTest]:
    with SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry")) as site:
        write(site, "fresh-start", RECIPE)
        yield site


def write(site: SiteUnderTest, name: str, text: str) -> Path:
    folder = site.folder / "recipes.d"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yml"
    path.write_text(text)
    return path


def standing(site: SiteUnderTest) -> tuple[bytes, list[str], list[tuple[str, int]]]:
    names = sorted(path.name for path in site.server.folder.iterdir())
    return site.server.config_file.read_bytes(), names, site.processes()


def test_a_recipe_is_listed_shown_previewed_and_run(site: SiteUnderTest) -> None:
    listed = {one["name"]: one for one in site.ok("recipe", "list")["recipes"]}
    assert listed["fresh-start"]["source"] == "site"
    assert {one["source"] for one in listed.values()} == {"shipped", "site"}
    assert len(listed) >= 6
    shown = site.ok("recipe", "show", "fresh-start")
    assert shown["items"][1]["because"] == "an upload that is cut leaves half an image"
    assert shown["parameters"][1] == {
        "name": "grace",
        "type": "duration",
        "help": "how long uploads may take",
        "required": False,
        "default": "30s",
        "choices": [],
    }
    told = site.regctl("recipe", "show", "fresh-start", output="table")
    assert "because limits are read at a start" in told.stdout

    before = standing(site)
    looked = site.ok("recipe", "run", "fresh-start", "--dry-run")
    assert (looked["result"], looked["parameters"]) == ("pending", {"registry": "main", "grace": 30})
    assert [one.get("because") for one in looked["previews"]] == [
        None,
        "what cannot be stopped cannot be started anew",
        "an upload that is cut leaves half an image",
        "limits are read at a start",
    ]
    refused = site.regctl("recipe", "run", "fresh-start")
    assert refused.exit_code == 2, "nobody said yes"
    assert standing(site) == before

    done = site.ok("recipe", "run", "fresh-start", "--yes", "--set", "grace=1m")
    assert (done["result"], done["parameters"]["grace"]) == ("changed", 60)
    assert [(one["step"], one["phase"]) for one in done["steps"]] == [
        ("RequireEngine", "apply"),
        ("OnlyCheck", "apply"),
        ("ReadOnly", "apply"),
        ("RestartService", "apply"),
        ("ReadOnly", "leave"),
    ]
    after = standing(site)
    assert after[:2] == before[:2]
    assert after[2] != before[2], "another process serves"
    shown = site.ok("run", "show", done["run"])
    assert (shown["recipe"], shown["state"]) == ("fresh-start", "done")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--set", "registry=mian"), 2, 'did you mean "main"'),
        (("--set", "grase=5s"), 2, 'did you mean "grace"'),
        (("--set", "grace=5"), 2, "as in 90s, 10m or 1h30m"),
        (("--set", "grace"), 2, "--set takes NAME=VALUE"),
        (("--set", "grace=5s", "--set", "grace=6s"), 2, "is given twice"),
        (("--skip", "wel", "--skip-reason", "x"), 2, "no check of fresh-start has the name 'wel'"),
    ],
    ids=str,
)
def test_what_is_given_wrong_changes_nothing(
    site: SiteUnderTest, arguments: tuple[str, ...], code: int, words: str
) -> None:
    before = standing(site)
    done = site.regctl("recipe", "run", "fresh-start", "--yes", *arguments)
    assert (done.exit_code, words in done.stderr) == (code, True), str(done)
    assert standing(site) == before


def test_a_typo_is_an_error_with_its_line(site: SiteUnderTest) -> None:
    path = write(site, "fresh-start", RECIPE.replace("step: restart-service", "step: restart-servise"))
    line = 1 + path.read_text().splitlines().index("          - step: restart-servise")
    expected = f"{path}:{line}:19: items[1].do[0].do[0].step: names no step: 'restart-servise'"
    checked = site.regctl("recipe", "check")
    assert (checked.exit_code, checked.json["result"]) == (10, "config")
    broken = {one["name"]: one["mistakes"] for one in checked.json["recipes"] if one["mistakes"]}
    assert list(broken) == ["fresh-start"]
    assert broken["fresh-start"][0].startswith(expected)
    listed = site.regctl("recipe", "list")
    assert (listed.exit_code, listed.json["result"]) == (3, "warning")
    for command in (("show", "fresh-start"), ("run", "fresh-start", "--yes")):
        done = site.regctl("recipe", *command)
        assert (done.exit_code, expected in done.stderr) == (10, True), str(done)
    path.write_text(RECIPE)
    assert site.ok("recipe", "check", "fresh-start")["result"] == "ok"
    assert site.ok("recipe", "check", str(path))["result"] == "ok"


def test_a_shipped_recipe_for_another_engine_is_refused(site: SiteUnderTest) -> None:
    before = standing(site)
    done = site.regctl("recipe", "run", "upgrade-two-phase", "--yes")
    assert done.exit_code == 6, str(done)
    assert "main is run by the engine distribution; this recipe is for gitlab" in done.stderr
    assert standing(site) == before


def test_a_recipe_that_only_looks_asks_nothing_and_leaves_no_run(site: SiteUnderTest) -> None:
    write(
        site,
        "look",
        "version: 1\nname: look\nsummary: Look\nwhy: before the weekend\n"
        "parameters: {registry: {type: registry, help: which one}}\n"
        "items: [{check: stop-service, with: {registry: $registry, node: here}}]\n",
    )
    runs = len(site.ok("run", "list")["runs"])
    done = site.regctl("recipe", "run", "look")
    assert (done.exit_code, done.json["run"]) in ((0, ""), (3, "")), str(done)
    assert len(site.ok("run", "list")["runs"]) == runs


def test_every_recipe_follows_the_schema_that_is_printed(site: SiteUnderTest) -> None:
    schema = site.ok("recipe", "schema")["json_schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    texts = [path.read_text() for path in (REPOSITORY_ROOT / "recipes").glob("*.yml")]
    assert len(texts) >= 5
    for text in (RECIPE, *texts):
        assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []
    for slip in (
        ("step: restart-service", "step: restart-servise"),
        ("node: $node, grace", "nodes: $node, grace"),
        ("why:", "because:"),
        ("for_each: node", "for_each: nodes"),
    ):
        wrong = yaml.safe_load(RECIPE.replace(*slip))
        assert list(validator.iter_errors(wrong)) != [], slip


def test_a_recipe_that_was_killed_is_resumed(site: SiteUnderTest) -> None:
    before = standing(site)
    with site.start("recipe", "run", "fresh-start", "--yes", output="jsonl") as running:
        assert running.stdout is not None
        for line in running.stdout:  # killed while the registry is closed
            said = json.loads(line)
            if said.get("event") == "step-started" and "restart" in said.get("title", ""):
                break
        os.kill(running.pid, signal.SIGKILL)
    done = site.regctl("run", "resume", "--yes", timeout=120)
    assert done.exit_code == 0, str(done)
    assert done.json["state"] == "done"
    deadline = time.monotonic() + 10
    while standing(site)[:2] != before[:2] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert standing(site)[:2] == before[:2]
    with site.client() as client:
        assert client.repositories() == []


def test_the_wheel_carries_the_recipes(tmp_path: Path) -> None:
    text = (REPOSITORY_ROOT / "pyproject.toml").read_text()
    assert '"recipes" = "ctl/data/recipes"' in text
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "recipes"],
        cwd=REPOSITORY_ROOT,
        capture_output=True,
        text=True,
    )
    names = {Path(name).stem for name in done.stdout.split() if name.endswith(".yml")}
    assert names >= {
        "enable-db-new",
        "import-one-step",
        "import-three-step",
        "revert-to-filesystem",
        "upgrade-two-phase",
    }
