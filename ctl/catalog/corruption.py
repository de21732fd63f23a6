"""Broken entries as crashes, full disks and careless hands leave them: for `regctl seed --corrupt`.

Every case writes into a repository `corrupt/<case>` of its own, so that healthy ones stay healthy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ctl.catalog.digests import blob_path, layer_path, revision_path, tag_path
from ctl.catalog.seeding import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    FIRST_PUSH,
    OCI_INDEX,
    TreeWriter,
    descriptor,
    dump,
)

_AT = FIRST_PUSH
_BASE = "docker/registry/v2"
_NOBODY = "sha256:" + "0" * 63 + "1"


class Broken:
    """A repository with one good image, tagged `good`, for a case to break."""

    def __init__(self, writer: TreeWriter, case: str) -> None:
        self.writer: TreeWriter = writer
        self.name: str = f"corrupt/{case}"
        self.layer: str = self._stored(f"layer of {case}".encode())
        self.config: str = self._stored(dump({"os": "linux", "for": case}))
        self.layer_size = len(f"layer of {case}")
        self.config_size = len(dump({"os": "linux", "for": case}))
        self.digest = writer.manifest(self.name, self.payload(), _AT)
        writer.tag(self.name, "good", self.digest, _AT)

    def _stored(self, data: bytes) -> str:
        digest = self.writer.blob(data, _AT)
        self.writer.layer(self.name, digest, _AT)
        return digest

    def payload(self, **changes: object) -> bytes:
        """Return the good manifest, with changes laid over it."""
        document: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor(DOCKER_CONFIG, self.config, self.config_size),
            "layers": [descriptor(DOCKER_LAYER, self.layer, self.layer_size)],
        }
        return dump({**document, **changes})

    def add(self, payload: bytes, tag: str = "bad") -> str:
        """Push another manifest and tag it; return its digest."""
        digest = self.writer.manifest(self.name, payload, _AT)
        self.writer.tag(self.name, tag, digest, _AT)
        return digest

    def path(self, relative: str) -> str:
        """Return the full path of a path in the tree."""
        return f"{self.writer.root}/{relative}"

    def overwrite(self, relative: str, data: bytes) -> None:
        """Put other bytes into a file."""
        with open(self.path(relative), "wb") as file:
            file.write(data)

    def remove(self, relative: str) -> None:
        """Delete a file."""
        os.unlink(self.path(relative))

    def tags(self) -> str:
        """Return the folder of the repository's tags."""
        return f"{_BASE}/repositories/{self.name}/_manifests/tags"

    def replace_by_symlink(self, relative: str, target: str) -> None:
        """Put a symbolic link in place of a file."""
        self.remove(relative)
        os.symlink(target, self.path(relative))


Case = Callable[[Broken], object]


def _tag_link(data: bytes) -> Case:
    return lambda b: b.overwrite(tag_path(b.name, "good"), data)


def _revision_link(data: bytes) -> Case:
    return lambda b: b.overwrite(revision_path(b.name, b.digest), data)


def _layer_link(data: bytes) -> Case:
    return lambda b: b.overwrite(layer_path(b.name, b.layer), data)


def _extra(payload: bytes) -> Case:
    return lambda b: b.add(payload)


def _changed(**changes: object) -> Case:
    return lambda b: b.add(b.payload(**changes))


def _new_tag(name: bytes) -> Case:
    def case(broken: Broken) -> None:
        folder = os.fsencode(broken.path(broken.tags())) + b"/" + name + b"/current"
        os.makedirs(folder)
        with open(folder + b"/link", "wb") as file:
            file.write(broken.digest.encode())

    return case


def _stray(relative: str, data: bytes | None = b"junk") -> Case:
    """Put a file (or a folder, for None) somewhere below docker/registry/v2; {name} is the repository."""

    def case(broken: Broken) -> None:
        full = broken.path(f"{_BASE}/{relative.format(name=broken.name)}")
        if data is None:
            os.makedirs(full, exist_ok=True)
            return
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)

    return case


def _whole_folder(relative: str) -> Case:
    def case(broken: Broken) -> None:
        import shutil

        shutil.rmtree(broken.path(f"{_BASE}/repositories/{broken.name}/{relative}"))

    return case


def _unlinked_child(broken: Broken) -> None:
    child = broken.writer.blob(broken.payload(annotations={"only": "in an index"}), _AT)
    size = len(broken.payload(annotations={"only": "in an index"}))
    broken.add(
        dump(
            {
                "schemaVersion": 2,
                "mediaType": DOCKER_LIST,
                "manifests": [descriptor(DOCKER_MANIFEST, child, size)],
            }
        )
    )


