"""The tree that is written from a metadata database: read back, it says what the database says."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.catalog.digests import blob_path, layer_path, revision_path, tag_path
from ctl.catalog.sides import BothSides, Sides
from ctl.catalog.tree import Tree
from ctl.catalog.tree_writer import TreeWriting, Written, lacking_blobs, plan_repository
from ctl.storage.filesystem import FilesystemStorage
from ctl.storage.tree_files import TreeFiles
from tests.support.images import Image, image, index, referrer
from tests.support.memory_metadata import MemoryMetadata, MemoryRepository

_IMAGES = [image(f"image {n}", layers=1 + n % 2, layer_size=64) for n in range(5)]
_SHARED = image("shared", layers=1, shared=_IMAGES[0].layers, layer_size=64)
_INDEXES = [index(_IMAGES[:2]), index([_IMAGES[2], _SHARED])]
_ABOUT = referrer("note", _IMAGES[0])
EVERYTHING = (*_IMAGES, _SHARED, *_INDEXES, _ABOUT)
NAMES = ("a", "a/b", "c/d")
TAGS = ("latest", "v1", "V_2.x-y")


def held(images: list[Image]) -> MemoryRepository:
    """A repository that was pushed these images, the children of indexes too."""
    found = MemoryRepository()
    for one in images:
        for part in (one, *one.children):
            found.manifests.add(part.digest)
            found.links |= {blob.digest for blob in part.blobs}
    return found


@st.composite
def repositories(draw: st.DrawFn) -> dict[str, MemoryRepository]:
    found = {}
    for name in draw(st.sets(st.sampled_from(NAMES))):
        images = draw(st.lists(st.sampled_from(EVERYTHING), max_size=4, unique_by=lambda one: one.digest))
        one = held(images)
        if images:
            one.tags = draw(
                st.dictionaries(st.sampled_from(TAGS), st.sampled_from([i.digest for i in images]))
            )
        found[name] = one
    return found


def metadata(found: dict[str, MemoryRepository]) -> MemoryMetadata:
    """Rows over these repositories."""
    result = MemoryMetadata(found)
    for one in EVERYTHING:
        result.payloads[one.digest] = one.manifest.data
        result.sizes |= {blob.digest: len(blob.data) for blob in one.blobs}
    return result


def put(root: Path, path: str, data: bytes) -> None:
    """Write a file of a tree."""
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def lay(root: Path, found: dict[str, MemoryRepository], payloads: set[str]) -> None:
    """Write a tree as pushes leave it; of the manifests' files only these are there, of the blobs all."""
    (root / "docker/registry/v2/repositories").mkdir(parents=True)
    for one in EVERYTHING:
        for blob in one.blobs:
            put(root, blob_path(blob.digest), blob.data)
        if one.digest in payloads:
            put(root, blob_path(one.digest), one.manifest.data)
    for name, repository in found.items():
        for digest in repository.manifests:
            put(root, revision_path(name, digest), digest.encode())
        for digest in repository.links:
            put(root, layer_path(name, digest), digest.encode())
        for tag, digest in repository.tags.items():
            put(root, tag_path(name, tag), digest.encode())


def write(root: Path, database: MemoryMetadata, files: TreeFiles | None, **options: Any) -> Written:
    """Write the tree from the database, or survey it."""
    tree = Tree(FilesystemStorage(str(root), workers=0))
    return TreeWriting(tree, cast(Any, database), files, **options).run()


def read(root: Path, database: MemoryMetadata) -> dict[str, Sides]:
    """Read both sides again."""
    tree = Tree(FilesystemStorage(str(root), workers=0))
    both = BothSides(tree, cast(Any, database), lambda finding: None, thorough=True)
    return {sides.name: sides for sides in both.read(tree.layout())}


def files(root: Path) -> dict[str, bytes]:
    """Every file of the tree."""
    base = root / "docker/registry/v2"
    return {str(p.relative_to(base)): p.read_bytes() for p in base.rglob("*") if p.is_file()}


@settings(max_examples=40)
@given(
    before=repositories(),
    now=repositories(),
    stored=st.sets(st.sampled_from([one.digest for one in EVERYTHING])),
    prepared=st.booleans(),
)
def test_what_is_written_reads_back_as_the_database(
    before: dict[str, MemoryRepository],
    now: dict[str, MemoryRepository],
    stored: set[str],
    prepared: bool,
) -> None:
    root = Path(tempfile.mkdtemp(prefix="regctl-write-"))
    try:
        lay(root, before, stored)
        original = files(root)
        database = metadata(now)
        changes = TreeFiles(str(root), "run")
        if prepared:
            write(root, database, changes, take_out=False, careful=True)
            assert original.items() <= files(root).items()  # only added
        write(root, database, changes)
        assert write(root, database, None).work == 0
        for name, sides in read(root, database).items():
            rows = now.get(name, MemoryRepository())
            assert {tag: digest for tag, (digest, _) in sides.tree.tags.items()} == rows.tags
            assert set(sides.tree.tag_entries) == set(rows.tags)
            assert rows.manifests <= sides.tree.manifests.keys()
            assert rows.links <= sides.tree.layers.keys()
            tagged = set(before[name].tags.values()) if name in before else set()
            kept = sides.tree.manifests.keys() - rows.manifests
            assert not (kept & tagged) or kept & tagged <= _children(
                rows
            )  # deleted since: not there any more
            assert kept <= stored | set(database.digests())
        there = files(root)
        for digest in database.digests():
            assert there[blob_path(digest).removeprefix("docker/registry/v2/")] == database.payloads[digest]
        assert write(root, database, TreeFiles(str(root), "again")).work == 0
        changes.restore()
        assert original.items() <= files(root).items()  # nothing was lost
    finally:
        shutil.rmtree(root)


