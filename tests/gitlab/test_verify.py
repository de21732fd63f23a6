"""`registry verify` on GitLab's engine: tree, database and API held against each other after an import."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ctl.catalog.corruption import all_cases
from ctl.catalog.digests import blob_path, layer_path, revision_path, tag_path
from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.gitlab import GitlabServer, GitlabSite, drop_owned, give_all, owned_database
from tests.support.gitlab_content import Content, imported, rows, second_content
from tests.support.images import image
from tests.support.postgres import DatabaseAddress, PostgresServer

MakeSite = Callable[..., GitlabSite]


class Verified:
    """A site over an imported registry, not started: the tree and the database, and what verify says."""

    def __init__(self, site: GitlabSite, content: Content, database: DatabaseAddress) -> None:
        self.site, self.content, self.database = site, content, database

    @property
    def root(self) -> Path:
        """The storage root."""
        return self.site.server.storage

    def run(self, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
        """Verify, and demand an exit code."""
        done = self.site.regctl("registry", "verify", *arguments)
        assert done.exit_code == exit_code, str(done)
        return done.json

    def only(self, *, exit_code: int = 3) -> dict[str, Any]:
        """Verify, and return the one difference that nothing of every import explains."""
        found = self.run(exit_code=exit_code)
        told = [one for one in found["differences"] if one["explained_by"] not in ("untagged", "unused-link")]
        assert len(told) == 1, told
        difference: dict[str, Any] = told[0]
        return difference

    def sql(self, query: str) -> None:
        """Change the database."""
        rows(self.database, query)

    def digest(self, repository: str = "group/app", tag: str = "v0") -> str:
        """The digest of a tag that was pushed."""
        return self.content.tags[repository, tag].digest


def _verified(site: GitlabSite, database: DatabaseAddress) -> Verified:
    server = site.server
    assert isinstance(server, GitlabServer)
    _, content = imported(lambda name, **_: server, database)
    server.enabled = True
    site.write()
    return Verified(site, content, database)


@pytest.fixture
def verified(gitlab_site: MakeSite, migrated_database: DatabaseAddress) -> Verified:
    """A registry that was imported by the program, for tests that change it for good."""
    return _verified(gitlab_site(database=migrated_database), migrated_database)


@pytest.fixture(scope="module")
def same(
    postgres_server: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Verified]:
    """One such registry for all tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("same")
    address = owned_database(postgres_server, template=migrated_template)
    give_all(postgres_server, address)
    site = GitlabSite(folder / "site", GitlabServer(folder / "registry", database=address))
    yield _verified(site, address)
    site.close()
    drop_owned(postgres_server, address)


def test_an_import_is_equal_but_for_what_no_tag_leads_to(same: Verified) -> None:
    assert same.run("--api", exit_code=7)["result"] == "unreachable"  # no node runs
    assert same.run("--pull", "many", exit_code=2)["result"] == "usage"
    found = same.run()
    assert found["result"] == "ok"
    assert {name: found[name] for name in ("missing", "extra", "different", "broken")} == dict.fromkeys(
        ("missing", "extra", "different", "broken"), 0
    )
    assert found["tags"] == len(same.content.tags) == found["database"]["tags"]
    assert found["explained"] == {"untagged": 1, "unused-link": 3}
    untagged = [one for one in found["differences"] if one["what"] == "manifest"]
    assert [one["name"] for one in untagged] == [image("untagged").digest]
    assert same.run("--checksums")["explained"] == found["explained"]