def _sha512_layer(broken: Broken) -> None:
    """Push a layer under sha512, as a registry stores it: under sha256, with a link that leads there."""
    import hashlib

    data = b"pushed under sha512"
    stored = broken.writer.blob(data, _AT)
    pushed = "sha512:" + hashlib.sha512(data).hexdigest()
    broken.writer.layer(broken.name, stored, _AT)
    broken.writer.put(layer_path(broken.name, pushed), stored.encode(), _AT)
    broken.add(broken.payload(layers=[descriptor(DOCKER_LAYER, pushed, len(data))]))


def _misplaced_blob(broken: Broken) -> None:
    hexadecimal = broken.layer.partition(":")[2]
    wrong = "00" if hexadecimal[:2] != "00" else "01"
    os.makedirs(broken.path(f"{_BASE}/blobs/sha256/{wrong}"), exist_ok=True)
    folder = blob_path(broken.layer).rpartition("/")[0]
    os.rename(broken.path(folder), broken.path(f"{_BASE}/blobs/sha256/{wrong}/{hexadecimal}"))


def _fifo(broken: Broken) -> None:
    os.mkfifo(broken.path(broken.tags() + "/pipe"))


def _link_is_folder(broken: Broken) -> None:
    broken.remove(tag_path(broken.name, "good"))
    os.mkdir(broken.path(tag_path(broken.name, "good")))


def _symlinked_current(broken: Broken) -> None:
    folder = tag_path(broken.name, "good").rpartition("/")[0]
    os.rename(broken.path(folder), broken.path(folder.replace("/current", "/real")))
    os.symlink("real", broken.path(folder))


