"""`registry preflight` and `registry quarantine` as an operator runs them, over a tree with every damage."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ctl.catalog.corruption import all_cases
from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.embedded import let_pass
from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.postgres import DatabaseAddress
from tests.support.preflight import judge, picture
from tests.support.site import Done

FILE = Path(__file__).parents[1] / "cases" / "gitlab" / "preflight-4.32.0.yaml"
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())
CASES = sorted(set(all_cases()) - {"too-many-descriptors"})
FEW = ["newline-tag-link", "nested-index", "empty-tag-link", "junk-in-blobs"]
MOVE = ("registry", "quarantine", "--yes")


@pytest.fixture
def site(gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress) -> GitlabSite:
    """A site in filesystem mode with a migrated database; its registry is not started."""
    site = gitlab_site(database=migrated_database)
    site.write()
    shutil.rmtree(site.server.storage)
    return site


def seed(site: GitlabSite, cases: list[str], repositories: int = 2) -> Path:
    seed_tree(str(site.server.storage), SeedPlan(repositories, 3, garbage=0), cases)
    return site.server.storage


def run_id(done: Done) -> str:
    found = done.json["run"]
    assert isinstance(found, str)
    assert found
    return found


def without_locks(root: Path) -> dict[str, tuple[Any, ...]]:
    """Take the import's lock files away, which are no part of the tree, and picture the rest."""
    shutil.rmtree(root / "docker/registry/lockfiles", ignore_errors=True)
    found = picture(root)
    del found["docker/registry"]  # its time is that of the lock files' folder
    return found


def test_from_every_damage_to_a_complete_import_and_back(site: GitlabSite) -> None:
    root = seed(site, CASES)
    before = without_locks(root)

    looked = site.regctl("registry", "preflight")
    assert looked.exit_code == 3, looked
    found = looked.json
    assert found["schema"] == "regctl/registry-preflight/1"
    kinds = {one["kind"] for one in found["findings"]}
    for case in CASES:
        assert kinds >= set(EXPECTED[case]["kinds"]), case
    assert found["abort_findings"] == sum(one["effect"] == "abort" for one in found["findings"])
    assert all(one["remedy"] and one["reason"] for one in found["findings"] if one["effect"] != "info")
    assert without_locks(root) == before

    dry = site.regctl("registry", "quarantine", "--dry-run")
    assert (dry.exit_code, dry.json["result"]) == (0, "pending"), dry
    assert dry.json["moves"] == found["moves"] > 40
    assert without_locks(root) == before

    moved = site.regctl(*MOVE)
    assert moved.exit_code == 0, moved
    assert moved.json["moves"] >= dry.json["moves"]
    again = site.regctl("registry", "preflight").json
    assert again["abort_findings"] == again["moves"] == 0

    assert isinstance(site.server, GitlabServer)
    done = site.server.run("database", "import", "--log-to-stdout")
    assert done.returncode == 0, done.stderr[-800:]
    assert '"msg":"metadata import complete"' in done.stdout
    listed = site.ok("registry", "quarantine", "list")["quarantines"]
    assert [one["run"] for one in listed] == [run_id(moved)]
    assert len(listed[0]["entries"]) == moved.json["moves"]

    refused = site.regctl(*MOVE)
    assert refused.exit_code == 6, refused  # the import has set the lock file
    back = site.regctl("registry", "quarantine", "undo", run_id(moved), "--yes")
    assert back.exit_code == 0, back
    assert back.json["schema"] == "regctl/registry-quarantine-undo/1"
    assert back.json["moves"] == moved.json["moves"]
    assert without_locks(root) == before
    assert site.ok("registry", "quarantine", "list")["quarantines"] == []


def test_a_clean_tree_is_exit_0_and_nothing_to_do(site: GitlabSite) -> None:
    root = seed(site, [], 1)
    before = picture(root)
    assert site.ok("registry", "preflight")["result"] == "ok"
    done = site.regctl(*MOVE)
    assert (done.exit_code, done.json["result"]) == (0, "nothing-to-do"), done
    assert picture(root) == before


@pytest.mark.parametrize("evidence", ["lock file", "configuration"])
def test_refused_where_the_metadata_database_is_in_use(site: GitlabSite, evidence: str) -> None:
    root = seed(site, FEW)
    if evidence == "lock file":
        folder = root / "docker/registry/lockfiles"
        folder.mkdir()
        (folder / "database-in-use").write_text('{"version":1}')
    else:
        assert isinstance(site.server, GitlabServer)
        site.server.enabled = True
        site.server.write_config()
    before = picture(root)
    done = site.regctl(*MOVE)
    assert done.exit_code == 6, done
    assert "database" in done.stderr
    assert picture(root) == before