def test_each_difference_of_tags_is_found_and_told_apart(same: Verified) -> None:
    to_v0 = "manifest_id = (SELECT manifest_id FROM tags WHERE name = 'v0') WHERE name = 'v2'"
    back = "UPDATE tags SET updated_at = NULL, manifest_id ="
    back += " (SELECT manifest_id FROM tags WHERE name = 'latest') WHERE name = 'v2'"
    copied = "INSERT INTO tags (top_level_namespace_id, repository_id, manifest_id, created_at, name)"
    copied += (
        " SELECT top_level_namespace_id, repository_id, manifest_id, {}, '{}' FROM tags WHERE name = '{}'"
    )
    then = "now() - interval '1 day'"
    cases = [
        (f"UPDATE tags SET {to_v0}", back, ("different", "v2", "")),
        (f"UPDATE tags SET updated_at = now(), {to_v0}", back, ("different", "v2", "moved-since")),
        (
            copied.format(then, "other", "latest"),
            "DELETE FROM tags WHERE name = 'other'",
            ("extra", "other", ""),
        ),
        (
            copied.format("now()", "newer", "latest"),
            "DELETE FROM tags WHERE name = 'newer'",
            ("extra", "newer", "pushed-since"),
        ),
        (
            "DELETE FROM tags WHERE name = 'latest'",
            copied.format("(SELECT min(created_at) FROM tags)", "latest", "v2"),
            ("missing", "latest", "deleted-since"),
        ),
        (
            "UPDATE import_statistics SET tags_count = tags_count - 1;"
            " DELETE FROM tags WHERE name = 'latest'",
            copied.format("(SELECT min(created_at) FROM tags)", "latest", "v2")
            + "; UPDATE import_statistics SET tags_count = tags_count + 1",
            ("missing", "latest", ""),  # the import did not count it, so nothing proves that it was there
        ),
    ]
    for change, undo, expected in cases:
        same.sql(change)
        found = same.only(exit_code=0 if expected[2] else 3)
        assert (found["kind"], found["name"], found["explained_by"]) == expected
        assert (found["what"], found["repository"]) == ("tag", "group/app")
        same.sql(undo)


def test_a_blob_row_and_a_link_that_the_database_lacks(same: Verified) -> None:
    config = same.content.tags["group/app", "v1"].blobs[0].digest
    stored = "\\x01" + config.partition(":")[2]
    inserted = "INSERT INTO repository_blobs (top_level_namespace_id, repository_id, blob_digest)"
    inserted += " SELECT r.top_level_namespace_id, r.id, b.digest FROM repositories r, blobs b"
    same.sql(f"DELETE FROM repository_blobs WHERE blob_digest = '{stored}'")
    found = same.only()
    assert (found["kind"], found["what"], found["name"]) == ("missing", "layer", config)
    same.sql(f"UPDATE blobs SET size = size + 1 WHERE digest = '{stored}'")
    damaged = same.run(exit_code=3)
    same.sql(f"UPDATE blobs SET size = size - 1 WHERE digest = '{stored}'")
    same.sql(f"{inserted} WHERE r.path = 'group/app' AND b.digest = '{stored}'")
    size = len(same.content.tags["group/app", "v1"].blobs[0].data)
    (wrong,) = [one for one in damaged["differences"] if one["kind"] == "broken"]
    assert (wrong["repository"], wrong["name"]) == ("group/app", "v1")
    assert (wrong["expected"], wrong["found"]) == (f"{config} ({size + 1} bytes)", f"{size} bytes")
    assert same.run()["broken"] == 0


def test_altered_bytes_are_found_in_the_table_and_in_the_file(same: Verified) -> None:
    digest = same.digest("other/gone", "only")
    stored = "\\x01" + digest.partition(":")[2]
    same.sql(f"UPDATE manifests SET payload = payload || ' ' WHERE digest = '{stored}'")
    found = same.run(exit_code=3)
    assert found["broken"] == 1
    (broken,) = [one for one in found["differences"] if one["kind"] == "broken"]
    assert (broken["repository"], broken["name"]) == ("other/gone", digest)
    assert broken["explained_by"] == "altered-manifest"
    same.sql(
        f"UPDATE manifests SET payload = substr(payload, 1, length(payload) - 1) WHERE digest = '{stored}'"
    )
    assert same.run()["broken"] == 0
    path = same.root / blob_path(digest)
    good = path.read_bytes()
    path.write_bytes(good.replace(b"schemaVersion", b"schemaversion"))
    (broken,) = [one for one in same.run(exit_code=3)["differences"] if one["kind"] == "broken"]
    assert (broken["name"], broken["explained_by"]) == (digest, "")
    path.write_bytes(good)


