"""Collections on a real registry: what is live survives, and everything is as open as it was before."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.catalog.digests import blob_path, revision_path
from tests.support.collecting import (
    CollectingSite,
    blob_bytes,
    fill,
    in_real_run,
    read_error,
    running,
    tree,
    wrapper,
)
from tests.support.images import image
from tests.support.registry import RegistryServer
from tests.support.transfer import RefusedByRegistryError

pytestmark = [pytest.mark.registry]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CollectingSite, Path]]:
    """A registry that runs, filled, and a copy of its storage."""
    folder = tmp_path_factory.mktemp("gc")
    with running(folder) as site:
        fill(site)
        shutil.copytree(site.server.storage, folder / "copy")
        yield site, folder / "copy"


@pytest.fixture
def site(started: tuple[CollectingSite, Path]) -> CollectingSite:
    """The shared site, its storage as it was (the registry has no cache); it must be open, as it was."""
    site, copy = started
    if site.mode() == "stopped":
        site.ok("service", "start")
    assert site.mode() == "writable"
    shutil.rmtree(site.server.storage)
    shutil.copytree(copy, site.server.storage)
    return site


def states(site: CollectingSite) -> dict[str, object]:
    node = site.regctl("status").json["registries"]["main"]["nodes"][0]
    return {key: node[key] for key in ("state", "listening", "read_only")}


def test_bytes_freed_are_the_bytes_gone_and_every_tag_still_pulls(site: CollectingSite) -> None:
    before, config = blob_bytes(site), site.server.config_file.read_bytes()
    shown = site.ok("gc", "--dry-run")
    assert blob_bytes(site) == before
    report = site.ok("gc", "--read-only", "--yes")
    assert report["result"] == "changed"
    assert report["bytes"] == before - blob_bytes(site) == shown["bytes"] > 0
    assert report["blobs"] == shown["blobs"] == 3
    assert report["put_back"] == 0
    assert site.server.config_file.read_bytes() == config
    assert states(site) == {"state": "running", "listening": True, "read_only": False}
    assert site.mode() == "writable"
    with site.client() as client:
        assert sorted(client.pull_everything()) == [
            ("other", "latest"),
            ("team/app", "one"),
            ("team/app", "two"),
        ]
        client.push("team/app", "three", image("three"))
    assert not (site.server.storage / ".regctl-aside").exists()
    again = site.ok("gc", "--read-only", "--yes")
    assert again["result"] == "nothing-to-do"


def test_a_push_is_refused_inside_the_window_and_taken_after_it(site: CollectingSite) -> None:
    seen: list[int] = []
    over = threading.Event()

    def push_in_a_loop() -> None:
        number = 0
        while not over.is_set() and number < 2000:
            number += 1
            try:
                with site.client() as client:
                    client.push_manifest("team/app", "loop", b"{}", "application/json")
            except RefusedByRegistryError as error:
                seen.append(error.status)
            except OSError:
                seen.append(0)  # restarting
            time.sleep(0.01)

    pusher = threading.Thread(target=push_in_a_loop)
    pusher.start()
    try:
        site.ok("gc", "--read-only", "--yes")
    finally:
        over.set()
        pusher.join()
    assert 405 in seen
    assert seen[0] == seen[-1] == 400  # a malformed manifest is refused only where a write is possible
    with site.client() as client:
        client.push("team/app", "after", image("after"))


def with_read_error(tmp_path: Path, *, also_in_dry_run: bool = False) -> CollectingSite:
    """A site whose collector cannot find the link of a live image once."""
    site = running(tmp_path)
    victim = image("app one", layers=2)
    fault = read_error(str(site.server.storage / revision_path("team/app", victim.digest)))
    body = f'case "$*" in *garbage-collect*) {fault};; esac' if also_in_dry_run else in_real_run(fault)
    site.binary = wrapper(tmp_path, body)
    return site


@pytest.mark.strace
def test_what_the_collector_takes_after_one_read_error_is_put_back(tmp_path: Path) -> None:
    with with_read_error(tmp_path) as site:
        fill(site)
        before = blob_bytes(site)
        report = site.regctl("gc", "--read-only", "--yes")
        assert report.exit_code in (0, 3), str(report)
        assert report.json["put_back"] > 0, "the fault did not make the collector take anything live"
        assert report.json["bytes"] == before - blob_bytes(site)
        assert any("blobs/sha256" in path for path in report.json["put_back_paths"])
        with site.client() as client:
            assert len(client.pull_everything()) == 3
            client.push("team/app", "after", image("after"))


@pytest.mark.strace
def test_positive_control_the_collector_alone_loses_live_blobs_with_exit_0(tmp_path: Path) -> None:
    import subprocess

    with with_read_error(tmp_path) as site:
        fill(site)
        done = subprocess.run(
            [site.binary, "garbage-collect", str(site.server.config_file)], capture_output=True
        )
        assert done.returncode == 0
        lost = [d for d in image("app one", layers=2).everything() if not stored(site, d)]
        assert lost, "the injected fault does not bite, so the test beside this one proves nothing"


def stored(site: CollectingSite, digest: str) -> bool:
    return (site.server.storage / blob_path(digest)).exists()


@pytest.mark.strace
def test_a_dry_run_that_would_take_live_blobs_stops_the_run(tmp_path: Path) -> None:
    with with_read_error(tmp_path, also_in_dry_run=True) as site:
        fill(site)
        before = tree(site)
        done = site.regctl("gc", "--read-only", "--yes")
        assert (done.exit_code, done.json["result"]) == (6, "refused"), str(done)
        assert "in use" in done.stderr + done.stdout
        assert tree(site) == before
        assert site.mode() == "writable"


def test_untagged_mode_on_2_8_never_takes_the_children_of_a_tagged_index(site: CollectingSite) -> None:
    before = tree(site)
    done = site.regctl("gc", "--read-only", "--delete-untagged", "--yes")
    assert done.exit_code == 6, str(done)
    assert tree(site) == before
    with site.client() as client:
        assert len(client.pull_everything()) == 3


def test_untagged_manifests_go_and_tagged_ones_stay(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        with site.client() as client:
            old, new = image("old", layers=1), image("new", layers=2)
            client.push("app", "latest", old)
            client.push("app", "latest", new)
        before = blob_bytes(site)
        report = site.ok("gc", "--stopped", "--delete-untagged", "--yes")
        assert (report["manifests"], report["blobs"]) == (1, 3)
        assert report["bytes"] == before - blob_bytes(site)
        assert not stored(site, old.digest)
        with site.client() as client:
            assert client.pull("app", "latest").manifests == {new.digest}


def test_what_was_stopped_stays_stopped_and_is_still_collected(site: CollectingSite) -> None:
    site.ok("service", "stop", "--yes")
    before = blob_bytes(site)
    report = site.ok("gc", "--stopped", "--yes")
    assert report["bytes"] == before - blob_bytes(site) > 0
    assert site.mode() == "stopped"


def test_what_was_read_only_stays_read_only(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        fill(site)
        site.ok("read-only", "on", "--reason", "a test", "--yes")
        config = site.server.config_file.read_bytes()
        assert site.ok("gc", "--read-only", "--yes")["blobs"] == 3
        assert site.mode() == "read-only"
        assert site.server.config_file.read_bytes() == config


def test_a_redis_cache_is_refused_with_the_reason(tmp_path: Path) -> None:
    overlay = {
        "storage": {"cache": {"blobdescriptor": "redis"}},
        "redis": {"addr": "127.0.0.1:1", "dialtimeout": "10ms"},
    }
    site = CollectingSite(tmp_path / "site", RegistryServer(tmp_path / "registry", overlay=overlay))
    site.write().server.tree.mkdir(parents=True)
    done = site.regctl("gc", "--read-only", "--yes")
    assert done.exit_code == 6
    assert "Redis" in done.stderr + done.stdout


def test_no_window_named_or_no_confirmation_changes_nothing(site: CollectingSite) -> None:
    before = tree(site)
    assert site.regctl("gc").exit_code == 2
    assert site.regctl("gc", "--read-only").exit_code == 2
    assert tree(site) == before


def test_an_entry_that_stops_the_collector_is_named_and_everything_opens_again(site: CollectingSite) -> None:
    link = next((site.server.tree / "repositories/other/_manifests/revisions/sha256").iterdir()) / "link"
    good = link.read_bytes()
    link.write_bytes(b"")
    before = tree(site)
    done = site.regctl("gc", "--read-only", "--yes")
    assert done.exit_code in (1, 6), str(done)
    assert tree(site) == before
    assert site.mode() == "writable"
    link.write_bytes(good)
    os.sync()
    assert site.ok("gc", "--read-only", "--yes")["blobs"] == 3
