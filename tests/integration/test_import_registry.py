"""Real pushes to a real registry: the catalog holds what the registry's API answers, and regctl prints it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import images
from tests.support.catalogs import CatalogUnderTest, catalog_of
from tests.support.embedded import let_pass
from tests.support.postgres import PostgresServer
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest
from tests.support.transfer import Client, skopeo_push

pytestmark = [pytest.mark.registry, pytest.mark.postgres]


@contextmanager
def _catalog(server: RegistryServer, postgres: PostgresServer) -> Iterator[CatalogUnderTest]:
    with catalog_of(postgres, str(server.storage)) as catalog:
        yield catalog


def _everything() -> dict[tuple[str, str | None], images.Image]:
    plain = images.image("plain", format="docker")
    other = images.image("other", created=None)
    return {
        ("team/plain", "v1"): plain,
        ("team/plain", "latest"): plain,
        ("team/plain/below", "v1"): other,
        ("team/index", "multi"): images.multi_arch("multi"),
        ("team/index", "nested"): images.index([images.multi_arch("inner"), images.image("leaf")]),
        ("team/list", "docker"): images.multi_arch("list", format="docker"),
        ("team/long", "sha512"): images.image("long", algorithm="sha512"),
        ("team/index", None): images.referrer("signature", images.multi_arch("multi")),
    }


def test_the_catalog_holds_what_the_registry_answers(
    registry_server: RegistryServer, postgres_server: PostgresServer
) -> None:
    pushed = _everything()
    with Client(registry_server.url) as client, _catalog(registry_server, postgres_server) as catalog:
        for (repository, tag), image in pushed.items():
            client.push(repository, tag, image)
        done = catalog.bring_in()
        content = catalog.content()
        tags = {(row[0], row[1]): row[2] for row in content["tags"]}
        assert sorted(tags) == sorted(client.every_tag())
        assert [name for (name,) in content["repositories"]] == sorted(client.repositories())
        for (repository, tag), digest in tags.items():
            _, answered = client.manifest(repository, tag)
            assert answered == digest
        # whatever a blob was called when it was pushed, the registry stores it under sha256
        pushed_data = {c.data for image in pushed.values() for c in image.everything().values()}
        stored = {f"sha256:{hashlib.sha256(data).hexdigest()}": len(data) for data in pushed_data}
        assert {row[0]: row[1] for row in content["blobs"]} == stored
        assert done.counts.bytes == sum(stored.values())
        assert {row[2] for row in content["findings"]} == {"aliased-blob"}
        assert catalog.verify(checksums=True).agree


def test_manifests_are_recorded_with_kind_created_and_references(
    registry_server: RegistryServer, postgres_server: PostgresServer
) -> None:
    plain, bare = images.image("plain"), images.image("bare", created=None)
    index = images.multi_arch("multi")
    signature = images.referrer("signature", index)
    with Client(registry_server.url) as client, _catalog(registry_server, postgres_server) as catalog:
        for name, one in (("a", plain), ("b", bare), ("c", index)):
            client.push(name, "v1", one)
        client.push("c", None, signature)
        catalog.bring_in()
        rows = {row[0]: row[1:] for row in catalog.content()["manifests"]}
        references = {(row[0], row[3]): row[2] for row in catalog.content()["references"]}
    assert rows[plain.digest][1] == "image"
    assert rows[plain.digest][5] == images.CREATED
    assert rows[bare.digest][5] == ""
    assert rows[index.digest][1:3] == ("index", images.OCI_INDEX)
    assert rows[signature.digest][3] == "application/vnd.example.note.v1"
    assert references[signature.digest, index.digest] == "subject"
    assert {references[index.digest, child.digest] for child in index.children} == {"manifest"}
    assert references[plain.digest, plain.blobs[0].digest] == "config"
    assert {references[plain.digest, layer.digest] for layer in plain.layers} == {"layer"}


def test_deleting_through_the_api_leaves_no_finding(
    registry_server: RegistryServer, postgres_server: PostgresServer
) -> None:
    first, second = images.image("first"), images.image("second")
    with Client(registry_server.url) as client, _catalog(registry_server, postgres_server) as catalog:
        client.push("team/app", "v1", first)
        client.push("team/app", "v2", second)
        catalog.bring_in()
        client.delete_manifest("team/app", first.digest)
        done = catalog.bring_in()
        assert catalog.content()["findings"] == []
        assert [row[:3] for row in catalog.content()["tags"]] == [("team/app", "v2", second.digest)]
        assert done.counts.manifests == 1
        assert catalog.verify().agree


@pytest.mark.skopeo
def test_skopeo_pushes_import_verify_and_a_deleted_blob_is_named(tmp_path: Path) -> None:
    """The issue's own walk, through the command: push, import, verify, delete a blob file, verify."""
    let_pass(tmp_path)
    server = RegistryServer(tmp_path / "registry", port=0)
    with SiteUnderTest(tmp_path / "site", _with_port(server), database=True) as site:
        one = images.image("skopeo")
        pushed = skopeo_push(tmp_path / "layout", one, site.server.address, "team/app", "v1")
        assert pushed.exit_code == 0, pushed
        before = _snapshot(site)
        dry = site.ok("registry", "import", "--dry-run")
        assert (dry["repositories"], dry["tags"], dry["blobs"]) == (1, 1, len(one.everything()))
        assert _snapshot(site) == before
        done = site.ok("import")
        figures = {name: done[name] for name in ("repositories", "tags", "manifests", "blobs", "problems")}
        assert figures == {
            "repositories": 1,
            "tags": 1,
            "manifests": 1,
            "blobs": len(one.everything()),
            "problems": 0,
        }
        assert done["bytes"] == sum(len(c.data) for c in one.everything().values())
        assert done["schema"] == "regctl/registry-import/1"
        agreed = site.ok("registry", "verify")
        assert agreed["differences"] == []
        again = site.ok("registry", "import", "main")
        assert (again["written"], again["parsed"], again["generation"]) == (0, 0, 2)
        layer = one.layers[0].digest
        hexadecimal = layer.partition(":")[2]
        (server.tree / "blobs" / "sha256" / hexadecimal[:2] / hexadecimal / "data").unlink()
        broken = site.regctl("registry", "verify")
        assert broken.exit_code == 3, str(broken)
        (difference,) = broken.json["differences"]
        assert (difference["repository"], difference["name"]) == ("team/app", "v1")
        assert layer in difference["expected"]
        assert broken.json["broken"] == 1
        found = site.regctl("registry", "import")
        assert found.exit_code == 3, str(found)
        assert {one["kind"] for one in found.json["problem_list"]} == {"missing-blob", "missing-data"}
        events = [json.loads(line) for line in site.regctl("import", output="jsonl").stdout.splitlines()]
        assert events[-1]["schema"] == "regctl/registry-import/1"
        assert len(events) > 1


