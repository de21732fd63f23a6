"""Collections on distribution 3.x: index children stay, signatures stay, layer links come back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ctl.catalog.digests import layer_path, revision_path
from tests.support import programs
from tests.support.collecting import (
    GC,
    CollectingSite,
    blob_bytes,
    fill,
    in_real_run,
    read_error,
    running,
    shared,
    tree,
    wrapper,
)
from tests.support.images import image, multi_arch, referrer

pytestmark = [pytest.mark.distribution3]
UNTAGGED = (*GC, "--delete-untagged")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CollectingSite, Callable[[], None]]]:
    folder = tmp_path_factory.mktemp("gc-3")
    site = running(folder, real=programs.registry3())
    with shared(site, folder / "copy") as reset:
        yield site, reset


@pytest.fixture
def site(started: tuple[CollectingSite, Callable[[], None]]) -> CollectingSite:
    started[1]()
    return started[0]


def test_children_of_tagged_indexes_stay_and_untagged_manifests_go(site: CollectingSite) -> None:
    with site.client() as client:
        client.push("app", "latest", image("old", layers=1))
        client.push("app", "latest", image("new", layers=2))
    before = blob_bytes(site)
    shown = site.ok("gc", "--dry-run")
    assert shown["bytes"] > 0
    report = site.ok(*GC)
    assert report["bytes"] == shown["bytes"] == before - blob_bytes(site)
    assert report["put_back"] == 0
    before = blob_bytes(site)
    untagged = site.ok(*UNTAGGED)
    assert (untagged["manifests"], untagged["blobs"], untagged["put_back"]) == (1, 3, 0)
    assert untagged["bytes"] == before - blob_bytes(site)
    assert site.mode() == "writable"
    with site.client() as client:
        pulled = client.pull_everything()
        assert len(pulled) == 4
        assert len(pulled["other", "latest"].manifests) == len(multi_arch("other").children) + 1


def test_a_signature_that_the_collector_would_take_stops_the_run(site: CollectingSite) -> None:
    with site.client() as client:
        client.push("team/app", None, referrer("signed", image("app one", layers=2)))
    before = tree(site)
    done = site.regctl(*UNTAGGED)
    assert (done.exit_code, done.json["result"]) == (6, "refused"), str(done)
    assert tree(site) == before
    assert site.mode() == "writable"


@pytest.mark.strace
def test_after_a_read_error_blobs_and_layer_links_come_back(tmp_path: Path) -> None:
    site = running(tmp_path, real=programs.registry3())
    victim = image("app one", layers=2)
    link = site.server.storage / revision_path("team/app", victim.digest)
    site.binary = wrapper(tmp_path, in_real_run(read_error(str(link))), programs.registry3())
    with site:
        fill(site)
        before = blob_bytes(site)
        done = site.regctl(*GC)
        assert done.exit_code == 3, str(done)
        paths = done.json["put_back_paths"]
        assert any("/blobs/" in path for path in paths)
        assert any(path == layer_path("team/app", victim.layers[0].digest) for path in paths)
        assert done.json["bytes"] == before - blob_bytes(site)
        with site.client() as client:
            assert len(client.pull_everything()) == 3


def test_a_tag_that_moved_before_the_window_is_kept_where_it_points_now(site: CollectingSite) -> None:
    """The 3.x registry replaces the file of a tag; what was linked aside before is another file."""
    with site.client() as client:
        old, new = image("old", layers=1), image("new", layers=1)
        client.push("app", "latest", old)
        client.push("app", "other", new)
        client.push("app", "gone", old)
    killed = site.regctl(*UNTAGGED, REGCTL_FAILPOINT="10:before:kill")  # before the node is closed
    assert killed.exit_code == -signal.SIGKILL
    assert (site.server.storage / ".regctl-aside").exists()
    assert site.mode() == "writable"
    with site.client() as client:
        client.push("app", "latest", new)
        client.request("DELETE", "/v2/app/manifests/gone")
    resumed = site.regctl("run", "resume", "--yes")
    assert resumed.exit_code == 0, str(resumed)
    with site.client() as client:
        assert sorted(client.tags("app")) == ["latest", "other"]
        assert client.pull("app", "latest").manifests == {new.digest}
    assert not (site.server.storage / revision_path("app", old.digest)).exists()
