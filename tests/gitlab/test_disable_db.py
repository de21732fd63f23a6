"""There and back: a registry leaves its metadata database without losing anything, and enters it again."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ctl.catalog.digests import blob_path
from ctl.recipes import runs
from tests.support.collecting import mode
from tests.support.enabling import LOCKS, files, header
from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.gitlab_content import (
    FAST_GC,
    Content,
    collect_online,
    database_tags,
    imported,
    rows,
    second_content,
    served,
)
from tests.support.images import image
from tests.support.postgres import DatabaseAddress
from tests.support.put_back import Kept
from tests.support.transfer import Client

MakeServer = Callable[..., GitlabServer]
MakeSite = Callable[..., GitlabSite]


def on_database(make: MakeSite, database: DatabaseAddress, **overlay: Any) -> tuple[GitlabSite, Content]:
    """A site whose registry was filled, imported and switched by hand; not started."""
    site = make(database=database)
    server = site.server
    assert isinstance(server, GitlabServer)
    _, content = imported(lambda name, **_: server, database)
    server.enabled = True
    server.overlay = dict(overlay)
    server.write_config()
    lock = server.storage / "docker/registry/lockfiles/database-in-use"
    assert lock.exists()
    return site, content


def without_files_of_manifests(site: GitlabSite, content: Content) -> None:
    """Delete what online collection deletes after step three: the files of manifests."""
    for one in content.tags.values():
        for part in (one, *one.children):
            (site.server.storage / blob_path(part.digest)).unlink(missing_ok=True)


def served_by_the_tree(site: GitlabSite, folder: Path) -> set[tuple[str, str]]:
    """What the real registry serves from a copy of the storage in filesystem mode, as it stands."""
    other = GitlabServer(folder)
    shutil.copytree(site.server.storage, other.storage)
    shutil.rmtree(other.storage / "docker/registry/lockfiles")
    found = set()
    with other, Client(other.url) as client:
        for repository, tag in client.every_tag():
            with contextlib.suppress(AssertionError):
                client.pull(repository, tag)
                found.add((repository, tag))
    return found


def test_fault_14_the_way_back_pairs_tree_and_database_loses_nothing_and_leads_there_again(
    gitlab_site: MakeSite, migrated_database: DatabaseAddress, tmp_path: Path
) -> None:
    site, content = on_database(gitlab_site, migrated_database, **FAST_GC)
    with site:
        with site.client() as client:
            second_content(client, content)
        collect_online(site.server.storage, migrated_database)
        wanted = {key: one.digest for key, one in content.tags.items()}
        assert database_tags(migrated_database) == wanted
        assert not (site.server.storage / blob_path(wanted["group/app", "v2"])).exists()
        # without what follows the tree has lost them all: this is what makes the rest of this test worth it
        assert served_by_the_tree(site, tmp_path / "control") == set()

        done = site.ok("disable-db", "--yes", "--pull", "all")
        assert (done["result"], done["backend"], done["differences"]) == ("changed", "filesystem", 0)
        assert done["prepared_payloads"] > 0
        assert done["pulled_tags"] == len(wanted)
        assert served(site.server.url).keys() == wanted.keys()
        with site.client() as client:
            for (repository, tag), digest in wanted.items():
                assert client.manifest(repository, tag)[1] == digest
            assert sorted(client.repositories()) == sorted({repository for repository, _ in wanted})
            content.push(client, "group/app", "after", image("after"))  # and it takes pushes again
        assert site.ok("disable-db", "--yes")["result"] == "nothing-to-do"

        assert site.regctl("gc", "--read-only", "--yes").exit_code == 6  # the database still holds rows
        again = site.regctl("enable-db", "--import", "one-step", "--yes")
        assert again.exit_code == 6
        assert "disable-db --empty-database" in again.stderr
        assert "changed" not in again.stderr  # told before anything is closed
        emptied = site.ok("disable-db", "--empty-database", "--yes")
        assert emptied["emptied_tags"] == len(wanted)
        assert database_tags(migrated_database) == {}
        site.ok("enable-db", "--import", "one-step", "--yes", timeout=300)
        assert database_tags(migrated_database) == {k: one.digest for k, one in content.tags.items()}
        verified = site.regctl("registry", "verify", "--api", "--pull", "all")
        assert verified.exit_code == 0, verified


def test_refusals_dry_runs_and_failures_leave_the_registry_on_its_database(
    gitlab_site: MakeSite, migrated_database: DatabaseAddress
) -> None:
    site, content = on_database(gitlab_site, migrated_database)
    with site:
        with site.client() as client:
            second_content(client, content)
        without_files_of_manifests(site, content)
        before = state(site)
        dry = site.ok("disable-db", "--dry-run")
        assert (dry["tags"], dry["taken_out_tags"]) == (5, 3)
        assert state(site) == before
        refused = site.regctl("disable-db", "--empty-database", "--yes")
        assert refused.exit_code == 6, refused
        assert "disable-db main` leads back" in refused.stdout + refused.stderr

        lost = content.tags["group/app", "v2"].layers[0]
        path = site.server.storage / blob_path(lost.digest)
        path.rename(path.with_name("hidden"))
        refused = site.regctl("disable-db", "--yes")
        assert refused.exit_code == 6, refused
        assert "group/app:latest, group/app:v2" in refused.stdout + refused.stderr
        path.with_name("hidden").rename(path)
        assert state(site) == before

        path.write_bytes(bytes(reversed(lost.data)))  # no size tells: the pull in the window finds it
        failed = site.regctl("disable-db", "--yes", "--pull", "all")
        assert failed.exit_code == 1, failed
        assert lost.digest in failed.stdout + failed.stderr
        path.write_bytes(lost.data)
        assert (header(site.server), mode(site.server)) == ("true", "writable")
        assert locks(site) == ["database-in-use"]
        now = state(site)
        assert now["config"] == before["config"]
        assert before["tree"].items() <= now["tree"].items()  # what was taken out is back
        assert served(site.server.url).keys() == content.tags.keys()

        run = site.ok("disable-db", "--yes")["run"]  # and then it works
        gone = "repositories/other/gone/_manifests/tags/only"
        assert not (site.server.tree / gone).exists()
        assert site.ok("disable-db", "--undo", run, "--yes")["restored"] > 0
        assert (site.server.tree / gone / "current/link").exists()
        assert site.regctl("disable-db", "--undo", "nothing", "--yes").exit_code == 6


def test_the_database_is_emptied_only_when_the_tree_holds_what_it_does(
    gitlab_site: MakeSite, migrated_database: DatabaseAddress
) -> None:
    site, content = on_database(gitlab_site, migrated_database)
    assert isinstance(site.server, GitlabServer)
    site.server.enabled = False
    site.server.write_config()
    folder = site.server.storage / "docker/registry/lockfiles"
    (folder / "database-in-use").rename(folder / "filesystem-in-use")
    with site:
        tag = site.server.tree / "repositories/group/app/_manifests/tags/v0"
        tag.rename(tag.with_name("hidden"))
        refused = site.regctl("disable-db", "--empty-database", "--yes")
        assert refused.exit_code == 6, refused
        assert "1 tags" in refused.stdout + refused.stderr
        assert len(database_tags(migrated_database)) == len(content.tags)
        site.ok("disable-db", "--empty-database", "--yes", "--accept-data-loss")
        assert database_tags(migrated_database) == {}
        assert rows(migrated_database, "SELECT count(*) FROM schema_migrations")[0][0] > 100
        assert site.ok("disable-db", "--empty-database", "--yes")["result"] == "nothing-to-do"


def state(site: GitlabSite) -> dict[str, Any]:
    """All that must not change: the tree but for our own folder, the configuration, the lock files."""
    tree = {
        k: v for k, v in files(site.server.storage).items() if "/regctl-tree" not in k and not k.endswith("/")
    }
    return {"tree": tree, "config": site.server.config_file.read_bytes()}


def locks(site: GitlabSite) -> list[str]:
    """The lock files."""
    return sorted(path.name for path in (site.server.storage / LOCKS).iterdir())


class Trial:
    """One registry on its database, put back before each kill. The database itself is never changed."""

    def __init__(self, site: GitlabSite, content: Content) -> None:
        self.site, self.content = site, content
        self.kept = Kept(site)

    def reset(self) -> None:
        """Put back storage, file and what the site remembers."""
        site = self.site
        self.kept.put_back()
        site.ok("service", "start")

    def boundaries(self) -> list[str]:
        """Run it to its end and name the boundaries that it passed."""
        done = self.site.regctl("disable-db", "--yes", REGCTL_FAILPOINT="list", timeout=300)
        assert done.exit_code == 0, str(done)
        return [line.split(" ", 2)[2] for line in done.stderr.splitlines() if line.startswith("REGCTL_FAIL")]

    def kill_and_resume(self, number: int, when: str) -> str:
        """Kill a run at a boundary, resume, and say on which backend it ended; nothing may be lost."""
        site = self.site
        self.reset()
        killed = site.regctl("disable-db", "--yes", REGCTL_FAILPOINT=f"{number}:{when}:kill", timeout=300)
        if killed.exit_code != -signal.SIGKILL:
            return "not hit"
        if mode(site.server) == "writable":  # whoever pushes now must not push into what is left behind
            assert (header(site.server), locks(site)) in (
                ("true", ["database-in-use"]),
                ("false", ["filesystem-in-use"]),
            )
        if runs.open_runs(str(site.state_dir)):
            resumed = site.regctl("run", "resume", "--yes", timeout=300)
            assert resumed.exit_code == 0, str(resumed)
        assert mode(site.server) == "writable"
        backend = {"true": "database", "false": "filesystem"}[header(site.server)]
        assert locks(site) == [f"{backend}-in-use"]
        assert served(site.server.url).keys() == self.content.tags.keys()
        return backend


@pytest.fixture
def trial(gitlab_site: MakeSite, migrated_database: DatabaseAddress) -> Iterator[Trial]:
    """A registry with changes since the switch and without the files of its manifests."""
    site, content = on_database(gitlab_site, migrated_database)
    with site:
        with site.client() as client:
            second_content(client, content)
        without_files_of_manifests(site, content)
        yield Trial(site, content)


def sweep(trial: Trial, chosen: Callable[[int, str], bool]) -> dict[str, str]:
    """Kill at each chosen boundary, before and after; say how each ended."""
    ended = {}
    for number, name in enumerate(trial.boundaries(), 1):
        for when in ("before", "after"):
            if not chosen(number, f"{when} {name}"):
                continue
            try:
                ended[f"{number} {when} {name}"] = trial.kill_and_resume(number, when)
            except AssertionError as error:
                raise AssertionError(f"killed {when} boundary {number} ({name}): {error}") from error
    return ended


def test_killed_where_it_matters_most_a_resume_ends_on_the_tree_with_everything(trial: Trial) -> None:
    """The tree is half in line; the nodes are switched, nothing is proved; accepted, nothing is opened."""

    def chosen(number: int, name: str) -> bool:
        kind, _, rest = name.partition(" ")
        applied = rest.startswith("apply") and rest.endswith(("WriteTree", "SwitchBackend"))
        return (kind == "after" and applied) or (kind == "before" and rest.startswith("leave"))

    ended = sweep(trial, chosen)
    assert len(ended) == 3, ended
    assert set(ended.values()) == {"filesystem"}, ended


@pytest.mark.soak
def test_killed_at_every_boundary_nothing_is_lost(trial: Trial) -> None:
    ended = sweep(trial, lambda number, name: True)
    for name, backend in ended.items():
        print(f"{name}: {backend}")
    assert len(ended) > 40
    assert set(ended.values()) <= {"filesystem", "database", "not hit"}
