"""A package from outside adds one of everything; one that is broken is named and left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.site import Done
from tests.support.waiting import clean_environment

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "cases"
PIP = (
    f"{sys.executable} -m pip install --quiet --no-deps --no-build-isolation --no-index "
    "--disable-pip-version-check"
).split()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build and install both packages into a folder of their own."""
    target = tmp_path_factory.mktemp("plugins")
    subprocess.run(
        [*PIP, "--target", str(target), str(CASES / "plugin-package"), str(CASES / "broken-plugin")],
        check=True,
        capture_output=True,
    )
    return target


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site whose registry is of the plugin's engine, on the plugin's storage."""
    description = {
        "version": 1,
        "state_dir": str(tmp_path / "state"),
        "hosts": {"here": {"connection": "local"}},
        "registries": {
            "main": {
                "engine": "shelf",
                "boards": 4,
                "storage": {"board": {"files": ["b", "a"]}},
                "nodes": [
                    {
                        "host": "here",
                        "binary": "/usr/bin/docker-registry",
                        "config_file": str(tmp_path / "config.yml"),
                        "url": "http://127.0.0.1:9",
                        "service": {"kind": "process", "name": "shelf"},
                    }
                ],
            }
        },
    }
    path = tmp_path / "site.yml"
    path.write_text(yaml.safe_dump(description))
    return path


def regctl(installed: Path, *arguments: str, site: Path | None = None) -> Done:
    environment = clean_environment(
        PYTHONPATH=os.pathsep.join([str(installed), str(ROOT)]),
        REGCTL_SITE=str(site or installed / "no-site.yml"),
    )
    done = subprocess.run(
        [sys.executable, "-m", "ctl", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        cwd=installed,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_the_list_says_what_each_package_adds(installed: Path) -> None:
    done = regctl(installed, "plugin", "list", "--output", "json")
    assert done.exit_code == 3, "a broken plugin is a finding"
    plugins = {plugin["name"]: plugin for plugin in done.json["plugins"]}
    assert list(plugins) == ["builtin", "broken", "example"]
    example = plugins["example"]
    assert (example["package"], example["version"], example["state"]) == ("regctl-example", "1.2.3", "ok")
    assert example["adds"] == {
        "commands": ["shelf"],
        "engines": ["shelf"],
        "steps": ["leave-note"],
        "storage_drivers": ["board"],
        "report_formats": ["shout"],
        "recipes": ["note"],
        "resources": ["shelf"],
    }
    broken = plugins["broken"]
    assert (broken["package"], broken["version"], broken["state"]) == ("regctl-broken", "0.9", "broken")
    assert broken["reason"] == "ModuleNotFoundError: No module named 'a_library_that_nobody_has'"
    assert "plugin broken of regctl-broken is left out" in done.stderr


def test_its_command_has_its_line_in_the_help(installed: Path) -> None:
    done = regctl(installed, "--help")
    assert "  shelf            Look at a shelf, and leave a note on it\n" in done.stdout
    assert "  wreck            A command that was written for another world\n" in done.stdout


def test_its_engine_and_storage_are_used(installed: Path, site: Path) -> None:
    done = regctl(installed, "shelf", "show", "--output", "json", site=site)
    assert done.exit_code == 0, str(done)
    assert (done.json["engine"], done.json["files"]) == ("shelf", ["a", "b"])


def test_without_the_package_the_site_is_refused(site: Path, tmp_path: Path) -> None:
    done = regctl(tmp_path, "status", site=site)
    assert done.exit_code == 10
    assert "distribution" in done.stderr
    assert "filesystem" in done.stderr


def test_its_settings_are_checked_like_ours(installed: Path, site: Path) -> None:
    site.write_text(site.read_text().replace("boards: 4", "boards: many").replace("files:", "fils:"))
    done = regctl(installed, "shelf", "show", site=site)
    assert done.exit_code == 10
    assert "registries.main.boards" in done.stderr
    assert "files" in done.stderr


def test_its_recipe_runs_with_everything_around_it(installed: Path, site: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    line = ("shelf", "note", str(note), "hello")
    silent = regctl(installed, *line, site=site)
    assert silent.exit_code == 2, "no terminal and no --yes"
    dry = regctl(installed, *line, "--dry-run", "--output", "json", site=site)
    assert (dry.exit_code, dry.json["result"]) == (0, "pending")
    assert not note.exists()
    assert not (tmp_path / "state").exists()
    done = regctl(installed, "--yes", *line, "--output", "json", site=site)
    assert (done.exit_code, done.json["result"], done.json["characters"]) == (0, "changed", 5)
    assert note.read_text() == "hello"
    again = regctl(installed, "--yes", *line, "--output", "json", site=site)
    assert again.json["result"] == "nothing-to-do"
    shown = regctl(installed, "run", "show", done.json["run"], "--output", "json", site=site)
    assert shown.json["state"] == "done"


def test_its_template_is_rendered(installed: Path, tmp_path: Path, site: Path) -> None:
    text = site.read_text().replace(
        "board:\n        files:\n        - b\n        - a", "filesystem: {rootdirectory: /srv}"
    )
    site.write_text(text)
    done = regctl(installed, "config", "render", site=site)
    assert done.exit_code == 0, str(done)
    assert "# a shelf, as its plugin writes it" in done.stdout
    assert "level: warn" in done.stdout


def test_its_report_format_is_used(installed: Path) -> None:
    done = regctl(installed, "version", "--output", "shout")
    assert (done.exit_code, done.stdout) == (0, "VERSION OK\n")
    failed = regctl(installed, "status", "--output", "shout")
    assert failed.exit_code == 10
    assert "THERE IS NO SITE FILE" in failed.stderr


def test_the_broken_one_takes_nothing_down(installed: Path) -> None:
    done = regctl(installed, "wreck", "--output", "json")
    assert done.exit_code == 1
    assert done.json["error"]["message"] == "the command 'wreck' of regctl-broken 0.9 cannot be loaded"
    assert "a_library_that_nobody_has" in done.json["error"]["details"][0]
    assert "Traceback" not in done.stderr
    assert regctl(installed, "version").exit_code == 0


def test_doctor_names_the_broken_one(installed: Path) -> None:
    findings = regctl(installed, "doctor", "--output", "json").json["findings"]
    (broken,) = [finding for finding in findings if finding["check"] == "plugins"]
    assert broken["level"] == "error"
    assert "regctl-broken 0.9" in broken["message"]
