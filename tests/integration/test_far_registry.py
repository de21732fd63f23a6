"""A registry on another host, worked on from here: the answers of a local reader, no hand on our own disk.

The host is a real sshd that sees other files at the same paths (tests/support/far_site.py).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctl.catalog.corruption import all_cases
from ctl.catalog.seeding import SeedPlan, seed_tree
from ctl.storage.filesystem import FilesystemStorage
from tests.support.collecting import CollectingSite, fill
from tests.support.far_site import FarSite
from tests.support.images import image
from tests.support.transfer import RefusedByRegistryError
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.registry, pytest.mark.postgres]
NO_PYTHON = """mount --make-rprivate / && for p in /usr/bin/python3*; do
mount --bind /dev/null "$(readlink -f "$p")"; done; exec "$@" """
TIMES = ("seconds", "plan_seconds", "window_seconds", "run", "argv")  # what no two calls have in common


def facts(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key not in TIMES}


def snapshot(root: Path) -> dict[str, tuple[int, ...]]:
    """Every entry below a folder: what a write or a rename there would change."""
    found: dict[str, tuple[int, ...]] = {}
    for path in (root, *sorted(root.rglob("*"))):
        about = path.lstat()
        found[str(path)] = (about.st_ino, about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSite]:
    with FarSite.below(tmp_path_factory.mktemp("far"), database=True) as made:
        fill(made)
        yield made


READS = {
    "copy": (("registry", "import", "--yes"), ("registry", "verify", "--checksums")),
    "tree": (("registry", "preflight"), ("gc", "--dry-run", "--delete-untagged")),
}


@pytest.mark.parametrize("what", READS)
def test_what_is_read_over_the_stream_is_what_a_local_reader_reads(what: str, tmp_path: Path) -> None:
    site = FarSite.below(tmp_path, database=what == "copy")
    site.write()
    twin = site.local_twin(tmp_path)
    twin.write()
    site.far_storage.rmdir()
    plan = SeedPlan(repositories=3, tags_per_repository=4, garbage=30.0)
    seed_tree(str(site.far_storage), plan, [*all_cases()][::3])
    before = snapshot(site.server.folder)
    with site.sshd:
        try:
            if site.database:
                for one in (site, twin):
                    one.ok("database", "migrate", "up", "--yes")
            for words in READS[what]:
                there, here = site.regctl(*words), twin.regctl(*words)
                assert there.exit_code == here.exit_code, f"{words}\n{there}\n{here}"
                assert facts(there.json) == facts(here.json), words
            assert snapshot(site.server.folder) == before
        finally:
            for one in (twin, site):
                one.close()


def settled(site: FarSite) -> dict[str, Any]:
    """What status says of the registry. It waits five seconds for an answer; a busy machine may need more."""
    for _ in range(10):
        registry = site.regctl("status").json["registries"]["main"]
        if registry["storage"]["total_bytes"] and registry["catalog"]["stale"] is not None:
            break
    return dict(registry)


def test_status_looks_at_the_far_tree_and_its_copy(site: FarSite) -> None:
    site.ok("registry", "import", "--yes")
    registry = settled(site)
    assert registry["nodes"][0]["state"] in ("running", "unknown")  # a list of all processes may take longer
    assert registry["storage"]["total_bytes"] == FilesystemStorage(str(site.far_storage)).space().total_bytes
    assert registry["catalog"]["stale"] is False
    with site.client() as client:
        client.push("team/app", "newer", image("newer"))
    assert settled(site)["catalog"]["stale"] is True


def test_a_collection_runs_over_there_in_a_window_proved_by_refused_pushes(site: FarSite) -> None:
    decoy, seen, over = snapshot(site.server.storage), list[int](), threading.Event()

    def push_in_a_loop() -> None:
        while not over.is_set():
            try:
                with site.client() as client:
                    client.push_manifest("team/app", "loop", b"{}", "application/json")
            except RefusedByRegistryError as error:
                seen.append(error.status)
            except OSError:
                seen.append(0)  # restarting
            time.sleep(0.01)

    planned = site.ok("gc", "--dry-run")
    pusher = threading.Thread(target=push_in_a_loop)
    pusher.start()
    try:
        report = site.ok("gc", "--read-only", "--yes")
    finally:
        over.set()
        pusher.join()
    assert report["result"] == "changed"
    assert (report["blobs"], report["bytes"]) == (planned["blobs"], planned["bytes"]) == (3, report["bytes"])
    assert 405 in seen
    assert seen[0] == seen[-1] == 400  # a malformed manifest is refused only where a write is possible
    with site.client() as client:
        assert ("team/app", "one") in client.pull_everything()
        client.push("team/app", "after", image("after"))
    assert not (site.far_storage / ".regctl-aside").exists()
    assert snapshot(site.server.storage) == decoy
    # the control: whoever read this machine's disk at that path would have planned something else
    wrong = CollectingSite(site.folder.parent / "wrong", site.server)
    wrong.write()
    assert wrong.ok("gc", "--dry-run")["bytes"] != report["bytes"]


def test_what_cannot_be_done_from_here_says_where_it_can(site: FarSite) -> None:
    before = snapshot(site.server.storage), snapshot(site.far_storage)
    done = site.regctl("registry", "quarantine", "list")
    assert done.exit_code == 6
    assert "proxy" in done.json["error"]["message"]
    assert "run regctl on proxy" in done.json["error"]["hint"]
    assert (snapshot(site.server.storage), snapshot(site.far_storage)) == before


def generation(site: FarSite) -> Any:
    return settled(site)["catalog"]["generation"]


def readers() -> list[int]:
    """The programs that read a tree for somebody, on any host of this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"python3\0-I\0-S\0-c\0import os\ndef exactly"):
                found.append(int(entry.name))
    return found


