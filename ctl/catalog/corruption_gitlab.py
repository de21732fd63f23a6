"""More broken entries for `regctl seed --corrupt`: those that GitLab's import minds and others do not.

Each writes below `corrupt/<case>` as those of `ctl.catalog.corruption` do, but for names that are the fault.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ctl.catalog.digests import blob_path, layer_path, revision_path, tag_path
from ctl.catalog.seeding import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    FIRST_PUSH,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    descriptor,
    dump,
)

if TYPE_CHECKING:
    from ctl.catalog.corruption import Broken, Case

_AT = FIRST_PUSH
_BASE = "docker/registry/v2"
_REPOSITORIES = f"{_BASE}/repositories"
_CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
_NOBODY = "sha256:" + "0" * 63 + "1"


def _image(broken: Broken, what: str, repository: str = "", **changes: object) -> tuple[str, int]:
    """Store another healthy image in the repository, without a tag; return its digest and size."""
    name, writer = repository or broken.name, broken.writer
    data, config = f"layer of {what} in {name}".encode(), dump({"os": "linux", "what": what})
    layer_digest, config_digest = writer.blob(data, _AT), writer.blob(config, _AT)
    for digest in (layer_digest, config_digest):
        writer.layer(name, digest, _AT)
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": descriptor(DOCKER_CONFIG, config_digest, len(config)),
        "layers": [descriptor(DOCKER_LAYER, layer_digest, len(data))],
        **changes,
    }
    payload = dump(document)
    return writer.manifest(name, payload, _AT), len(payload)


def _index(broken: Broken, children: list[tuple[str, int]], tag: str = "bad", kind: str = DOCKER_LIST) -> str:
    media_type = DOCKER_MANIFEST if kind == DOCKER_LIST else OCI_MANIFEST
    manifests = [descriptor(media_type, digest, size) for digest, size in children]
    return broken.add(dump({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}), tag)


def _bad_child(broken: Broken) -> tuple[str, int]:
    """Store an image whose config nobody links."""
    config = broken.writer.blob(b'{"config": "not linked"}', _AT)
    return _image(broken, "bad", config=descriptor(DOCKER_CONFIG, config, 24))


def _whole(broken: Broken, name: str) -> None:
    """Store a healthy, tagged repository under another name."""
    digest, _size = _image(broken, "a name", name)
    broken.writer.tag(name, "latest", digest, _AT)


def _write(broken: Broken, path: str, data: bytes = b"junk") -> None:
    broken.writer.put(path, data, _AT)


def _digest_link(tag_text: str) -> Case:
    return lambda b: b.overwrite(tag_path(b.name, "good"), tag_text.encode())


def _newline(of: str) -> Case:
    def case(broken: Broken) -> None:
        digest = broken.config if of == "config" else broken.layer
        broken.overwrite(layer_path(broken.name, digest), digest.encode() + b"\n")

    return case


def _unlinked(of: str) -> Case:
    return lambda b: b.remove(layer_path(b.name, b.config if of == "config" else b.layer))


def _index_of(order: str) -> Case:
    """Tag an index of a bad child and two healthy ones, in the order of the letters b and g."""

    def case(broken: Broken) -> None:
        healthy = iter([_image(broken, "first"), _image(broken, "second")])
        _index(broken, [_bad_child(broken) if letter == "b" else next(healthy) for letter in order])

    return case


def _index_bad_layer(broken: Broken) -> None:
    data = b"a layer with an empty link"
    layer = broken.writer.blob(data, _AT)
    broken.writer.layer(broken.name, layer, _AT)
    broken.overwrite(layer_path(broken.name, layer), b"")
    bad = _image(broken, "bad", layers=[descriptor(DOCKER_LAYER, layer, len(data))])
    _index(broken, [_image(broken, "first"), bad, _image(broken, "second")])


def _index_truncated_child(broken: Broken) -> None:
    child = _image(broken, "cut")
    _index(broken, [_image(broken, "first"), child, _image(broken, "second")])
    broken.overwrite(blob_path(child[0]), b'{"schemaVersion": 2, "media')


def _index_newline_child(broken: Broken) -> None:
    child = _image(broken, "newline")
    _index(broken, [child, _image(broken, "second")])
    broken.overwrite(revision_path(broken.name, child[0]), child[0].encode() + b"\n")


def _nested_index(broken: Broken) -> None:
    inner = _index(broken, [_image(broken, "first")], "inner", OCI_INDEX)
    size = os.path.getsize(broken.path(blob_path(inner)))
    _index(broken, [_image(broken, "second"), (inner, size)], "bad", OCI_INDEX)


def _cache_index(*, mixed: bool) -> Case:
    def case(broken: Broken) -> None:
        children = [
            descriptor(OCI_LAYER, broken.layer, broken.layer_size),
            descriptor(_CACHE_CONFIG, broken.config, broken.config_size),
        ]
        if mixed:
            digest, size = _image(broken, "beside a cache")
            children.append(descriptor(OCI_MANIFEST, digest, size))
        broken.add(dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}))

    return case


def _media_type(layer: str | None = DOCKER_LAYER, config: str | None = DOCKER_CONFIG) -> Case:
    def case(broken: Broken) -> None:
        one: dict[str, object] = {"digest": broken.layer, "size": broken.layer_size}
        two: dict[str, object] = {"digest": broken.config, "size": broken.config_size}
        if layer is not None:
            one["mediaType"] = layer
        if config is not None:
            two["mediaType"] = config
        broken.add(broken.payload(layers=[one], config=two))

    return case


def _stored_under(algorithm: str) -> Case:
    def case(broken: Broken) -> None:
        digest = broken.writer.manifest(broken.name, broken.payload(), _AT, algorithm)
        broken.writer.tag(broken.name, "bad", digest, _AT)

    return case


def _sha384_layer(broken: Broken) -> None:
    import hashlib

    data = b"pushed under sha384"
    stored = broken.writer.blob(data, _AT)
    pushed = "sha384:" + hashlib.sha384(data).hexdigest()
    _write(broken, layer_path(broken.name, pushed), stored.encode())
    broken.add(broken.payload(layers=[descriptor(DOCKER_LAYER, pushed, len(data))]))


def _oversize_config(broken: Broken) -> None:
    config = broken.writer.blob(b'{"os": "linux"}' + b" " * (4 << 20), _AT)
    broken.writer.layer(broken.name, config, _AT)
    broken.add(broken.payload(config=descriptor(DOCKER_CONFIG, config, 15)))


def _hiding_file(broken: Broken) -> None:
    _whole(broken, f"{broken.name}/inner")
    _write(broken, f"{_REPOSITORIES}/{broken.name}/_a-note")


def _circle(broken: Broken) -> None:
    os.symlink("circle", broken.path(f"{_REPOSITORIES}/{broken.name}/circle"))


def _file_instead(folder: str) -> Case:
    def case(broken: Broken) -> None:
        import shutil

        shutil.rmtree(broken.path(f"{_REPOSITORIES}/{broken.name}/{folder}"))
        _write(broken, f"{_REPOSITORIES}/{broken.name}/{folder}")

    return case


def _names_other_manifest(broken: Broken) -> None:
    other, _size = _image(broken, "other")
    broken.overwrite(revision_path(broken.name, broken.digest), other.encode())


def _referrer(tag: str) -> Case:
    def case(broken: Broken) -> None:
        empty = broken.writer.blob(b"{}", _AT)
        broken.writer.layer(broken.name, empty, _AT)
        payload = dump(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": "application/vnd.example.signature",
                "config": descriptor(OCI_EMPTY, empty, 2),
                "layers": [descriptor(OCI_EMPTY, empty, 2)],
                "subject": descriptor(DOCKER_MANIFEST, broken.digest, len(broken.payload())),
            }
        )
        digest = broken.writer.manifest(broken.name, payload, _AT)
        if tag:
            broken.writer.tag(broken.name, tag, digest, _AT)

    return case


def _large_config(broken: Broken) -> None:
    broken.add(broken.payload(config=descriptor(DOCKER_CONFIG, _NOBODY, 300_000)))


def _without_config(broken: Broken) -> None:
    broken.add(dump({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "layers": []}))


def _bytes(payload: bytes) -> Case:
    return lambda b: b.add(payload)


GITLAB_CASES: dict[str, Case] = {
    "newline-layer-link": _newline("layer"),
    "newline-config-link": _newline("config"),
    "garbage-config-link": lambda b: b.overwrite(layer_path(b.name, b.config), b"garbage"),
    "unlinked-config": _unlinked("config"),
    "unlinked-layer": _unlinked("layer"),
    "md5-tag-link": _digest_link("md5:0cc175b9c0f1b6a831c399e269772661"),
    "upper-case-tag-link": _digest_link("sha256:" + "AB" * 32),
    "revision-link-names-a-manifest": _names_other_manifest,
    "index-bad-child-first": _index_of("bgg"),
    "index-bad-child-middle": _index_of("gbg"),
    "index-bad-child-last": _index_of("ggb"),
    "index-bad-layer": _index_bad_layer,
    "index-truncated-child": _index_truncated_child,
    "index-newline-child": _index_newline_child,
    "nested-index": _nested_index,
    "cache-index": _cache_index(mixed=False),
    "mixed-cache-index": _cache_index(mixed=True),
    "layer-without-media-type": _media_type(layer=None),
    "config-without-media-type": _media_type(config=None),
    "long-media-type": _media_type(layer="application/x-" + "y" * 255),
    "foreign-layer": lambda b: b.add(b.payload(layers=[descriptor(_FOREIGN, _NOBODY, 7)])),
    "sha512-manifest": _stored_under("sha512"),
    "sha384-manifest": _stored_under("sha384"),
    "sha384-layer": _sha384_layer,
    "oversize-config": _oversize_config,
    "large-config-missing": _large_config,
    "manifest-without-config": _without_config,
    "schema1-bad-types": _bytes(b'{"schemaVersion": 1, "fsLayers": {}}'),
    "manifests-no-list": _bytes(b'{"schemaVersion": 2, "manifests": {}}'),
    "upper-case-repository": lambda b: _whole(b, f"{b.name}/UPPER"),
    "upper-case-namespace": lambda b: _whole(b, "Corrupt-Namespace/app"),
    "namespace-with-port": lambda b: _whole(b, "corrupt.example:5000/app"),
    "long-repository-name": lambda b: _whole(b, b.name + "/" + "/".join(["long" * 10] * 6)),
    "hiding-file": _hiding_file,
    "circle": _circle,
    "tags-is-a-file": _file_instead("_manifests/tags"),
    "manifests-is-a-file": _file_instead("_manifests"),
    "one-letter-blob-folder": lambda b: _write(b, f"{_BASE}/blobs/sha256/a/data"),
    "data-in-blobs": lambda b: _write(b, f"{_BASE}/blobs/sha256/data"),
    "sha384-blob": lambda b: b.writer.blob(b"stored under sha384", _AT, "sha384"),
    "untagged-referrer": _referrer(""),
    "tagged-referrer": _referrer("signature"),
}
