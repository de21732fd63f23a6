"""Manifests of every kind are read; what lies or overflows is refused with a reason, never a traceback."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.catalog.digests import is_digest, pack, unpack
from ctl.catalog.model import Role
from ctl.catalog.parse import ManifestError, config_of, matches, parse_created, parse_manifest, usable_time
from tests.support import images

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64
LONG = "sha512:" + "c" * 128
IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def _described(media_type: str, digest: str, size: object = 3, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size, **more}


def _parse(document: Any) -> Any:
    payload = json.dumps(document).encode()
    return parse_manifest("sha256:" + hashlib.sha256(payload).hexdigest(), payload)


def _roles(document: Any) -> list[tuple[str, str]]:
    return [(str(one.role), one.digest) for one in _parse(document).references]


def test_an_image_keeps_its_config_and_layers() -> None:
    one = images.image("x", format="docker")
    manifest = parse_manifest(one.digest, one.manifest.data)
    assert (manifest.kind, manifest.media_type) == ("image", IMAGE)
    assert manifest.size == len(one.manifest.data)
    assert [r.digest for r in manifest.references] == [b.digest for b in one.blobs]
    assert [r.size for r in manifest.references] == [len(b.data) for b in one.blobs]
    config = config_of(manifest)
    assert config is not None
    assert config.digest == one.blobs[0].digest


@pytest.mark.parametrize(
    ("document", "kind", "media_type"),
    [
        ({"schemaVersion": 2, "config": _described(CONFIG, A), "layers": []}, "image", images.OCI_MANIFEST),
        ({"schemaVersion": 2, "manifests": []}, "index", images.OCI_INDEX),
        ({"schemaVersion": 2, "mediaType": images.DOCKER_LIST, "manifests": []}, "index", images.DOCKER_LIST),
        (
            {"schemaVersion": 1, "fsLayers": []},
            "schema1",
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
        ),
        (
            {"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": []},
            "artifact",
            "application/vnd.oci.artifact.manifest.v1+json",
        ),
        (
            {"schemaVersion": 2, "mediaType": "application/x-new", "layers": []},
            "unknown",
            "application/x-new",
        ),
        ({"schemaVersion": 3, "mediaType": IMAGE}, "unknown", IMAGE),
        ({"schemaVersion": 2}, "unknown", ""),
        ({"schemaVersion": True, "mediaType": IMAGE}, "unknown", IMAGE),
    ],
)
def test_the_kind_is_what_media_type_and_version_say(document: Any, kind: str, media_type: str) -> None:
    manifest = _parse(document)
    assert (manifest.kind, manifest.media_type) == (kind, media_type)


def test_references_of_every_field_are_kept_whatever_the_kind() -> None:
    everything = {
        "schemaVersion": 9,
        "config": _described(CONFIG, A),
        "layers": [_described(LAYER, B), _described(LAYER, LONG, urls=["https://example.com/x"])],
        "manifests": [_described(IMAGE, A)],
        "blobs": [_described("text/plain", B)],
        "fsLayers": [{"blobSum": A}],
        "subject": _described(IMAGE, B),
    }
    assert _roles(everything) == [
        ("config", A),
        ("layer", B),
        ("foreign", LONG),
        ("layer", B),
        ("manifest", A),
        ("layer", A),
        ("subject", B),
    ]


def test_a_referrer_names_its_subject_and_type() -> None:
    subject = images.image("s")
    one = images.referrer("note", subject)
    manifest = parse_manifest(one.digest, one.manifest.data)
    assert manifest.artifact_type == "application/vnd.example.note.v1"
    about = [r for r in manifest.references if r.role is Role.SUBJECT]
    assert [r.digest for r in about] == [subject.digest]
    assert config_of(manifest) is None


def test_without_artifact_type_the_config_says_what_it_is() -> None:
    chart = {"schemaVersion": 2, "config": _described("application/vnd.example.chart", A), "layers": []}
    assert _parse(chart).artifact_type == "application/vnd.example.chart"
    image = {"schemaVersion": 2, "config": _described(CONFIG, A), "layers": []}
    assert _parse(image).artifact_type == ""


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "0 bytes"),
        (b"{", "Expecting"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"x": {"a": 1, "a": 2}}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper"),
        (b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "nested deeper"),
        (b"[" * 70_000, "more than is sane"),
        (b'{"mediaType": 7}', "short text"),
        (b'{"mediaType": "a\\u001b[31m"}', "short text"),
        (b'{"layers": {}}', "no list"),
        (b'{"layers": ["x"]}', "no object"),
        (b'{"config": []}', "no object"),
        (b'{"layers": [{"digest": "sha256:zz", "size": 1}]}', "no digest"),
        (b'{"layers": [{"size": 1}]}', "no digest"),
        (b'{"config": {"digest": "sha256:../../../etc/passwd"}}', "no digest"),
        (json.dumps({"config": {"digest": A, "size": "1"}}).encode(), "whole number"),
        (json.dumps({"config": {"digest": A, "size": 1.5}}).encode(), "whole number"),
        (json.dumps({"config": {"digest": A, "size": True}}).encode(), "whole number"),
        (json.dumps({"config": {"digest": A, "size": -2}}).encode(), "whole number"),
        (json.dumps({"config": {"digest": A, "size": 1 << 63}}).encode(), "whole number"),
        (json.dumps({"config": {"digest": A.upper(), "size": 1}}).encode(), "no digest"),
        (b'{"fsLayers": [1]}', "no object"),
        (json.dumps({"layers": [{"digest": A, "size": 1}] * 10_001}).encode(), "more than 10000"),
    ],
)
def test_what_cannot_be_taken_says_why(payload: bytes, reason: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(A, payload)
    assert caught.value.kind == "bad-manifest"
    assert reason in caught.value.reason
    assert len(caught.value.reason) < 300


def test_sixty_four_levels_are_still_taken() -> None:
    assert parse_manifest(A, b'{"a":' * 64 + b"1" + b"}" * 64).kind == "unknown"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_parse_or_are_refused(payload: bytes) -> None:
    reason = ""
    try:
        parse_manifest(A, payload)
    except ManifestError as error:
        reason = error.reason
    assert reason or payload.strip().startswith(b"{")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(A) | st.just(IMAGE),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["config", "layers", "digest", "size", "mediaType", "subject", "urls", "manifests"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["schemaVersion", "config", "layers", "mediaType", "blobs"]), _json))
def test_any_document_parses_or_is_refused(document: dict[str, Any]) -> None:
    try:
        references = _parse(document).references
    except ManifestError:
        references = ()
    assert all(is_digest(one.digest) and one.size >= -1 for one in references)


def test_a_large_refusal_is_quick() -> None:
    payload = b'{"layers": [' + b"[]," * 1_390_000 + b"[]]}"
    started = time.process_time()
    with pytest.raises(ManifestError):
        parse_manifest(A, payload)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("2024-05-06T07:08:09Z", True),
        ("2024-05-06T07:08:09.123456789+02:00", True),
        ("1970-01-01T00:00:00Z", False),
        ("0001-01-01T00:00:00Z", False),
        ("2024-05-06", False),
        ("yesterday", False),
        (1714979289, False),
        (None, False),
        ("2024-05-06T07:08:09Z" + "0" * 100, False),
        ("2024-05-06T07:08:09Z\n", False),
        ("٢٠٢٤-05-06T07:08:09Z", False),
    ],
)
def test_created_times_that_say_nothing_are_left_out(value: object, taken: bool) -> None:
    assert usable_time(value) == (value if taken else "")


def test_a_config_that_is_no_json_is_its_own_finding() -> None:
    with pytest.raises(ManifestError) as caught:
        parse_created(b"\x7fELF")
    assert caught.value.kind == "bad-config"
    assert parse_created(b'{"created": "2024-05-06T07:08:09Z"}') == "2024-05-06T07:08:09Z"
    assert parse_created(b"{}") == ""


@given(st.sampled_from([("sha256", 32), ("sha384", 48), ("sha512", 64)]), st.data())
def test_digests_survive_their_stored_form(algorithm: tuple[str, int], data: st.DataObject) -> None:
    raw = data.draw(st.binary(min_size=algorithm[1], max_size=algorithm[1]))
    text = f"{algorithm[0]}:{raw.hex()}"
    assert is_digest(text)
    assert unpack(pack(text)) == text
    assert not is_digest(text + "\n")
    assert not is_digest(text[:-1])


def test_bytes_are_held_against_their_digest() -> None:
    assert matches("sha256:" + hashlib.sha256(b"x").hexdigest(), b"x")
    assert matches("sha512:" + hashlib.sha512(b"x").hexdigest(), b"x")
    assert not matches(A, b"x")