def test_what_was_pushed_meanwhile_stays_and_the_undo_says_so(site: GitlabSite) -> None:
    root = seed(site, FEW)
    moved = site.regctl(*MOVE)
    assert moved.exit_code == 0, moved
    tags = root / "docker/registry/v2/repositories/corrupt/newline-tag-link/_manifests/tags"
    assert not (tags / "good").exists()
    (tags / "good/current").mkdir(parents=True)
    (tags / "good/current/link").write_text("sha256:" + "0" * 64)
    before = picture(root)
    refused = site.regctl("registry", "quarantine", "undo", run_id(moved), "--yes")
    assert refused.exit_code == 6, refused
    assert "there again" in refused.stderr
    assert picture(root) == before
    unknown = site.regctl("registry", "quarantine", "undo", "20200101T000000Z-nobody", "--yes")
    assert unknown.exit_code == 6, unknown
    assert site.regctl("registry", "quarantine", "undo", "../docker", "--yes").exit_code == 2


def boundaries_of(site: GitlabSite, root: Path, before: dict[str, tuple[Any, ...]]) -> list[str]:
    told = site.regctl(*MOVE, REGCTL_FAILPOINT="list")
    assert told.exit_code == 0, told
    assert site.regctl("registry", "quarantine", "undo", run_id(told), "--yes").exit_code == 0
    assert picture(root) == before
    return re.findall(r"^REGCTL_FAILPOINT \d+ (.+)$", told.stderr, re.MULTILINE)


def killed_and_resumed(site: GitlabSite, root: Path, before: dict[str, tuple[Any, ...]], at: str) -> None:
    killed = site.regctl(*MOVE, REGCTL_FAILPOINT=f"{at}:kill")
    assert killed.exit_code != 0
    done = site.regctl(*MOVE)  # a run with nothing irreversible under way is taken over
    if done.exit_code == 5:
        done = site.regctl("run", "resume", "--yes")
    assert done.exit_code == 0, (at, done)
    assert not judge(root).stops
    for one in site.ok("registry", "quarantine", "list")["quarantines"]:
        assert site.regctl("registry", "quarantine", "undo", one["run"], "--yes").exit_code == 0
    assert picture(root) == before, at


def test_killed_beside_its_work_it_is_resumed_and_taken_back(site: GitlabSite) -> None:
    root = seed(site, FEW)
    before = picture(root)
    names = boundaries_of(site, root, before)
    work = next(n for n, name in enumerate(names, 1) if "apply" in name)
    killed_and_resumed(site, root, before, f"{work}:after")


@pytest.mark.soak
def test_killed_at_any_boundary_it_is_resumed_and_taken_back(site: GitlabSite) -> None:
    root = seed(site, FEW)
    before = picture(root)
    for number in range(1, len(boundaries_of(site, root, before)) + 1):
        for when in ("before", "after"):
            killed_and_resumed(site, root, before, f"{number}:{when}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_what_only_the_registrys_user_cannot_read_is_found(site: GitlabSite) -> None:
    root = let_pass(seed(site, [], 1))
    assert site.ok("registry", "preflight")["abort_findings"] == 0
    described = yaml.safe_load(site.site_file.read_text())
    described["registries"]["main"]["nodes"][0]["user"] = "nobody"
    site.site_file.write_text(yaml.safe_dump(described))
    assert site.ok("registry", "preflight")["abort_findings"] == 0
    link = next(root.glob("docker/registry/v2/repositories/**/current/link"))
    link.chmod(0o600)
    done = site.regctl("registry", "preflight")
    assert done.exit_code == 3, done
    found = [one for one in done.json["findings"] if one["effect"] == "abort"]
    assert [(one["kind"], one["path"]) for one in found] == [("unreadable", str(link.relative_to(root)))]
    refused = site.regctl(*MOVE)
    assert refused.exit_code == 6, refused  # rights are mended, not moved
    assert link.exists()


def test_table_and_lines_name_the_worst_first(site: GitlabSite) -> None:
    seed(site, FEW)
    table = site.regctl("registry", "preflight", output="table")
    assert table.exit_code == 3
    assert table.stdout.index("abort") < table.stdout.index("drop")
    lines = site.regctl("registry", "preflight", output="jsonl").stdout.splitlines()
    assert json.loads(lines[-1])["schema"] == "regctl/registry-preflight/1"
    only = site.regctl("registry", "preflight", "--effect", "drop").json
    assert {one["effect"] for one in only["findings"]} == {"drop"}


@pytest.mark.soak
def test_an_import_with_a_quarantine_comes_to_its_end_and_is_taken_back(site: GitlabSite) -> None:
    root = seed(site, CASES)
    before = without_locks(root)
    try:
        site.ok("service", "start")
        refused = site.regctl("registry", "import", "--yes")
        assert refused.exit_code == 6, refused
        assert without_locks(root) == before
        done = site.regctl("registry", "import", "--yes", "--quarantine-bad-entries", timeout=600)
        assert done.exit_code == 3, done  # complete; what it passed over is listed
        foretold = judge(root)
        assert done.json["tags"] == len(foretold.tags)
        for one in site.ok("registry", "quarantine", "list")["quarantines"]:
            assert site.regctl("registry", "quarantine", "undo", one["run"], "--yes").exit_code == 0
        assert without_locks(root) == before
    finally:
        site.close()