def held_import(site: FarSite) -> tuple[subprocess.Popen[bytes], int]:
    """Start an import, and stop the program that reads for it over there; return both."""
    for _ in range(10):
        child = site.start("registry", "import", "--yes")
        while child.poll() is None:
            for reader in readers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(reader, signal.SIGSTOP)
                    if child.poll() is None:
                        return child, reader
        child.communicate()  # it was over before it was seen
    raise AssertionError("no import could be held")


def test_cut_or_killed_in_the_middle_the_copy_keeps_its_generation(site: FarSite) -> None:
    site.ok("registry", "import", "--yes")
    with site.client() as client:
        client.push("team/app", "unseen", image("unseen"))
    child, reader = held_import(site)
    before = generation(site)
    site.sshd.stop()
    _, error = child.communicate(timeout=60)
    os.kill(reader, signal.SIGCONT)
    assert child.returncode == 7, error
    site.sshd.start()
    assert generation(site) == before
    child, reader = held_import(site)
    before = generation(site)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=60)
    os.kill(reader, signal.SIGCONT)
    assert generation(site) == before
    wait_until(lambda: not readers(), what="the program over there to end with its connection")
    report = site.ok("registry", "import", "--yes")
    assert report["generation"] == before + 1
    assert site.ok("registry", "verify")["missing"] == 0


def test_without_python_over_there_all_is_read_and_nothing_collected(tmp_path: Path) -> None:
    site = FarSite.below(tmp_path)
    site.sshd.before = ("unshare", "-m", "sh", "-c", NO_PYTHON, "sh", *site.sshd.before)
    site.write()
    twin = site.local_twin(tmp_path)
    twin.write()
    site.far_storage.rmdir()
    seed_tree(str(site.far_storage), SeedPlan(repositories=2, tags_per_repository=3, garbage=30.0))
    before = snapshot(site.far_storage)
    with site.sshd:
        for words in (("registry", "preflight"), ("gc", "--dry-run")):
            there, here = site.regctl(*words), twin.regctl(*words)
            assert there.exit_code == here.exit_code == 0, f"{words}\n{there}\n{here}"
            told = facts(there.json)
            hints = str(told.pop("hints", ""))
            assert ("live files cannot be kept aside" in hints) is ("gc" in words)
            assert told == facts(here.json), words
        done = site.regctl("gc", "--stopped", "--yes")
        assert done.exit_code == 6, str(done)
        assert "install python3" in done.stderr
    assert snapshot(site.far_storage) == before