def _children(rows: MemoryRepository) -> set[str]:
    return {c.digest for one in _INDEXES if one.digest in rows.manifests for c in one.children}


def test_what_was_never_imported_stays_and_what_was_deleted_goes(tmp_path: Path) -> None:
    tagged, untagged = _IMAGES[0], _IMAGES[1]
    before = held([tagged, untagged])
    before.tags = {"v1": tagged.digest}
    lay(tmp_path, {"a": before}, {tagged.digest, untagged.digest})
    now = metadata({"a": held([_IMAGES[2]])})
    done = write(tmp_path, now, TreeFiles(str(tmp_path), "run"))
    there = read(tmp_path, now)["a"].tree
    assert there.manifests.keys() == {untagged.digest, _IMAGES[2].digest}
    assert there.tags == {}
    assert there.layers.keys() == {b.digest for b in (*untagged.blobs, *_IMAGES[2].blobs)}
    assert (done.kept_untagged, done.taken_out_tags, done.payloads) == (1, 1, 1)


def test_an_untagged_manifest_that_is_not_whole_any_more_goes_aside(tmp_path: Path) -> None:
    untagged = _IMAGES[1]
    lay(tmp_path, {"a": held([untagged])}, {untagged.digest})
    (tmp_path / blob_path(untagged.layers[0].digest)).unlink()
    now = metadata({"a": held([_IMAGES[0]])})
    write(tmp_path, now, TreeFiles(str(tmp_path), "run"))
    assert read(tmp_path, now)["a"].tree.manifests.keys() == {_IMAGES[0].digest}


def test_a_repository_that_is_gone_goes_whole_but_for_its_uploads(tmp_path: Path) -> None:
    before = held([_IMAGES[0]])
    before.tags = {"v1": _IMAGES[0].digest}
    lay(tmp_path, {"a": before, "a/b": before}, {_IMAGES[0].digest})
    put(tmp_path, "docker/registry/v2/repositories/a/_uploads/1/data", b"half")
    now = metadata({"a/b": before})
    changes = TreeFiles(str(tmp_path), "run")
    write(tmp_path, now, changes)
    folder = tmp_path / "docker/registry/v2/repositories/a"
    assert sorted(os.listdir(folder)) == ["_uploads", "b"]
    assert [how for _, how in changes.kept()] == ["moved", "moved"]
    assert changes.restore() == (2, [])
    assert sorted(os.listdir(folder)) == ["_layers", "_manifests", "_uploads", "b"]


def test_broken_entries_of_tags_do_not_stay_to_be_listed(tmp_path: Path) -> None:
    lay(tmp_path, {"a": held([_IMAGES[0]])}, {_IMAGES[0].digest})
    tags = "docker/registry/v2/repositories/a/_manifests/tags"
    put(tmp_path, f"{tags}/empty/current/link", b"")
    put(tmp_path, f"{tags}/.nfs0001", b"")
    rows = held([_IMAGES[0]])
    rows.tags = {"v1": _IMAGES[0].digest}
    write(tmp_path, metadata({"a": rows}), TreeFiles(str(tmp_path), "run"))
    assert os.listdir(tmp_path / tags) == ["v1"]
    assert (tmp_path / tags / "v1/index/sha256" / _IMAGES[0].digest[7:] / "link").read_text() == _IMAGES[
        0
    ].digest


def test_a_manifests_file_with_other_bytes_is_written_again(tmp_path: Path) -> None:
    one = _IMAGES[0]
    lay(tmp_path, {"a": held([one])}, {one.digest})
    (tmp_path / blob_path(one.digest)).write_bytes(bytes(len(one.manifest.data)))
    database = metadata({"a": held([one])})
    assert write(tmp_path, database, TreeFiles(str(tmp_path), "run"), careful=True).payloads == 1
    assert (tmp_path / blob_path(one.digest)).read_bytes() == one.manifest.data


def test_blobs_that_are_missing_or_cut_off_are_named_with_their_users(tmp_path: Path) -> None:
    one = _IMAGES[0]
    rows = held([one])
    rows.tags = {"v1": one.digest}
    lay(tmp_path, {"a": rows}, {one.digest})
    config, layer = one.blobs[0], one.layers[0]
    (tmp_path / blob_path(config.digest)).unlink()
    (tmp_path / blob_path(layer.digest)).write_bytes(b"cut")
    tree = Tree(FilesystemStorage(str(tmp_path), workers=0))
    found = {x.digest: x for x in lacking_blobs(tree, cast(Any, metadata({"a": rows})))}
    assert {d: (x.found, x.users) for d, x in found.items()} == {
        config.digest: (None, ("a:v1",)),
        layer.digest: (3, ("a:v1",)),
    }


def test_an_empty_plan_is_false() -> None:
    from ctl.catalog.sides import DatabaseSide, TreeSide

    assert not plan_repository(Sides("a", TreeSide(), DatabaseSide()), {}, lambda digests: {})


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_stands_in_the_way_of_a_link_is_kept_aside(tmp_path: Path, kind: str) -> None:
    rows = held([_IMAGES[0]])
    rows.tags = {"v1": _IMAGES[0].digest}
    lay(tmp_path, {"a": held([_IMAGES[0]])}, {_IMAGES[0].digest})
    place = tmp_path / tag_path("a", "v1")
    place.parent.mkdir(parents=True)
    if kind == "link":
        place.symlink_to("/nowhere")
    else:
        place.mkdir()
    changes = TreeFiles(str(tmp_path), "run")
    write(tmp_path, metadata({"a": rows}), changes)
    assert place.read_text() == _IMAGES[0].digest
    assert changes.kept() == [(tag_path("a", "v1"), "replaced")]
