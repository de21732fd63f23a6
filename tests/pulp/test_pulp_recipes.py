"""The recipes for a Pulp that ship: each run on a real one, and each refused where it must be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.pulp_site import PulpSite
from tests.support.site import Done

UPGRADE = ("recipe", "run", "pre-upgrade-pulp", "--set", "to=2.27.14", "--yes")
# what depends on the machine that the tests run on
SKIPPED = ("--skip", "controller", "--skip-reason", "not of this site")


@pytest.fixture(scope="module")
def site(pulp_lab: PulpLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulpSite]:
    pulp = pulp_lab.clone(Seed(images=6, lists=1, repositories=1))
    with PulpSite(tmp_path_factory.mktemp("recipes") / "site", pulp) as site:
        yield site


def pulp_of(site: PulpSite) -> PulpUnderTest:
    assert site.server is not None
    return site.server


def messages(done: Done) -> str:
    return done.stderr


@pytest.fixture
def package_manager(tmp_path: Path) -> Iterator[str]:
    """A process that looks like a package manager at work."""
    program = tmp_path / "dnf"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([str(program), "600"]) as process:
        yield str(program)
        process.kill()


def test_before_it_is_prepared_the_upgrade_is_refused_and_afterwards_it_is_not(
    site: PulpSite, package_manager: str
) -> None:
    refused = site.regctl(*UPGRADE, *SKIPPED)
    assert (refused.exit_code, refused.json["result"]) == (6, "refused"), str(refused)
    assert "7 manifests" in messages(refused)
    assert f"{package_manager} 600 is at work" in messages(refused)
    busy = site.regctl("recipe", "run", "content-premigration", "--yes")
    assert (busy.exit_code, pulp_of(site).counts().todo) == (6, 7), str(busy)
    assert f"{package_manager} 600 is at work" in messages(busy)


def test_prepared_by_the_recipe_it_may_be_upgraded(site: PulpSite) -> None:
    done = site.regctl("recipe", "run", "content-premigration", "--yes")
    assert (done.exit_code, pulp_of(site).counts().todo) == (0, 0), str(done)
    again = site.regctl("recipe", "run", "content-premigration", "--yes")
    assert (again.exit_code, again.json["result"]) == (0, "nothing-to-do"), str(again)
    ready = site.regctl(*UPGRADE, *SKIPPED)
    assert ready.exit_code == 0, str(ready)
    assert sorted(os.listdir(pulp_of(site).folder / "state" / "regctl-content"))[0].endswith(".jsonl.gz")
