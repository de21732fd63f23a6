"""Everyday work on GitLab's registry in filesystem mode: service, status, read-only, offline collection."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.support import programs
from tests.support.collecting import blob_bytes, fill, mode, wrapper
from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.gitlab_collections import collect
from tests.support.images import image
from tests.support.transfer import RefusedByRegistryError

LIVE = [("other", "latest"), ("team/app", "one"), ("team/app", "two")]


@pytest.fixture(scope="module")
def started(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[GitlabSite, Path]]:
    """A registry that runs, filled, and a copy of its storage."""
    require(programs.gitlab_registry)
    folder = tmp_path_factory.mktemp("everyday")
    with GitlabSite(folder / "site", GitlabServer(folder / "registry")) as site:
        assert isinstance(site, GitlabSite)
        fill(site)
        shutil.copytree(site.server.storage, folder / "copy")
        yield site, folder / "copy"


@pytest.fixture
def site(started: tuple[GitlabSite, Path]) -> GitlabSite:
    """The shared site with its storage as it was, running and writable."""
    site, copy = started
    site.ok("service", "start")
    assert mode(site.server) == "writable"
    shutil.rmtree(site.server.storage)
    shutil.copytree(copy, site.server.storage)
    return site


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass through: pytest's are closed."""
    with tempfile.TemporaryDirectory(prefix="regctl-open-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def node(site: GitlabSite) -> dict[str, object]:
    found = site.regctl("status").json["registries"]["main"]["nodes"][0]
    assert isinstance(found, dict)
    return found


def test_the_service_is_driven_and_status_tells(site: GitlabSite) -> None:
    assert {key: node(site)[key] for key in ("state", "listening", "version", "read_only")} == {
        "state": "running",
        "listening": True,
        "version": "4.32.0",
        "read_only": False,
    }
    site.ok("service", "stop", "--yes")
    assert mode(site.server) == "stopped"
    assert node(site)["state"] == "stopped"
    site.ok("service", "restart", "--yes")
    assert mode(site.server) in ("stopped", "writable")
    site.ok("service", "start")
    assert mode(site.server) == "writable"


def test_bytes_freed_are_the_bytes_gone_and_every_tag_still_pulls(site: GitlabSite) -> None:
    before, config = blob_bytes(site), site.server.config_file.read_bytes()
    shown = site.ok("gc", "--dry-run")
    assert blob_bytes(site) == before
    assert isinstance(site.server, GitlabServer)
    theirs = collect(site.server, "--dry-run").stdout
    report = site.ok("gc", "--read-only", "--yes")
    assert report["bytes"] == before - blob_bytes(site) == shown["bytes"] == 2984
    assert '"storage_use_estimate_bytes":2984' in theirs
    assert (report["blobs"], report["put_back"]) == (3, 0)
    assert site.server.config_file.read_bytes() == config
    assert mode(site.server) == "writable"
    with site.client() as client:
        assert sorted(client.pull_everything()) == LIVE
        client.push("team/app", "three", image("three"))
    assert site.ok("gc", "--read-only", "--yes")["result"] == "nothing-to-do"


def test_untagged_images_go_where_that_is_asked(site: GitlabSite) -> None:
    with site.client() as client:
        client.push("moved", "latest", image("first", layers=1))
        client.push("moved", "latest", image("second", layers=1))
    before = blob_bytes(site)
    report = site.ok("gc", "--read-only", "--delete-untagged", "--yes")
    assert (report["manifests"], report["bytes"]) == (1, before - blob_bytes(site))
    assert report["blobs"] == 3 + len(image("first", layers=1).everything())
    with site.client() as client:
        assert sorted(client.pull_everything()) == [("moved", "latest"), *LIVE]


def test_a_link_that_was_emptied_costs_no_live_image(site: GitlabSite) -> None:
    """The program takes all blobs of such an image for garbage and exits 0: its plan is held against ours."""
    victim = image("app one", layers=2)
    revisions = site.server.tree / "repositories" / "team" / "app" / "_manifests" / "revisions" / "sha256"
    (revisions / victim.digest.removeprefix("sha256:") / "link").write_bytes(b"")
    assert isinstance(site.server, GitlabServer)
    alone = collect(site.server, "--dry-run").stdout
    assert victim.digest in alone.partition("finding blobs eligible")[2]  # so alone it would delete it
    held = {path for path in site.server.tree.rglob("data") if path.is_file()}
    done = site.regctl("gc", "--read-only", "--yes")
    kept = {blob for blob in victim.everything() if _data(site, blob) in held}
    assert kept == set(victim.everything())
    assert all(_data(site, blob).is_file() for blob in kept), str(done)
    assert mode(site.server) == "writable"


def _data(site: GitlabSite, digest: str) -> Path:
    name = digest.removeprefix("sha256:")
    return site.server.tree / "blobs" / "sha256" / name[:2] / name / "data"


def test_a_collector_whose_log_is_silenced_is_heard_all_the_same(
    site: GitlabSite, gitlab_server: Callable[..., GitlabServer], tmp_path: Path
) -> None:
    server = gitlab_server(overlay={"log": {"level": "error", "formatter": "text"}})
    shutil.copytree(site.server.storage, server.storage)
    with GitlabSite(tmp_path / "quiet", server) as quiet:
        assert quiet.ok("gc", "--read-only", "--yes")["blobs"] == 3


# -- the faults of the notes that are the engine's ---------------------------------------------------------


def test_fault_12_read_only_is_a_toggle_that_restarts_the_registry_alone_and_proves_it(
    site: GitlabSite,
) -> None:
    config = site.server.config_file.read_bytes()
    others = {pid for _, pid in site.processes()}
    site.ok("read-only", "on", "--yes", "--reason", "test")
    assert mode(site.server) == "read-only"
    changed = site.server.config_file.read_bytes()
    assert changed.replace(b"readonly", b"") != config
    with site.client() as client, pytest.raises(RefusedByRegistryError) as refused:
        client.push("team/app", "late", image("late"))
    assert refused.value.status == 405
    with site.client() as client:
        assert sorted(client.pull_everything()) == LIVE
    assert len({pid for _, pid in site.processes()} - others) == 1  # one process is new: the registry
    site.ok("read-only", "off", "--yes")
    assert mode(site.server) == "writable"
    assert site.server.config_file.read_bytes() == config
    with site.client() as client:
        client.push("team/app", "late", image("late"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("gc", "-m", "/my/config.yml"),
        ("gc", "main", "/my/config.yml", "--dry-run"),
        ("gc", "--delete-untaged", "--dry-run"),
        ("read-only", "on", "main", "/my/config.yml"),
        ("registry", "features", "main", "surplus"),
        ("config", "check", "main", "surplus"),
    ],
)
def test_fault_05_no_argument_is_passed_over(site: GitlabSite, arguments: tuple[str, ...]) -> None:
    before = sorted(site.server.storage.rglob("*"))
    done = site.regctl(*arguments, output="table")
    assert done.exit_code == 2, str(done)
    assert sorted(site.server.storage.rglob("*")) == before
    assert mode(site.server) == "writable"


def test_fault_05_what_will_run_is_shown_before_it_runs(site: GitlabSite) -> None:
    shown = site.regctl("gc", "--dry-run", "--delete-untagged", output="table").stdout
    argv = f"{site.server.binary} garbage-collect --delete-untagged {site.server.config_file}"
    assert argv in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start as another user")
def test_fault_07_the_collector_runs_as_the_services_user_with_its_environment(
    site: GitlabSite, open_folder: Path
) -> None:
    server = GitlabServer(open_folder / "registry")
    shutil.copytree(site.server.storage, server.storage)
    program = shutil.copy(server.binary, open_folder / "registry-program")
    told, variables = open_folder / "told", open_folder / "environment"
    variables.write_text("# of the service\nSSL_CERT_DIR='/etc/ssl/of the registry'\n")
    body = f'case "$1" in serve|garbage-collect) (echo "$1"; id -un; env) >> {told};; esac'
    binary = wrapper(open_folder / "bin", body, real=str(program))
    for path in (server.folder, *server.storage.rglob("*"), server.storage):
        os.chown(path, 65534, -1)
    told.write_text("")
    told.chmod(0o666)

    class Site(GitlabSite):
        def description(self) -> dict[str, object]:
            described = super().description()
            described["registries"]["main"]["nodes"][0] |= {
                "user": "nobody",
                "environment_file": str(variables),
            }
            return described

    with Site(open_folder / "site", server, binary=binary) as other:
        os.chmod(server.config_file, 0o644)
        assert other.ok("gc", "--read-only", "--yes")["blobs"] == 3
    calls = told.read_text().split("garbage-collect\n")[1:]
    assert len(calls) == 2  # its dry run, then its run
    for call in calls:
        lines = call.split("serve\n")[0].splitlines()
        assert lines[0] == "nobody"
        assert "SSL_CERT_DIR=/etc/ssl/of the registry" in lines
        assert "REGISTRY_FF_ENFORCE_LOCKFILES=true" in lines
        assert "REGISTRY_FF_BBM=false" in lines