# case -> (the kind of finding that an import makes of it, how to make it)
CASES: dict[str, tuple[str, Case]] = {
    "empty-revision-link": ("empty-link", _revision_link(b"")),
    "garbage-revision-link": ("bad-link", _revision_link(b"\xff\x00 not a digest")),
    "newline-revision-link": ("bad-link", lambda b: _revision_link(b.digest.encode() + b"\n")(b)),
    "revision-link-names-another": ("link-mismatch", _revision_link(_NOBODY.encode())),
    "empty-tag-link": ("empty-link", _tag_link(b"")),
    "garbage-tag-link": ("bad-link", _tag_link(b"sha256:zz")),
    "newline-tag-link": ("bad-link", lambda b: _tag_link(b.digest.encode() + b"\n")(b)),
    "traversing-tag-link": ("bad-link", _tag_link(b"sha256:../../../../../etc/passwd")),
    "huge-tag-link": ("bad-link", _tag_link(b"a" * 100_000)),
    "tag-without-link": ("missing-link", lambda b: b.remove(tag_path(b.name, "good"))),
    "tag-link-is-folder": ("unreadable-link", _link_is_folder),
    "dangling-tag": ("dangling-tag", lambda b: b.remove(revision_path(b.name, b.digest))),
    "stray-file-in-tags": ("stray-file", _stray("repositories/{name}/_manifests/tags/.nfs0001")),
    "fifo-in-tags": ("stray-file", _fifo),
    "tag-with-space": ("illegal-tag-name", _new_tag(b"a tag")),
    "tag-with-tilde": ("illegal-tag-name", _new_tag(b"v1~")),
    "tag-with-escape": ("illegal-tag-name", _new_tag(b"\x1b[31mred\n")),
    "tag-not-utf8": ("illegal-tag-name", _new_tag(b"\xff\xfe")),
    "tag-too-long": ("illegal-tag-name", _new_tag(b"t" * 129)),
    "no-tags-directory": ("no-tags-directory", _whole_folder("_manifests/tags")),
    "no-layers-directory": ("no-layers-directory", _whole_folder("_layers")),
    "empty-layer-link": ("empty-link", _layer_link(b"")),
    "garbage-layer-link": ("bad-link", _layer_link(b"garbage")),
    "layer-link-names-another": ("link-mismatch", _layer_link(_NOBODY.encode())),
    "sha512-layer": ("aliased-blob", _sha512_layer),
    "junk-in-revisions": (
        "illegal-digest",
        _stray("repositories/{name}/_manifests/revisions/sha256/junk/link"),
    ),
    "file-in-revisions": (
        "stray-file",
        _stray("repositories/{name}/_manifests/revisions/sha256/junk"),
    ),
    "junk-in-layers": ("illegal-digest", _stray("repositories/{name}/_layers/sha256/ABCDEF/link")),
    "md5-in-layers": ("unknown-algorithm", _stray("repositories/{name}/_layers/md5/abc/link")),
    "illegal-repository-name": (
        "illegal-repository-name",
        _stray("repositories/Corrupt Upper/_manifests/tags", None),
    ),
    "file-in-repositories": ("stray-file", _stray("repositories/README")),
    "unknown-folder-in-repository": ("stray-directory", _stray("repositories/{name}/_trash", None)),
    "junk-in-blobs": ("illegal-digest", _stray("blobs/sha256/zz/junk/data")),
    "file-in-blobs": ("stray-file", _stray("blobs/sha256/lost")),
    "md5-in-blobs": ("unknown-algorithm", _stray("blobs/md5/00/abc/data")),
    "blob-without-data": ("missing-data", _stray(f"blobs/sha256/00/00{'ab' * 31}", None)),
    "misplaced-blob": ("misplaced-blob", _misplaced_blob),
    "missing-manifest": ("missing-manifest", lambda b: b.remove(blob_path(b.digest))),
    "missing-config": ("missing-blob", lambda b: b.remove(blob_path(b.config))),
    "missing-layer": ("missing-blob", lambda b: b.remove(blob_path(b.layer))),
    "empty-layer": ("wrong-size", lambda b: b.overwrite(blob_path(b.layer), b"")),
    "empty-manifest": ("bad-manifest", lambda b: b.overwrite(blob_path(b.digest), b"")),
    "truncated-manifest": (
        "bad-manifest",
        lambda b: b.overwrite(blob_path(b.digest), b.payload()[:100]),
    ),
    "wrong-digest-manifest": (
        "digest-mismatch",
        lambda b: b.overwrite(blob_path(b.digest), b.payload(annotations={"not": "this"})),
    ),
    "manifest-is-symlink": (
        "symlink",
        lambda b: b.replace_by_symlink(blob_path(b.digest), "/etc/hostname"),
    ),
    "tag-link-is-symlink": (
        "symlink",
        lambda b: b.replace_by_symlink(tag_path(b.name, "good"), "/etc/hostname"),
    ),
    "tag-current-is-symlink": ("symlink", _symlinked_current),
    "tag-is-symlink": (
        "symlink",
        lambda b: os.symlink("good", b.path(b.tags() + "/alias")),
    ),
    "unknown-media-type": ("unknown-manifest", _changed(mediaType="application/x-strange")),
    "unknown-schema-version": ("unknown-manifest", _changed(schemaVersion=7)),
    "duplicate-keys": (
        "bad-manifest",
        _extra(b'{"schemaVersion": 2, "schemaVersion": 1, "layers": []}'),
    ),
    "not-a-number": ("bad-manifest", _extra(b'{"schemaVersion": 2, "layers": [], "x": NaN}')),
    "deep-nesting": ("bad-manifest", _extra(b'{"a":' + b"[" * 90_000 + b"]" * 90_000 + b"}")),
    "not-an-object": ("bad-manifest", _extra(b'["schemaVersion", 2]')),
    "manifest-not-utf8": ("bad-manifest", _extra(b'{"schemaVersion": 2, "x": "\xff"}')),
    "layers-not-a-list": ("bad-manifest", _changed(layers={"a": 1})),
    "bad-descriptor-digest": (
        "bad-manifest",
        _changed(layers=[descriptor(DOCKER_LAYER, "sha256:../../x", 3)]),
    ),
    "bad-descriptor-size": (
        "bad-manifest",
        _changed(layers=[{"mediaType": DOCKER_LAYER, "digest": _NOBODY, "size": "12"}]),
    ),
    "too-many-descriptors": (
        "bad-manifest",
        lambda b: b.add(
            dump(
                {
                    "schemaVersion": 2,
                    "mediaType": OCI_INDEX,
                    "manifests": [descriptor(DOCKER_MANIFEST, b.digest, len(b.payload()))] * 10_001,
                }
            )
        ),
    ),
    "oversize-manifest": (
        "oversize-manifest",
        lambda b: b.add(b.payload(annotations={"x": "x" * (4 << 20)})),
    ),
    "schema1-manifest": (
        "schema1-manifest",
        lambda b: b.add(dump({"schemaVersion": 1, "name": b.name, "fsLayers": [{"blobSum": b.layer}]})),
    ),
    "unlinked-child": ("unlinked-child", _unlinked_child),
    "config-not-json": ("bad-config", lambda b: b.overwrite(blob_path(b.config), b"\x7fELF")),
}


def all_cases() -> dict[str, Case]:
    """Return every case by its name, also those that only GitLab's import minds."""
    from ctl.catalog.corruption_gitlab import GITLAB_CASES

    return {**{name: case for name, (_, case) in CASES.items()}, **GITLAB_CASES}


def check_cases(cases: Sequence[str]) -> None:
    """Raise UsageError, naming the choices, unless every case is known."""
    from ctl.errors import UsageError

    known = all_cases()
    unknown = [case for case in cases if case not in known]
    if unknown:
        raise UsageError(
            f"no such corrupt case: {', '.join(unknown)}",
            hint="choose from: all, " + ", ".join(sorted(known)),
        )


def add_case(writer: TreeWriter, case: str) -> None:
    """Add one broken repository, `corrupt/<case>`, to a tree."""
    all_cases()[case](Broken(writer, case))
    writer.done.repositories += 1
