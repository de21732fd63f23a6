"""Images as values, deterministic by seed: OCI and Docker schema 2, indexes, referrers, odd ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Format = Literal["oci", "docker"]
Algorithm = Literal["sha256", "sha512"]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
MANIFEST_TYPES = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST)
CREATED = "2024-05-01T12:00:00Z"

_CONFIG = {
    "oci": "application/vnd.oci.image.config.v1+json",
    "docker": "application/vnd.docker.container.image.v1+json",
}
_LAYER = {
    "oci": "application/vnd.oci.image.layer.v1.tar+gzip",
    "docker": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}


@dataclass(frozen=True)
class Content:
    """Bytes with their media type and digest."""

    media_type: str
    data: bytes
    algorithm: Algorithm = "sha256"
    diff_id: str = ""  # of a layer: the digest of the uncompressed tar

    @property
    def digest(self) -> str:
        """The digest as text, `sha256:<hex>`."""
        return f"{self.algorithm}:{hashlib.new(self.algorithm, self.data).hexdigest()}"

    @property
    def descriptor(self) -> dict[str, Any]:
        """How a manifest refers to it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


@dataclass(frozen=True)
class Image:
    """A manifest, and what must be pushed before it: its blobs, or (an index) its children."""

    manifest: Content
    blobs: tuple[Content, ...] = ()
    children: tuple[Image, ...] = ()

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return self.manifest.digest

    @property
    def layers(self) -> tuple[Content, ...]:
        """The blobs without the config (which comes first)."""
        return self.blobs[1:]

    def everything(self) -> dict[str, Content]:
        """Return all blobs and manifests by digest: what the storage holds after a push."""
        found = {self.manifest.digest: self.manifest} | {b.digest: b for b in self.blobs}
        for child in self.children:
            found |= child.everything()
        return found


def layer(
    seed: str | int, size: int = 2048, *, format: Format = "oci", algorithm: Algorithm = "sha256"
) -> Content:
    """Make a gzipped tar of one file of `size` random bytes."""
    noise = random.Random(f"layer {seed}").randbytes(size)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        info = tarfile.TarInfo(f"file-{seed}")
        info.size = size
        archive.addfile(info, io.BytesIO(noise))
    tar = plain.getvalue()
    return Content(
        _LAYER[format],
        gzip.compress(tar, compresslevel=1, mtime=0),
        algorithm,
        "sha256:" + hashlib.sha256(tar).hexdigest(),
    )


def image(
    seed: str | int,
    *,
    layers: int = 2,
    layer_size: int = 2048,
    shared: Sequence[Content] = (),
    format: Format = "oci",
    algorithm: Algorithm = "sha256",
    created: str | None = CREATED,
    architecture: str = "amd64",
    subject: Image | None = None,
    artifact_type: str = "",
) -> Image:
    """Make an image: the `shared` layers first, then `layers` of its own. `created` None leaves it out."""
    own = [layer(f"{seed}/{n}", layer_size, format=format, algorithm=algorithm) for n in range(layers)]
    stack = [*shared, *own]
    settings: dict[str, Any] = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Labels": {"seed": str(seed)}},
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in stack]},
    }
    if created is not None:
        settings["created"] = created
    config = Content(_CONFIG[format], _json(settings), algorithm)
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST if format == "oci" else DOCKER_MANIFEST,
        "config": config.descriptor,
        "layers": [one.descriptor for one in stack],
    }
    if artifact_type:
        document["artifactType"] = artifact_type
    if subject is not None:
        document["subject"] = subject.manifest.descriptor
    manifest = Content(document["mediaType"], _json(document), algorithm)
    return Image(manifest, (config, *stack))


def index(children: Sequence[Image], *, format: Format = "oci", subject: Image | None = None) -> Image:
    """Make an index (manifest list) over images or further indexes."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX if format == "oci" else DOCKER_LIST,
        "manifests": [_child(child, number) for number, child in enumerate(children)],
    }
    if subject is not None:
        document["subject"] = subject.manifest.descriptor
    return Image(Content(document["mediaType"], _json(document)), (), tuple(children))


def multi_arch(seed: str | int, *, format: Format = "oci", **options: Any) -> Image:
    """Make an index over one image each for amd64 and arm64."""
    return index(
        [image(f"{seed}/{arch}", format=format, architecture=arch, **options) for arch in ("amd64", "arm64")],
        format=format,
    )


def referrer(
    seed: str | int, subject: Image, artifact_type: str = "application/vnd.example.note.v1"
) -> Image:
    """Make an artifact that is about another manifest, as signatures are."""
    config = Content(OCI_EMPTY, b"{}")
    note = Content("text/plain", f"note {seed}".encode())
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": config.descriptor,
        "layers": [note.descriptor],
        "subject": subject.manifest.descriptor,
    }
    return Image(Content(OCI_MANIFEST, _json(document)), (config, note))


def write_oci_layout(folder: Path, tags: dict[str, Image]) -> Path:
    """Write an OCI image layout that skopeo reads as `oci:FOLDER:TAG`; OCI images only."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    entries = []
    for tag, one in tags.items():
        for digest, content in one.everything().items():
            (blobs / digest.removeprefix("sha256:")).write_bytes(content.data)
        entries.append(
            {
                **one.manifest.descriptor,
                "annotations": {"org.opencontainers.image.ref.name": tag},
            }
        )
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (folder / "index.json").write_bytes(
        _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    )
    return folder


def _child(child: Image, number: int) -> dict[str, Any]:
    descriptor = child.manifest.descriptor
    if child.blobs:
        architecture = json.loads(child.blobs[0].data).get("architecture", f"a{number}")
        descriptor["platform"] = {"architecture": architecture, "os": "linux"}
    return descriptor


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()
