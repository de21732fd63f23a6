"""Read a manifest the way GitLab's importer does: with Go's rules for JSON, and its own for media types.

Go matches keys without regard to case, takes the last of two, ignores what it does not know, replaces odd
bytes, and fails on a value of the wrong type. `ctl.catalog.parse` is stricter on purpose: it reads for a
collector that must not lose anything, this reads to foretell what another program does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
PAYLOAD_LIMIT = 4 << 20  # bytes: it reads no larger manifest or config
MEDIA_TYPE_LIMIT = 255  # letters, in the database
_DEPTH_LIMIT = 10_000
_SCHEMA1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
_IN_LISTS = frozenset({DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE}) | _SCHEMA1  # an OCI index is none of them
_FOREIGN = {
    DOCKER_IMAGE: frozenset({"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}),
    OCI_IMAGE: frozenset(
        {
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        }
    ),
}
_INT = re.compile(r"-?[0-9]+\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a manifest names: digest, size and media type as they stand there, unchecked."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """A manifest that the importer can read. Images have a config and layers, indexes have children."""

    kind: str  # "image" | "index" | "schema1"
    config: Reference | None = None
    layers: tuple[Reference, ...] = ()  # without foreign ones, which are not looked for
    children: tuple[Reference, ...] = ()
    subject: str = ""  # the digest that a referrer is about


class UnusableError(Exception):
    """A manifest that the importer skips or stops at; `kind` is the finding's."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class _TypeFaultError(Exception):
    pass


class _Number(str):
    """A number as it is spelled."""


class _Object(list[tuple[str, Any]]):
    """An object's keys and values, also those that stand there twice."""


def read_manifest(payload: bytes) -> Parsed:
    """Read a manifest's bytes; UnusableError says what the importer makes of ones that it cannot take."""
    if not payload:
        raise UnusableError("empty-manifest", "0 bytes")
    document = _document(payload)
    try:
        head = _struct(document, {"schemaversion": _int, "mediatype": _text})
        version, media_type = head.get("schemaversion", 0), head.get("mediatype", "")
        if version == 1:
            _struct(document, _SCHEMA1_FIELDS)
            return Parsed("schema1")
        if version != 2:
            raise UnusableError("unknown-schema-version", f"schemaVersion is {version}")
        return _version2(document, media_type)
    except _TypeFaultError as error:
        raise UnusableError("bad-manifest", str(error)) from error


def _version2(document: Any, media_type: str) -> Parsed:
    if media_type in (DOCKER_LIST, OCI_INDEX):
        return _index(_struct(document, _INDEX_FIELDS))
    if media_type == "":
        fields = _struct(document, _INDEX_FIELDS)
        if fields.get("manifests") is not None:
            return _index(fields)
        return _image(_struct(document, _OCI_FIELDS), OCI_IMAGE)
    if media_type == OCI_IMAGE:
        return _image(_struct(document, _OCI_FIELDS), OCI_IMAGE)
    if media_type == DOCKER_IMAGE:
        return _image(_struct(document, _DOCKER_FIELDS), DOCKER_IMAGE)
    raise UnusableError("unknown-media-type", f"mediaType is {media_type[:200]}")


def _image(fields: Mapping[str, Any], media_type: str) -> Parsed:
    foreign = _FOREIGN[media_type]
    layers = tuple(one for one in fields.get("layers") or () if one.media_type not in foreign)
    subject = fields.get("subject")
    config = fields.get("config") or Reference("", 0, "")
    return Parsed("image", config, layers, subject=subject.digest if subject else "")


def _index(fields: Mapping[str, Any]) -> Parsed:
    children: tuple[Reference, ...] = tuple(fields.get("manifests") or ())
    blobs = [one for one in children if one.media_type not in _IN_LISTS]
    configs = [one for one in blobs if one.media_type == CACHE_CONFIG]
    subject = fields.get("subject")
    if not configs:
        return Parsed("index", children=children, subject=subject.digest if subject else "")
    if len(blobs) != len(children):
        raise UnusableError("mixed-cache-index", "a build cache's config stands beside manifests")
    layers = tuple(one for one in blobs if one.media_type != CACHE_CONFIG)
    kept = tuple(one for one in layers if one.media_type not in _FOREIGN[OCI_IMAGE])
    return Parsed("image", configs[-1], kept)


