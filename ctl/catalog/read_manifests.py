"""Read manifests and their configs from the tree into rows: each one once, whatever its state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ctl.catalog.digests import blob_path, pack, unpack
from ctl.catalog.model import Descriptor, Finding, Manifest
from ctl.catalog.parse import (
    MANIFEST_LIMIT,
    ManifestError,
    config_of,
    matches,
    parse_created,
    parse_manifest,
)
from ctl.catalog.tree import finding

if TYPE_CHECKING:
    from ctl.storage.base import Storage

PARSED, DOUBTFUL, OPAQUE, MISSING = "parsed", "doubtful", "opaque", "missing"


@dataclass(slots=True)
class ReadManifest:
    """A manifest as it was found. All states but "parsed" are read again by the next import."""

    digest: bytes
    state: str
    manifest: Manifest | None = None
    created: str = ""
    findings: list[Finding] = field(default_factory=list)

    @property
    def scope(self) -> str:
        """The scope of its findings."""
        return f"manifest {unpack(self.digest)}"

    def row(self) -> tuple[Any, ...]:
        """Return its row of the table manifests."""
        m = self.manifest
        if m is None:
            return self.digest, self.state, "unknown", "", "", 0, ""
        return self.digest, self.state, m.kind, m.media_type, m.artifact_type, m.size, self.created

    def reference_rows(self) -> Iterator[tuple[Any, ...]]:
        """Return its rows of the table manifest_references."""
        for position, one in enumerate(self.manifest.references if self.manifest else ()):
            yield self.digest, position, str(one.role), pack(one.digest), one.size, one.media_type


def read_manifests(storage: Storage, digests: Sequence[bytes]) -> list[ReadManifest]:
    """Read and parse manifests, then the configs that say when images were created."""
    wanted = sorted(digests)
    texts = [unpack(digest) for digest in wanted]
    answers = storage.read_many((blob_path(text) for text in texts), MANIFEST_LIMIT)
    read = [_read(digest, text, answer) for digest, text, answer in zip(wanted, texts, answers, strict=True)]
    _read_configs(storage, read)
    return read


def _read(digest: bytes, text: str, answer: object) -> ReadManifest:
    path = blob_path(text)
    if not isinstance(answer, tuple):
        kind, reason = getattr(answer, "kind", ""), getattr(answer, "reason", "")
        if kind == "missing":
            what = finding(path, "missing-manifest", "linked, but its bytes are not stored")
            return ReadManifest(digest, MISSING, findings=[what])
        if kind == "too-large":
            return ReadManifest(digest, OPAQUE, findings=[finding(path, "oversize-manifest", reason)])
        if kind == "symlink":
            reason = "a symbolic link; it is not followed"
            return ReadManifest(digest, OPAQUE, findings=[finding(path, "symlink", reason)])
        return ReadManifest(digest, OPAQUE, findings=[finding(path, "bad-manifest", reason)])
    payload: bytes = answer[1]
    try:
        manifest = parse_manifest(text, payload)
    except ManifestError as error:
        return ReadManifest(digest, OPAQUE, findings=[finding(path, error.kind, error.reason)])
    found = ReadManifest(digest, PARSED, manifest, manifest.created)
    if not matches(text, payload):
        found.state = DOUBTFUL
        found.findings.append(finding(path, "digest-mismatch", "its bytes have another digest"))
    if manifest.kind == "unknown":
        reason = "schemaVersion and mediaType are of no kind that is known: "
        reason += manifest.media_type or "no mediaType"
        found.findings.append(finding(path, "unknown-manifest", reason))
    if manifest.kind == "schema1":
        found.findings.append(finding(path, "schema1-manifest", "3.x cannot collect garbage beside it"))
    return found


def _read_configs(storage: Storage, read: Sequence[ReadManifest]) -> None:
    configs: list[tuple[ReadManifest, Descriptor]] = []
    for one in read:
        config = config_of(one.manifest) if one.manifest else None
        if config is not None:
            configs.append((one, config))
    answers = storage.read_many((blob_path(c.digest) for _, c in configs), MANIFEST_LIMIT)
    for (one, config), answer in zip(configs, answers, strict=True):
        if not isinstance(answer, tuple):
            one.state = DOUBTFUL  # not there yet, or unreadable: the blobs' own findings say so
            continue
        data: bytes = answer[1]
        try:
            one.created = parse_created(data) or one.created
        except ManifestError as error:
            one.state = DOUBTFUL
            path = blob_path(config.digest)
            one.findings.append(finding(path, "bad-config", error.reason))
            continue
        if not matches(config.digest, data):
            one.state = DOUBTFUL
            reason = "its bytes have another digest"
            one.findings.append(finding(blob_path(config.digest), "digest-mismatch", reason))
