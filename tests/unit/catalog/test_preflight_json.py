"""Manifests are read with Go's rules: what is taken, what is refused, and never an error of our own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.catalog.preflight_json import (
    CACHE_CONFIG,
    DOCKER_IMAGE,
    DOCKER_LIST,
    OCI_IMAGE,
    OCI_INDEX,
    UnusableError,
    media_type_fault,
    read_manifest,
)

DIGEST = "sha256:" + "a" * 64
ONE: dict[str, Any] = {"mediaType": "application/x", "size": 3, "digest": DIGEST}


def fault(document: object) -> str:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    try:
        return read_manifest(payload).kind
    except UnusableError as error:
        return error.kind


def image(**changes: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": DOCKER_IMAGE, "config": ONE, "layers": [ONE], **changes}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b"", "empty-manifest"),
        (b"{", "bad-manifest"),
        (b"[]", "bad-manifest"),
        (b"null", "unknown-schema-version"),
        (b"{}", "unknown-schema-version"),
        (b"\xef\xbb\xbf{}", "bad-manifest"),
        (b'{"a": NaN}', "bad-manifest"),
        (b'{"schemaVersion": 2.0}', "bad-manifest"),
        (b'{"schemaVersion": "2"}', "bad-manifest"),
        (b'{"schemaVersion": 7}', "unknown-schema-version"),
        (b'{"schemaVersion": 1}', "schema1"),
        (b'{"schemaVersion": 1, "fsLayers": 3}', "bad-manifest"),
        (b'{"SCHEMAVERSION": 2, "MediaType": "x"}', "unknown-media-type"),
        (b'{"schemaVersion": 2, "schemaVersion": 1}', "schema1"),
        (b'{"schemaVersion": 2, "schemaVersion": null, "x": 1e999}', "image"),
        (b'{"schemaVersion": 2}', "image"),
        (b'{"schemaVersion": 2, "manifests": []}', "index"),
        (b'{"schemaVersion": 2, "manifests": null}', "image"),
        (b'{"schemaVersion": 2, "manifests": {}}', "bad-manifest"),
        (image(), "image"),
        (image(mediaType=OCI_IMAGE, annotations={"a": "b"}), "image"),
        (image(mediaType=OCI_IMAGE, annotations={"a": 1}), "bad-manifest"),
        (image(annotations={"a": 1}), "image"),  # a Docker manifest has no such field
        (image(layers={}), "bad-manifest"),
        (image(layers=None), "image"),
        (image(layers=[{**ONE, "size": "3"}]), "bad-manifest"),
        (image(layers=[{**ONE, "size": 1 << 63}]), "bad-manifest"),
        (image(layers=[{**ONE, "urls": [3]}]), "bad-manifest"),
        (image(layers=[{**ONE, "platform": {"os": 1}}]), "bad-manifest"),
        (image(unknown={"deep": [1, {"x": None}]}), "image"),
        (image(mediaType="application/x-other"), "unknown-media-type"),
        ({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [ONE], "subject": 3}, "index"),
        ({"schemaVersion": 2, "mediaType": DOCKER_LIST}, "index"),
        (
            {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{**ONE, "mediaType": CACHE_CONFIG}]},
            "image",
        ),
        (
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [{**ONE, "mediaType": CACHE_CONFIG}, {**ONE, "mediaType": OCI_IMAGE}],
            },
            "mixed-cache-index",
        ),
    ],
)
def test_what_the_importer_makes_of_a_manifest(document: object, expected: str) -> None:
    assert fault(document) == expected


def test_references_are_taken_as_they_stand() -> None:
    foreign = {**ONE, "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}
    parsed = read_manifest(json.dumps(image(layers=[ONE, foreign, {"digest": "nonsense"}])).encode())
    assert [(one.digest, one.size) for one in parsed.layers] == [(DIGEST, 3), ("nonsense", 0)]
    assert parsed.config is not None
    assert parsed.config.media_type == "application/x"
    subject = read_manifest(json.dumps(image(mediaType=OCI_IMAGE, subject=ONE)).encode())
    assert subject.subject == DIGEST


@pytest.mark.parametrize(
    ("media_type", "good"), [("application/x", True), ("", False), ("  ", False), ("y" * 255, True)]
)
def test_media_types_of_the_database(media_type: str, good: bool) -> None:
    assert (media_type_fault(media_type) == "") is good
    assert media_type_fault("y" * 256)
    assert media_type_fault("a\0b")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "schemaVersion",
        "mediaType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
        "fsLayers",
        "size",
    ]
)


@given(st.binary(max_size=200))
def test_any_bytes_are_judged(payload: bytes) -> None:
    fault(payload)


@given(st.dictionaries(FIELDS, JSON, max_size=6), st.sampled_from([1, 2, 2, 2]))
def test_any_document_is_judged(document: dict[str, Any], version: int) -> None:
    fault({"schemaVersion": version, **document})
    fault({**document, "schemaVersion": version, "mediaType": OCI_IMAGE})


@given(JSON, st.sampled_from(["config", "layers", "annotations", "subject", "artifactType"]))
def test_a_field_of_the_wrong_type_is_refused_and_one_unknown_is_not(value: Any, field: str) -> None:
    assert fault(image(somethingElse=value)) == "image"
    found = fault(image(mediaType=OCI_IMAGE, **{field: value}))
    assert found in ("image", "bad-manifest")
    if isinstance(value, bool | int | float) and value is not None:
        assert found == "bad-manifest"
