"""Lock files have an owner: evidence, a proposal, a repair refused where it would mislead, and undo."""

from __future__ import annotations

from collections.abc import Callable

import yaml

from tests.support.gitlab import GitlabSite
from tests.support.gitlab_state import UNLOCKED, lock, lock_folder, locks, push_some, put_to, server_of
from tests.support.postgres import DatabaseAddress
from tests.support.site import SiteUnderTest


def show(site: SiteUnderTest, exit_code: int) -> dict[str, object]:
    done = site.regctl("lockfiles", "show")
    assert done.exit_code == exit_code, str(done)
    assert done.json["schema"] == "regctl/lockfiles-show/1"
    return done.json


def test_fault_11_lock_files_are_repaired_by_evidence_and_the_repair_is_taken_back_by_its_run(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    with gitlab_site(database=migrated_database, enabled=True, settings=UNLOCKED) as site:
        push_some(site, 2)
        found = show(site, 3)  # the program writes no lock file without its feature flag
        assert found["mode"] == "database"
        assert found["fits"] is False
        assert found["lock_files"] == {"database_in_use": False, "filesystem_in_use": False}
        assert found["proposed"] == {"database_in_use": True, "filesystem_in_use": False}
        assert found["nodes"] == [{"host": "here", "asks": "database", "serves": "database"}]
        assert found["database"] == {
            "schema": True,
            "repositories": {"rows": 1, "exact": True},
            "tags": {"rows": 2, "exact": True},
        }

        dry = site.regctl("--dry-run", "lockfiles", "repair")
        assert dry.exit_code == 0, str(dry)
        assert locks(site) == []
        assert not lock_folder(site).exists()

        done = site.ok("lockfiles", "repair", "--yes")
        assert done["result"] == "changed"
        assert locks(site) == ["database-in-use"]
        written = lock_folder(site) / "database-in-use"
        assert written.read_bytes() == b'{"version":1}'
        neighbour = site.server.tree.stat()
        assert (written.stat().st_uid, written.stat().st_mode & 0o777) == (neighbour.st_uid, 0o644)
        assert show(site, 0)["fits"] is True
        assert site.ok("lockfiles", "repair", "--yes")["result"] == "nothing-to-do"
        # the program heeds it: its own collector refuses now, even where its file denies the database
        server_of(site).enabled = False
        bare = server_of(site).run("garbage-collect")
        assert bare.returncode == 1
        assert "database managed filesystem, cannot continue" in bare.stderr
        server_of(site).enabled = True
        site.server.write_config()

        site.ok("lockfiles", "undo", str(done["run"]), "--yes")
        assert not lock_folder(site).exists()


def test_a_second_import_turns_the_lock_files_round_and_the_repair_turns_them_back(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    with gitlab_site(database=migrated_database, enabled=True) as site:
        push_some(site, 2)
        lock(site, "database-in-use")
        bare = server_of(site).run("database", "import", "--log-to-stdout")
        assert bare.returncode == 1
        assert locks(site) == ["filesystem-in-use"]  # what the program makes of a refused import

        found = show(site, 3)
        assert found["mode"] == "contradictory"
        assert "turns them round" in str(found["reasons"])
        assert isinstance(found["imports"], list)
        assert "tags already present in database" in str(found["imports"][0]["errors"])
        lock(site, "filesystem-in-use", "database-in-use")
        refused = site.regctl("lockfiles", "repair", "--set", "filesystem", "--yes")
        assert refused.exit_code == 6, str(refused)
        assert "serves from the database" in refused.stderr
        assert locks(site) == ["database-in-use", "filesystem-in-use"]

        lock(site, "filesystem-in-use")
        site.ok("lockfiles", "repair", "--yes")
        assert locks(site) == ["database-in-use"]
        assert show(site, 0)["mode"] == "database"


def test_contradictory_evidence_needs_the_operators_word(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    with gitlab_site(database=migrated_database, enabled=True, settings=UNLOCKED) as site:
        push_some(site, 2)
        site.ok("service", "stop", "--yes")
        put_to(site, enabled=False)
        found = show(site, 3)
        assert found["mode"] == "contradictory"
        assert found["proposed"] is None
        refused = site.regctl("lockfiles", "repair", "--yes")
        assert refused.exit_code == 6, str(refused)
        assert "the database holds tags and no lock file says whose it is" in refused.stderr
        site.ok("lockfiles", "repair", "--set", "database", "--yes")
        assert locks(site) == ["database-in-use"]
        put_to(site, enabled=True)
        assert show(site, 0)["mode"] == "database"


def test_a_registry_on_the_tree_may_get_its_lock_and_keep_its_bytes(
    gitlab_site: Callable[..., GitlabSite],
) -> None:
    with gitlab_site() as site:
        push_some(site, 2)
        found = show(site, 0)
        assert found["mode"] == "filesystem"
        assert found["tree_links_repositories"] is True
        assert found["database"] == {"schema": False, "repositories": None, "tags": None}
        lock(site, "database-in-use")
        (lock_folder(site) / "database-in-use").write_text('{"version":1}  ')
        (lock_folder(site) / "database-in-use").chmod(0o600)
        assert show(site, 3)["mode"] == "contradictory"
        done = site.ok("lockfiles", "repair", "--set", "filesystem", "--yes")
        assert locks(site) == ["filesystem-in-use"]
        assert (lock_folder(site) / "filesystem-in-use").stat().st_mode & 0o777 == 0o600  # as its neighbour
        site.ok("lockfiles", "undo", str(done["run"]), "--yes")
        assert locks(site) == ["database-in-use"]
        assert (lock_folder(site) / "database-in-use").read_text() == '{"version":1}  '


def test_what_cannot_be_asked_is_said_and_an_engine_without_a_database_has_nothing_to_repair(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    with gitlab_site(database=migrated_database, enabled=True) as site:
        push_some(site, 2)
        lock(site, "database-in-use")
        (site.folder / "db.password").write_text("wrong\n")
        found = show(site, 3)
        assert found["mode"] == "database"
        assert "password authentication failed" in str(found["unknown"])
        assert "127.0.0.1" not in str(found["nodes"])
        site.engine = "distribution"
        description = site.description()
        description["registries"]["main"].pop("database")
        site.site_file.write_text(yaml.safe_dump(description))
        refused = site.regctl("lockfiles", "repair", "--yes")
        assert refused.exit_code == 6, str(refused)
        assert "has no metadata database" in refused.stderr
