"""Random trees and random changes: an incremental import equals a fresh one, verify names what changed."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctl.catalog.digests import blob_path, layer_path, revision_path, tag_path
from ctl.catalog.seeding import FIRST_PUSH, SeedPlan, TreeWriter, dump, seed_tree
from tests.support.catalogs import CatalogUnderTest, catalog_of
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.postgres
BASE = "docker/registry/v2"


class Mutable:
    """A tree and the things that happen to one between two imports."""

    def __init__(self, root: Path, number: int) -> None:
        self.root = root
        self.random = random.Random(number)
        self.number = number

    def _pick(self, pattern: str, *, folder: bool = False) -> Path | None:
        found = sorted(path for path in (self.root / BASE).glob(pattern) if path.is_dir() or not folder)
        return self.random.choice(found) if found else None

    def push(self) -> None:
        writer = TreeWriter(str(self.root))
        name = self.random.choice(["team-00/app-0000", "new/repository", "new"])
        at = FIRST_PUSH + 1_000_000 + self.number
        config = dump({"created": "2024-02-03T04:05:06Z", "n": self.random.random()})
        digest = writer.blob(config, at)
        writer.layer(name, digest, at)
        body = {
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest},
            "layers": [],
        }
        body["config"]["size"] = len(config)  # type: ignore[index]
        manifest = writer.manifest(name, dump(body), at)
        tag = self.root / tag_path(name, "moving")
        tag.parent.mkdir(parents=True, exist_ok=True)
        tag.write_text(manifest)
        os.utime(tag, ns=(at * 10**9 + 7, at * 10**9 + 7))

    def move_tag(self) -> None:
        one, other = self._pick("repositories/**/tags/*/current/link"), None
        if one is not None:
            other = self.random.choice(sorted(one.parents[2].glob("*/current/link")))
        if one is not None and other is not None:
            one.write_text(other.read_text())

    def delete_tag(self) -> None:
        if one := self._pick("repositories/**/_manifests/tags/*", folder=True):
            shutil.rmtree(one)

    def delete_revision(self) -> None:
        if one := self._pick("repositories/**/revisions/sha256/*/link"):
            one.unlink()

    def delete_layer_link(self) -> None:
        if one := self._pick("repositories/**/_layers/sha256/*/link"):
            one.unlink()

    def delete_blob(self) -> None:
        if one := self._pick("blobs/sha256/*/*", folder=True):
            shutil.rmtree(one)

    def truncate_blob(self) -> None:
        if one := self._pick("blobs/sha256/*/*/data"):
            one.write_bytes(one.read_bytes()[: self.random.randrange(40)])

    def empty_link(self) -> None:
        if one := self._pick("repositories/**/link"):
            one.write_bytes(b"")

    def delete_repository(self) -> None:
        if one := self._pick("repositories/*/*", folder=True):
            shutil.rmtree(one)

    def touch(self) -> None:
        if one := self._pick("repositories/**/link"):
            os.utime(one)

    def stray(self) -> None:
        if one := self._pick("repositories/**/_manifests/tags"):
            (one / ".nfs01").write_text("")


ACTIONS: dict[str, Callable[[Mutable], None]] = {
    name: action for name, action in vars(Mutable).items() if not name.startswith("_")
}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32),
    st.lists(st.lists(st.sampled_from(sorted(ACTIONS)), min_size=1, max_size=5), min_size=1, max_size=3),
)
def test_an_incremental_import_equals_a_fresh_one(
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    rounds: list[list[str]],
) -> None:
    root = tmp_path_factory.mktemp("tree")
    seed_tree(str(root), SeedPlan(repositories=3, tags_per_repository=4, seed=seed % 5, garbage=5))
    with catalog_of(postgres_server, str(root)) as grown:
        grown.bring_in()
        for number, actions in enumerate(rounds):
            tree = Mutable(root, seed + number)
            for action in actions:
                ACTIONS[action](tree)
            grown.bring_in()
        with catalog_of(postgres_server, str(root)) as fresh:
            fresh.bring_in()
            assert grown.content() == fresh.content()
        compared = grown.verify()
        assert (compared.missing, compared.extra, compared.different) == (0, 0, 0), compared.differences
        assert grown.bring_in().written == 0
    shutil.rmtree(root)


@pytest.fixture
def imported(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[CatalogUnderTest]:
    seed_tree(str(tmp_path), SeedPlan(repositories=4, tags_per_repository=5))
    with catalog_of(postgres_server, str(tmp_path)) as catalog:
        catalog.bring_in()
        assert catalog.verify(checksums=True).agree
        yield catalog


def _named(catalog: CatalogUnderTest) -> set[tuple[str, str, str, str]]:
    found = catalog.verify()
    return {(one.kind, one.what, one.repository, one.name) for one in found.differences}


def _first_tag(catalog: CatalogUnderTest) -> tuple[str, str, str]:
    name, tag, digest, _, _ = catalog.content()["tags"][0]
    return name, tag, digest


def test_verify_names_exactly_a_deleted_tag(imported: CatalogUnderTest) -> None:
    name, tag, _ = _first_tag(imported)
    (Path(imported.root) / tag_path(name, tag)).unlink()
    assert _named(imported) == {("extra", "tag", name, tag)}


def test_verify_names_exactly_a_moved_tag(imported: CatalogUnderTest) -> None:
    name, tag, digest = _first_tag(imported)
    other = next(row[2] for row in imported.content()["tags"] if row[0] == name and row[2] != digest)
    link = Path(imported.root) / tag_path(name, tag)
    stat = link.stat()
    link.write_text(other)
    os.utime(link, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # a time proves nothing to verify
    (one,) = imported.verify().differences
    assert (one.kind, one.what, one.repository, one.name) == ("different", "tag", name, tag)
    assert (one.expected, one.found) == (other, digest)


def test_verify_names_exactly_a_new_repository_with_its_links(imported: CatalogUnderTest) -> None:
    name, _, digest = _first_tag(imported)
    writer = TreeWriter(imported.root)
    writer.layer("brand/new", digest, FIRST_PUSH)
    writer.put(revision_path("brand/new", digest), digest.encode(), FIRST_PUSH)
    writer.tag("brand/new", "v1", digest, FIRST_PUSH)
    assert _named(imported) == {
        ("missing", "repository", "brand/new", "brand/new"),
        ("missing", "manifest", "brand/new", digest),
        ("missing", "layer", "brand/new", digest),
        ("missing", "tag", "brand/new", "v1"),
    }
    assert name != "brand/new"


def test_verify_names_a_deleted_revision_and_layer_link(imported: CatalogUnderTest) -> None:
    content = imported.content()
    name, revision = content["revisions"][0][:2]
    other, layer = content["layers"][-1][:2]
    (Path(imported.root) / revision_path(name, revision)).unlink()
    (Path(imported.root) / layer_path(other, layer)).unlink()
    assert _named(imported) == {("extra", "manifest", name, revision), ("extra", "layer", other, layer)}


def test_a_deleted_layer_is_named_with_every_repository_and_tag_that_uses_it(
    imported: CatalogUnderTest,
) -> None:
    content = imported.content()
    links = {(row[0], row[1]) for row in content["revisions"]}
    users: dict[str, set[str]] = {}
    for manifest, _, role, digest, _, _ in content["references"]:
        if role == "layer":
            users.setdefault(digest, set()).add(manifest)
    digest = max(sorted(users), key=lambda one: len(users[one]))
    indexes = {row[3]: set() for row in content["references"] if row[2] == "manifest"}  # type: ignore[var-annotated]
    for manifest, _, role, child, _, _ in content["references"]:
        if role == "manifest":
            indexes[child].add(manifest)
    expected = set()
    for user in users[digest]:
        above = {user, *indexes.get(user, ())}
        for repository in {name for name, one in links if one == user}:
            tags = {row[1] for row in content["tags"] if row[0] == repository and row[2] in above}
            expected |= {("broken", "blob", repository, name) for name in tags or {user}}
    (Path(imported.root) / blob_path(digest)).unlink()
    found = imported.verify()
    assert {(d.kind, d.what, d.repository, d.name) for d in found.differences} == expected
    assert len(expected) > 1
    assert found.broken == 1
    assert all(digest in d.expected and d.found == "not stored" for d in found.differences)


def test_a_truncated_layer_is_broken_and_a_changed_one_only_under_checksums(
    imported: CatalogUnderTest,
) -> None:
    content = imported.content()
    layers = [row[3] for row in content["references"] if row[2] == "layer"]
    short, flipped = layers[0], next(one for one in layers if one != layers[0])
    for digest, size in ((short, -1), (flipped, 0)):
        blob = Path(imported.root) / blob_path(digest)
        data = blob.read_bytes()
        blob.write_bytes(data[:size] if size else bytes([data[0] ^ 1]) + data[1:])
    quick = imported.verify()
    assert quick.broken == 1
    assert all(short in one.expected for one in quick.differences)
    thorough = imported.verify(checksums=True)
    assert thorough.broken == 2
    assert any(flipped in one.expected for one in thorough.differences)


def test_garbage_that_went_is_extra_and_new_garbage_missing(imported: CatalogUnderTest) -> None:
    content = imported.content()
    used = {row[3] for row in content["references"]} | {row[1] for row in content["revisions"]}
    orphan = next(row[0] for row in content["blobs"] if row[0] not in used)
    (Path(imported.root) / blob_path(orphan)).unlink()
    new = TreeWriter(imported.root).blob(b"fresh garbage", FIRST_PUSH)
    assert _named(imported) == {("extra", "blob", "", orphan), ("missing", "blob", "", new)}
    imported.bring_in()
    assert imported.verify().agree