def _with_port(server: RegistryServer) -> RegistryServer:
    from tests.support.waiting import free_port

    server.port = free_port()
    return server


def _snapshot(site: SiteUnderTest) -> dict[str, Any]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in site.server.storage.rglob("*")
    }


@pytest.mark.skopeo
def test_an_import_into_a_database_that_lacks_migrations_is_refused_with_the_command(tmp_path: Path) -> None:
    let_pass(tmp_path)
    server = _with_port(RegistryServer(tmp_path / "registry"))
    site = SiteUnderTest(tmp_path / "site", server, database=True).write()
    server.storage.mkdir(parents=True, exist_ok=True)
    try:
        verify = site.regctl("registry", "verify")
        assert verify.exit_code == 6, str(verify)
        refused = site.regctl("import")
        assert refused.exit_code == 6, str(refused)
        assert "regctl database migrate up" in refused.stdout + refused.stderr
    finally:
        site.close()


def test_a_lost_disk_is_never_taken_for_an_emptied_registry(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    from ctl.catalog.import_ import demand_tree
    from ctl.catalog.seeding import SeedPlan, seed_tree
    from ctl.errors import RefusedError, UnreachableError

    root = tmp_path / "disk"
    seed_tree(str(root), SeedPlan(2, 2))
    with catalog_of(postgres_server, str(root)) as catalog:
        known = catalog.bring_in().counts.repositories
        root.rename(tmp_path / "unmounted")
        with pytest.raises(UnreachableError):
            demand_tree(catalog.tree(), known)
        root.mkdir()
        with pytest.raises(RefusedError, match="2 repositories"):
            demand_tree(catalog.tree(), known)
        demand_tree(catalog.tree(), known, accept_empty=True)
        catalog.bring_in()
        content = catalog.content()
        assert all(not rows for rows in content.values()), content
