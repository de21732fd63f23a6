"""Faults 4 and 9 of the notes: no drift from the program's flags; JSON, run log, lock and progress."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

import pytest

from ctl.commands.registry_import import command
from ctl.engines.gitlab_import import FLAGS
from tests.conftest import require
from tests.gitlab.test_import import IMPORT, make  # noqa: F401 - a fixture
from tests.support import programs
from tests.support.importing import Importing
from tests.support.waiting import wait_until


def help_of(*words: str) -> str:
    """What the program itself says of a command."""
    done = subprocess.run(
        [programs.gitlab_registry(), *words, "--help"], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_fault_04_every_flag_of_the_program_is_known_and_offered() -> None:
    require(programs.gitlab_registry)
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", help_of("database", "import")))
    assert shown == set(FLAGS), "the program's flags have changed: bring FLAGS and the command up to date"
    ours = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    for flag, kind in FLAGS.items():
        if kind == "dry_run":
            assert "--trial" in ours  # --dry-run is regctl's own, which starts nothing
        elif kind not in ("always", "never"):
            assert flag in ours, flag


def test_fault_04_the_call_that_we_make_is_understood(make: Callable[..., Importing]) -> None:  # noqa: F811
    """Each flag in the form in which we write it: a bad one ends with its usage and exit code 1."""
    importing = make(repositories=1, tags=1)
    flags = ("--step-one", "--dry-run", "--row-count", "--pre-import-skip-recent=90s")
    done = importing.bare(
        *flags,
        "--import-statistics=false",
        "--dynamic-media-types=false",
        f"--log-directory={importing.site.folder}",
        "--debug-server=127.0.0.1:0",
    )
    assert done.returncode == 0, done.stderr
    assert "metadata import complete" in done.stdout
    # With a cache that nobody can reach the same import works: it uses none, as it must not.
    cached = {"cache": {"blobdescriptor": "redis"}, **importing.site.server.config()["storage"]}
    importing.site.server.overlay = {"storage": cached, "redis": {"addr": "127.0.0.1:1"}}
    assert importing.bare("--step-one", "--dry-run", "--import-statistics=false").returncode == 0
    gcs = importing.bare("--tag-concurrency=3")
    assert "only compatible with a gcs backed registry storage" in gcs.stderr


def test_fault_09_an_import_has_json_a_journal_a_lock_progress_and_history(
    make: Callable[..., Importing],  # noqa: F811
) -> None:
    importing = make(repositories=12, tags=8)
    site = importing.site
    running = site.start(*IMPORT, "--step", "one", output="jsonl")
    wait_until(lambda: list((site.state_dir / "runs").glob("*import*")), what="its journal", timeout=60)
    second = site.regctl(*IMPORT, "--step", "one")
    out, err = running.communicate()
    assert running.returncode == 0, out + err
    assert second.exit_code in (0, 5), str(second)  # 0 only where the first was over in the meantime
    lines = [json.loads(line) for line in out.splitlines()]
    progress = [line for line in lines if line.get("event") == "progress"]
    assert progress[-1]["done"] == progress[-1]["total"] == 96
    assert all(line["done"] <= line["total"] for line in progress)
    assert any(line["rate"] > 0 for line in progress)
    assert lines[-1]["schema"] == "regctl/registry-import/1"
    shown = site.ok("run", "show", lines[-1]["run"])
    assert [step["step"] for step in shown["steps"]][-1] == "ImportMetadata"
    assert [step["result"] for step in shown["steps"]][-1] in ("changed", "ok")


@pytest.fixture(autouse=True)
def _needs_the_program() -> None:
    require(programs.gitlab_registry)