def is_json(data: bytes) -> bool:
    """Say whether bytes are one JSON document."""
    try:
        json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return True


def media_type_fault(media_type: str) -> str:
    """Say why the database refuses a media type; "" where it takes it."""
    if not media_type.strip(" "):
        return "no media type"
    if len(media_type) > MEDIA_TYPE_LIMIT:
        return f"a media type of more than {MEDIA_TYPE_LIMIT} letters"
    return "a media type with a zero byte" if "\0" in media_type else ""


def _document(payload: bytes) -> Any:
    try:
        return json.loads(
            payload.decode("utf-8", "replace"),
            object_pairs_hook=_Object,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_refuse,
        )
    except RecursionError as error:
        raise UnusableError("bad-manifest", "nested deeper than regctl follows") from error
    except ValueError as error:
        raise UnusableError("bad-manifest", str(error)[:200]) from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


Decode = Callable[[Any], Any]


def _struct(value: Any, fields: Mapping[str, Decode]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, _Object):
        raise _TypeFaultError("not an object where one belongs")
    found: dict[str, Any] = {}
    for key, item in value:
        name = key.casefold()
        decode = fields.get(name)
        if decode is not None:
            taken = decode(item)
            # null leaves a plain value as it was, and empties a list or what may be left out
            if item is not None or decode not in (_text, _int):
                found[name] = taken
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, _Number):
        raise _TypeFaultError("no text where one belongs")
    return value


def _int(value: Any) -> int:
    if value is None:
        return 0
    if not isinstance(value, _Number) or not _INT.match(value) or len(value) > 20:
        raise _TypeFaultError("no whole number where one belongs")
    number = int(value)
    if not -(1 << 63) <= number < 1 << 63:
        raise _TypeFaultError("a number too large for 64 bits")
    return number


def _list_of(decode: Decode) -> Decode:
    def taken(value: Any) -> list[Any] | None:
        if value is None:
            return None
        if not isinstance(value, list) or isinstance(value, _Object):
            raise _TypeFaultError("no list where one belongs")
        return [decode(item) for item in value]

    return taken


def _texts(value: Any) -> None:
    """Check an object whose values are texts."""
    if value is None:
        return
    if not isinstance(value, _Object):
        raise _TypeFaultError("not an object where one belongs")
    for _, item in value:
        _text(item)


_PLATFORM: Mapping[str, Decode] = {
    "architecture": _text,
    "os": _text,
    "os.version": _text,
    "os.features": _list_of(_text),
    "variant": _text,
}


def _platform(value: Any) -> None:
    _struct(value, _PLATFORM)


def _list_platform(value: Any) -> None:
    _struct(value, {**_PLATFORM, "features": _list_of(_text)})


_DESCRIPTOR: Mapping[str, Decode] = {
    "mediatype": _text,
    "size": _int,
    "digest": _text,
    "urls": _list_of(_text),
    "annotations": _texts,
    "platform": _platform,
}


def _descriptor_with(fields: Mapping[str, Decode]) -> Decode:
    def taken(value: Any) -> Reference | None:
        found = _struct(value, fields)
        return Reference(found.get("digest", ""), found.get("size", 0), found.get("mediatype", ""))

    return taken


_descriptor = _descriptor_with(_DESCRIPTOR)
_child = _descriptor_with({**_DESCRIPTOR, "platform": _list_platform})


def _subject(value: Any) -> Any:
    return None if value is None else _descriptor(value)


def _unread_subject(value: Any) -> Any:
    """Read an index's subject, which the importer does not know: whatever stands there stops nothing."""
    try:
        return _subject(value)
    except _TypeFaultError:
        return None


_DOCKER_FIELDS: Mapping[str, Decode] = {"config": _descriptor, "layers": _list_of(_descriptor)}
_OCI_FIELDS: Mapping[str, Decode] = {
    **_DOCKER_FIELDS,
    "artifacttype": _text,
    "subject": _subject,
    "annotations": _texts,
}
_INDEX_FIELDS: Mapping[str, Decode] = {"manifests": _list_of(_child), "subject": _unread_subject}
_SCHEMA1_FIELDS: Mapping[str, Decode] = {
    "name": _text,
    "tag": _text,
    "architecture": _text,
    "fslayers": _list_of(lambda value: _struct(value, {"blobsum": _text})),
    "history": _list_of(lambda value: _struct(value, {"v1compatibility": _text})),
}