def test_a_needed_blob_that_is_not_stored_is_named_with_every_tag(same: Verified) -> None:
    shared = same.content.tags["group/app", "v0"].layers[0]
    (same.root / blob_path(shared.digest)).unlink()
    found = same.run(exit_code=3)
    broken = {(one["repository"], one["name"]) for one in found["differences"] if one["kind"] == "broken"}
    assert broken == {("group/app", "v0"), ("other/shared", "same")}
    assert found["broken"] == 2
    (same.root / blob_path(shared.digest)).write_bytes(shared.data)


def test_links_of_the_tree_that_are_gone_or_new(same: Verified) -> None:
    root = same.root
    (root / revision_path("group/app", same.digest())).unlink()
    found = same.only()
    assert (found["kind"], found["what"], found["name"]) == ("extra", "manifest", same.digest())
    (root / revision_path("group/app", same.digest())).write_text(same.digest())
    tag = root / tag_path("group/app", "late")
    tag.parent.mkdir(parents=True)
    tag.write_text(same.digest())
    found = same.only()  # pushed into the tree after the import: nothing excuses that
    assert (found["kind"], found["name"], found["explained_by"]) == ("missing", "late", "")
    shutil.rmtree(tag.parent.parent)
    layer = same.content.tags["group/app", "v0"].layers[0].digest
    (root / layer_path("group/app", layer)).unlink()
    found = same.only()
    assert (found["kind"], found["what"], found["name"]) == ("extra", "layer", layer)
    (root / layer_path("group/app", layer)).write_text(layer)


def test_after_an_import_of_every_corrupt_case_each_difference_has_its_reason(
    gitlab_site: MakeSite, migrated_database: DatabaseAddress
) -> None:
    site = gitlab_site(database=migrated_database)
    site.write()
    shutil.rmtree(site.server.storage)
    cases = [case for case in all_cases() if case != "too-many-descriptors"]  # its import takes a minute
    seed_tree(str(site.server.storage), SeedPlan(2, 3), cases)
    with site:
        done = site.regctl("registry", "import", "--quarantine-bad-entries", "--yes", timeout=300)
        assert done.exit_code == 3, done
        found = site.regctl("registry", "verify").json
        assert (found["missing"], found["extra"], found["different"]) == (0, 0, 0)
        assert [one for one in found["differences"] if not one["explained_by"]] == []
        broken = {(one["repository"], one["explained_by"]) for one in found["differences"]}
        assert ("corrupt/wrong-digest-manifest", "altered-manifest") in broken
        assert ("corrupt/missing-layer", "layer-missing") in broken
        assert ("corrupt/unlinked-layer", "layer-unlinked") in broken
        assert ("corrupt/index-bad-child-first", "lost-child") in broken
        assert ("corrupt/sha512-layer", "aliased-blob") in broken


def test_what_happens_on_the_database_is_told_from_what_went_wrong(verified: Verified) -> None:
    with verified.site as site:
        with site.client() as client:
            second_content(client, verified.content)
        found = verified.run("--api", "--pull", "all")
    assert found["result"] == "ok"
    why = {(one["what"], one["name"]): one["explained_by"] for one in found["differences"]}
    assert why["tag", "v3"] == "pushed-since"
    assert why["tag", "v0"] == "moved-since"
    assert why["tag", "v1"] == why["tag", "only"] == why["tag", "docker"] == "deleted-since"
    assert found["api"]["tags"] == found["pull"]["pulled_tags"] == len(verified.content.tags)
    assert (found["api"]["missing"], found["pull"]["pull_broken"]) == (0, 0)


def test_the_api_and_a_pull_show_what_the_tables_do_not(verified: Verified) -> None:
    with verified.site:
        layer = verified.content.tags["group/app", "v1"].layers[0]
        path = verified.root / blob_path(layer.digest)
        path.write_bytes(bytes(reversed(layer.data)))  # same size: no table and no stat tells
        assert verified.run("--api")["result"] == "ok"
        found = verified.run("--pull", "all", exit_code=3)
        assert found["pull"]["pull_broken"] == 1
        (broken,) = found["pull_differences"]
        assert (broken["repository"], broken["name"], broken["expected"]) == ("group/app", "v1", layer.digest)
        few = verified.site.regctl("registry", "verify", "--pull", "3", "--seed", "a word").json["pull"]
        assert (few["pulled_tags"], few["seed"]) == (3, "a word")
