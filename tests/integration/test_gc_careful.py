"""Collections on registries that do not run: what is refused, what stays, and that the report is true."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from ctl.recipes import runs
from tests.support.collecting import (
    GC,
    CollectingSite,
    blob_bytes,
    in_dry_run,
    in_real_run,
    parked,
    running,
    seed,
    tree,
    wrapper,
)

pytestmark = [pytest.mark.registry]
TOLD = "REGCTL_FAILPOINT"


def links(site: CollectingSite, below: str) -> list[Path]:
    return sorted((site.server.tree / "repositories").glob(f"**/{below}/**/link"))


def revision_links(site: CollectingSite, digest: str = "*") -> list[Path]:
    return sorted((site.server.tree / "repositories").glob(f"**/_manifests/revisions/sha256/{digest}/link"))


def test_a_registry_that_nobody_ever_pushed_to_has_nothing_to_collect(tmp_path: Path) -> None:
    with_nothing = running(tmp_path).write()
    done = with_nothing.regctl(*GC)
    assert (done.exit_code, done.json["result"]) == (0, "nothing-to-do"), str(done)
    text = with_nothing.regctl(*GC, output="table")
    assert "holds no blobs" in text.stdout
    (with_nothing.server.tree / "blobs" / "sha256").mkdir(parents=True)
    assert with_nothing.regctl(*GC).exit_code == 6  # blobs, and no repositories: part of it is not there
    shutil.rmtree(with_nothing.server.storage)
    assert with_nothing.regctl(*GC).exit_code == 6  # the whole storage is not there


def test_what_is_in_use_behind_a_symbolic_link_is_never_called_garbage(tmp_path: Path) -> None:
    site = parked(tmp_path)
    folder = min(p for p in (site.server.tree / "repositories").iterdir())
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    before = tree(site)
    for arguments in (("gc", "--dry-run"), GC):
        done = site.regctl(*arguments)
        assert done.exit_code == 6, str(done)
        assert str(folder.relative_to(site.server.storage)) in done.stderr
    assert tree(site) == before


def test_the_report_says_what_went_of_which_repository(tmp_path: Path) -> None:
    site = parked(tmp_path, garbage=0.0)
    doomed = revision_links(site)[0]
    shutil.rmtree(doomed.parent)  # as DELETE does
    for tag in (doomed.parents[3] / "tags").iterdir():
        if (tag / "current" / "link").read_text() == f"sha256:{doomed.parent.name}":
            shutil.rmtree(tag)
    shown = site.regctl("gc", "--dry-run").json
    before = blob_bytes(site)
    report = site.ok(*GC)
    assert report["bytes"] == before - blob_bytes(site) == shown["bytes"] > 0
    assert report["per_repository"] == shown["per_repository"] != []
    assert report["repositories"] == shown["repositories"] == 1
    assert report["opaque_repositories"] == []
    assert list((site.state_dir / "plans").iterdir()) == []
    assert list((site.state_dir / "jobs").iterdir()) == []


def test_a_collection_that_fails_reports_what_went_all_the_same(tmp_path: Path) -> None:
    body = in_real_run('"$real" "$@"; echo broken >&2; exit 7')
    site = parked(tmp_path, wrapper(tmp_path, body))
    before = blob_bytes(site)
    done = site.regctl(*GC)
    assert (done.exit_code, done.json["result"]) == (1, "failed"), str(done)
    assert done.json["bytes"] == before - blob_bytes(site) > 0
    assert "broken" in done.stderr
    assert not (site.server.storage / ".regctl-aside").exists()


def test_a_collector_may_print_more_than_a_command_may(tmp_path: Path) -> None:
    line = "app: marking blob sha256:" + "0" * 64
    site = parked(tmp_path, wrapper(tmp_path, in_dry_run(f"yes '{line}' | head -c 70000000; echo")))
    assert site.ok(*GC)["blobs"] > 0


def test_what_a_collector_leaves_running_is_ended_before_anything_opens(tmp_path: Path) -> None:
    child = f"3{os.getpid()}.5"
    site = parked(tmp_path, wrapper(tmp_path, in_real_run(f"sleep {child} & ")))
    assert site.ok(*GC)["blobs"] > 0
    lines = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not [line for line in lines if child.encode() in line]


def at(site: CollectingSite, name: str) -> int:
    """The number of a boundary of a collection on such a site."""
    told = site.regctl(*GC, REGCTL_FAILPOINT="list").stderr.splitlines()
    return next(int(line.split()[1]) for line in told if line.startswith(TOLD) and line.endswith(name))


def test_what_is_deleted_between_plan_and_window_stays_deleted_and_is_collected(tmp_path: Path) -> None:
    site = parked(tmp_path)
    number = at(site, "apply 1.1.s1 ReadOnly")
    shutil.rmtree(site.server.storage)
    site.server.storage.mkdir()
    seed(site.server.storage)
    killed = site.regctl(*GC, REGCTL_FAILPOINT=f"{number}:before:kill")
    assert killed.exit_code == -signal.SIGKILL
    repository = min(p for p in (site.server.tree / "repositories").iterdir())
    doomed = {p.parent.name for p in repository.glob("**/revisions/sha256/*/link")}
    kept = {p.parent.name for p in revision_links(site) if repository not in p.parents}
    shutil.rmtree(repository)
    resumed = site.regctl("run", "resume", "--yes")
    assert resumed.exit_code == 0, str(resumed)
    stored = {p.parent.name for p in (site.server.tree / "blobs").rglob("data")}
    assert doomed - kept
    assert not (doomed - kept) & stored, "a blob that was deleted on purpose came back"
    assert kept <= stored
    assert "put back:" not in resumed.stderr


def test_a_lost_plan_keeps_no_registry_closed(tmp_path: Path) -> None:
    site = parked(tmp_path, wrapper(tmp_path, ""))
    config = site.server.config_file.read_bytes()
    wrapper(tmp_path, in_real_run(f"rm -rf {site.state_dir}/plans; exit 7"))
    done = site.regctl(*GC)
    assert done.exit_code == 1, str(done)
    assert "cannot be told" in done.stderr
    assert site.server.config_file.read_bytes() == config
    assert not runs.open_runs(str(site.state_dir))


def test_links_that_somebody_removed_keep_the_window_closed(tmp_path: Path) -> None:
    aside = tmp_path / "registry" / "storage" / ".regctl-aside"
    site = parked(tmp_path, wrapper(tmp_path, in_real_run(f"rm -rf {aside}")))
    done = site.regctl(*GC)
    assert done.exit_code == 1, str(done)
    assert "cannot be proved" in done.stderr
    assert "readonly" in site.server.config_file.read_text()
    assert [run.id for run in runs.open_runs(str(site.state_dir))]


@pytest.mark.strace
def test_a_disk_that_gets_full_while_linking_ends_before_the_window(tmp_path: Path) -> None:
    site = parked(tmp_path)
    config, before = site.server.config_file.stat(), tree(site)
    full = ["-P", str(site.server.storage), "-e", "inject=linkat:error=ENOSPC:when=5+"]
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", *full, *site.command("--output", "json", *GC)],
        capture_output=True,
        text=True,
        env=site.environment(),
    )
    assert done.returncode == 1, done.stderr
    assert "No space left" in done.stderr
    assert tree(site) == before
    assert not (site.server.storage / ".regctl-aside").exists()
    assert site.server.config_file.stat().st_mtime_ns == config.st_mtime_ns  # the window never opened
    assert not runs.open_runs(str(site.state_dir))


def test_links_that_another_run_left_are_named_and_stay(tmp_path: Path) -> None:
    site = parked(tmp_path)
    aside = site.server.storage / ".regctl-aside"
    aside.mkdir()
    (aside / "left-by-hand").mkdir()
    done = site.regctl(*GC)
    assert (done.exit_code, done.json["result"]) == (3, "warning"), str(done)
    assert "left-by-hand" in done.stderr
    assert (aside / "left-by-hand").exists()


def test_a_stranger_in_the_way_of_the_links_is_refused(tmp_path: Path) -> None:
    site = parked(tmp_path)
    (site.server.storage / ".regctl-aside").symlink_to(tmp_path)
    assert site.regctl(*GC).exit_code == 6


def test_a_root_behind_a_symbolic_link_is_collected(tmp_path: Path) -> None:
    site = parked(tmp_path)
    site.server.storage.rename(tmp_path / "real")
    site.server.storage.symlink_to(tmp_path / "real")
    assert site.ok(*GC)["blobs"] > 0
    assert not (tmp_path / "real" / ".regctl-aside").exists()
