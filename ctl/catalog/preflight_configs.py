"""Look at the bytes of images' configs: the importer takes them as they are, JSON or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ctl.catalog.digests import blob_path
from ctl.catalog.parse import matches
from ctl.catalog.preflight_blobs import BlobIndex
from ctl.catalog.preflight_image import CONFIG_LIMIT
from ctl.catalog.preflight_json import PAYLOAD_LIMIT, is_json
from ctl.catalog.preflight_read import Key, Link, Loaded, through
from ctl.catalog.preflight_words import PreflightFinding, found

if TYPE_CHECKING:
    from ctl.storage.base import Storage


def config_findings(
    storage: Storage, blobs: BlobIndex, loaded: Mapping[Key, Loaded], links: Mapping[Key, Link]
) -> Iterator[PreflightFinding]:
    """Yield the configs of images that are no JSON, are not what their digest says, or cannot be read."""
    wanted: dict[str, Key] = {}
    for (repository, digest), one in loaded.items():
        config = one.parsed.config if one.parsed is not None and one.parsed.kind == "image" else None
        link = links.get((repository, config.digest)) if config is not None else None
        if config is None or link is None or not link.target or config.size > CONFIG_LIMIT:
            continue
        if 0 <= blobs.size(link.target) <= PAYLOAD_LIMIT:
            wanted.setdefault(link.target, (repository, digest))
    answers = storage.read_many((through(blob_path(target)) for target in wanted), PAYLOAD_LIMIT)
    for (target, (repository, digest)), answer in zip(wanted.items(), answers, strict=True):
        kind, reason = _judge(target, answer)
        if kind:
            yield found(blob_path(target), kind, reason, repository=repository, digest=digest)


def _judge(target: str, answer: object) -> tuple[str, str]:
    if not isinstance(answer, tuple):
        kind, reason = getattr(answer, "kind", ""), getattr(answer, "reason", "")
        return ("unreadable", reason) if kind == "unreadable" else ("", "")
    data: bytes = answer[1]
    if not matches(target, data):
        return "bad-config", "its bytes have another digest"
    return ("", "") if is_json(data) else ("bad-config", "no JSON")
