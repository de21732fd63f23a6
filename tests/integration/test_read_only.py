"""`regctl read-only` on real registries of both versions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest
from tests.support.transfer import push_status


@pytest.fixture(
    params=[
        pytest.param("2.8", marks=pytest.mark.registry),
        pytest.param("3.x", marks=pytest.mark.distribution3),
    ]
)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SiteUnderTest]:
    find: Callable[[], str] = programs.docker_registry if request.param == "2.8" else programs.registry3
    with SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry", find())) as site:
        yield site


def push(site: SiteUnderTest, tag: str) -> int:
    """Push an image; return 201, or the status that it was refused with."""
    return push_status(site.server.url, tag)


def standing(site: SiteUnderTest) -> tuple[bytes, int, int, int, list[str]]:
    info = os.stat(site.server.config_file)
    names = sorted(path.name for path in site.server.folder.iterdir())
    return site.server.config_file.read_bytes(), info.st_mode, info.st_uid, info.st_gid, names


def tree_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        digest.update(f"{path} {info.st_mode} {info.st_mtime_ns} {info.st_ino}".encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def test_on_refuses_pushes_until_off_brings_back_the_same_bytes(site: SiteUnderTest) -> None:
    site.server.config_file.write_bytes(b"# by hand\n" + site.server.config_file.read_bytes())
    site.server.config_file.chmod(0o600)
    site.ok("service", "restart", "--yes")
    before = standing(site)
    assert push(site, "one") == 201
    on = site.ok("read-only", "on", "--reason", "disk change", "--yes")
    assert on["result"] == "changed"
    assert push(site, "two") == 405
    (row,) = site.ok("read-only", "status")["nodes"]
    assert (row["config"], row["probe"], row["reason"]) == ("read-only", "read-only", "disk change")
    assert site.ok("read-only", "on", "--yes")["result"] == "nothing-to-do"
    with site.client() as client:
        client.pull("team/app", "one")
    assert site.ok("read-only", "off", "--yes")["result"] == "changed"
    assert push(site, "three") == 201
    assert standing(site) == before
    (row,) = site.ok("read-only", "status")["nodes"]
    assert (row["config"], row["probe"], row["since"], row["kept"]) == ("writable", "writable", None, [])


@pytest.mark.registry
def test_a_dry_run_and_status_write_nothing(tmp_path: Path) -> None:
    with SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry")) as site:
        before = tree_hash(tmp_path)
        shown = site.ok("read-only", "on", "--dry-run")
        assert shown["result"] == "pending"
        assert site.ok("read-only", "off", "--dry-run")["result"] == "nothing-to-do"
        site.ok("read-only", "status")
        assert tree_hash(tmp_path) == before


@pytest.mark.registry
def test_what_is_stopped_stays_stopped(tmp_path: Path) -> None:
    with SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry")) as site:
        site.ok("service", "stop", "--yes")
        before = standing(site)
        (row,) = site.ok("read-only", "on", "--yes")["nodes"]
        assert (row["config"], row["probe"]) == ("read-only", "stopped")
        site.ok("read-only", "off", "--yes")
        assert standing(site) == before
        assert site.regctl("service", "status").json["services"][0]["state"] == "stopped"


@pytest.mark.registry
def test_refusals_have_their_exit_code_and_change_nothing(tmp_path: Path) -> None:
    server = RegistryServer(tmp_path / "registry", read_only=True)
    with SiteUnderTest(tmp_path / "site", server) as site:
        before = standing(site)
        done = site.regctl("read-only", "off", "--yes")
        assert (done.exit_code, done.json["result"]) == (6, "refused")
        assert "not by regctl" in done.stdout + done.stderr
        assert site.ok("read-only", "on", "--yes")["result"] == "nothing-to-do"
        (row,) = site.ok("read-only", "status")["nodes"]
        assert row["by"] == "its own configuration"
        server.config_file.write_bytes(before[0].replace(b"enabled: true", b"enabled: false"))
        status = site.regctl("read-only", "status")
        assert status.exit_code == 3
        assert push(site, "one") == 405


@pytest.mark.registry
def test_debians_broken_users_setting_is_refused_with_the_reason(tmp_path: Path) -> None:
    overlay = {"auth": {"htpasswd": {"realm": "basic-realm", "path": str(tmp_path)}}}
    with SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry", overlay=overlay)) as site:
        before = standing(site)
        done = site.regctl("read-only", "on", "--yes")
        assert done.exit_code == 6
        assert "cannot be proved" in done.stdout + done.stderr
        assert standing(site) == before


@pytest.mark.registry
def test_a_registry_that_dies_of_its_read_only_file_runs_on_its_original_again(tmp_path: Path) -> None:
    wrapper = tmp_path / "registry-wrapper"
    wrapper.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = serve ] && grep -q "readonly" "$2"; then echo "panic: not with me" >&2; exit 2; fi\n'
        f'exec {programs.docker_registry()} "$@"\n'
    )
    wrapper.chmod(0o755)
    server = RegistryServer(tmp_path / "registry")
    with SiteUnderTest(tmp_path / "site", server, binary=str(wrapper)) as site:
        before = standing(site)
        done = site.regctl("read-only", "on", "--yes")
        assert done.exit_code == 1
        assert "is as it was" in done.stdout + done.stderr
        assert standing(site) == before
        assert push(site, "one") == 201


def kill_and_resume(site: SiteUnderTest, number: int) -> bool:
    """Kill `read-only on` after one of the runner's boundaries; resume, then off. False: there is none."""
    before = standing(site)
    done = site.regctl("read-only", "on", "--yes", REGCTL_FAILPOINT=f"{number}:after:kill")
    if done.exit_code == -9:
        if any(run["state"] == "open" for run in site.regctl("run", "list").json["runs"]):
            resumed = site.regctl("run", "resume", "--yes")
            assert resumed.exit_code == 0, str(resumed)
    else:
        assert done.exit_code == 0, str(done)
    site.ok("read-only", "off", "--yes")
    assert standing(site) == before, number
    assert push(site, f"after-{number}") == 201
    return done.exit_code == -9


@pytest.mark.registry
def test_killed_in_the_middle_resume_ends_it(tmp_path: Path) -> None:
    with SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry")) as site:
        assert kill_and_resume(site, 7)


@pytest.mark.soak
@pytest.mark.registry
def test_killed_at_every_boundary_resume_ends_it(tmp_path: Path) -> None:
    with SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry")) as site:
        landed = 0
        while kill_and_resume(site, landed + 1):
            landed += 1
        assert landed >= 5
