"""Make a registry tree of a chosen size and shape, the same for the same seed.

What it writes is what a `docker-registry` 2.8 with the filesystem driver leaves behind: blobs, revision
links, layer links, tags with their index history. Nothing is read back and no server is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ctl.catalog.digests import blob_path, layer_path, revision_path, tag_path

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"

FIRST_PUSH = 1_704_067_200  # 2024-01-01T00:00:00Z, in seconds; every mtime counts from here
_PUSH_INTERVAL = 613  # seconds between two pushes to one repository
_UNTAGGED = 0.08  # manifests without a tag, for each tag
_INDEX_SHARE = {"mixed": 0.15, "images": 0.0, "indexes": 1.0}
SHAPES = tuple(_INDEX_SHARE)


@dataclass(frozen=True)
class SeedPlan:
    """How large a tree, and of what shape. Sizes in bytes."""

    repositories: int
    tags_per_repository: int
    seed: int = 1
    shape: str = "mixed"
    garbage: float = 5.0  # orphan blobs, in percent of the blobs in use
    layer_size: int = 512


@dataclass
class Seeded:
    """What was written: counts, and bytes of blobs."""

    repositories: int = 0
    tags: int = 0
    manifests: int = 0
    blobs: int = 0
    files: int = 0
    bytes: int = 0
    garbage_blobs: int = 0
    garbage_bytes: int = 0


class TreeWriter:
    """Write the entries of a registry's tree, each with the mtime it is given."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.done = Seeded()

    def put(self, path: str, data: bytes, at: int) -> bool:
        """Write a file below the root, its folders too; False if it was there already."""
        full = f"{self.root}/{path}"
        try:
            handle = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            os.makedirs(full.rpartition("/")[0], exist_ok=True)
            handle = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(handle, data) if data else None
            os.utime(handle, ns=(at * 1_000_000_000, at * 1_000_000_000))
        finally:
            os.close(handle)
        self.done.files += 1
        return True

    def blob(self, data: bytes, at: int, algorithm: str = "sha256") -> str:
        """Store a blob and return its digest."""
        digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        if self.put(blob_path(digest), data, at):
            self.done.blobs += 1
            self.done.bytes += len(data)
        return digest

    def layer(self, repository: str, digest: str, at: int) -> None:
        """Let a blob be read through a repository."""
        self.put(layer_path(repository, digest), digest.encode(), at)

    def manifest(self, repository: str, payload: bytes, at: int, algorithm: str = "sha256") -> str:
        """Store a manifest, make it part of a repository and return its digest."""
        digest = self.blob(payload, at, algorithm)
        if self.put(revision_path(repository, digest), digest.encode(), at):
            self.done.manifests += 1
        return digest

    def tag(self, repository: str, name: str, digest: str, at: int) -> None:
        """Point a tag at a manifest, with its history entry."""
        current = tag_path(repository, name)
        algorithm, _, hexadecimal = digest.partition(":")
        history = current.removesuffix("current/link") + f"index/{algorithm}/{hexadecimal}/link"
        self.put(history, digest.encode(), at)
        if self.put(current, digest.encode(), at):
            self.done.tags += 1


def descriptor(media_type: str, digest: str, size: int, **more: object) -> dict[str, object]:
    """Return a descriptor as manifests write it."""
    return {"mediaType": media_type, "size": size, "digest": digest, **more}


def dump(document: object) -> bytes:
    """Return a document as the bytes that a client pushes."""
    return json.dumps(document, indent=3).encode()


class _Repository:
    """One repository being filled; its random numbers depend on the seed and its number only."""

    def __init__(self, writer: TreeWriter, plan: SeedPlan, number: int) -> None:
        self.writer = writer
        self.plan = plan
        self.random = random.Random(f"{plan.seed}/{number}")  # noqa: S311 - repeatable, not secret
        self.name = repository_name(number)
        self.oci = number % 2 == 1
        self.names_itself = number % 6 != 1  # some OCI clients leave mediaType out
        self.pool = max(12, int(plan.repositories * plan.tags_per_repository * 0.25))
        self.at = FIRST_PUSH + number

    def layer(self, data: bytes) -> dict[str, object]:
        digest = self.writer.blob(data, self.at)
        self.writer.layer(self.name, digest, self.at)
        return descriptor(OCI_LAYER if self.oci else DOCKER_LAYER, digest, len(data))

    def shared_layer(self, number: int) -> dict[str, object]:
        shared = random.Random(f"{self.plan.seed}/pool/{number}")  # noqa: S311
        return self.layer(shared.randbytes(self.plan.layer_size))

    def image(self, architecture: str = "amd64") -> tuple[str, int]:
        """Push an image; return its digest and the size of its manifest."""
        layers = [self.shared_layer(self.random.randrange(self.pool)) for _ in range(2)]
        if self.random.random() < 0.5:
            layers.append(self.shared_layer(self.random.randrange(self.pool)))
        layers.append(self.layer(self.random.randbytes(self.plan.layer_size)))
        config = dump(
            {
                "architecture": architecture,
                "os": "linux",
                **self.created(),
                "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/app"]},
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
                "history": [{"created_by": f"COPY {self.random.getrandbits(64):x} /app"}],
            }
        )
        config_digest = self.writer.blob(config, self.at)
        self.writer.layer(self.name, config_digest, self.at)
        kind = OCI_MANIFEST if self.oci else DOCKER_MANIFEST
        config_kind = OCI_CONFIG if self.oci else DOCKER_CONFIG
        return self.push(
            kind,
            {"config": descriptor(config_kind, config_digest, len(config)), "layers": layers},
        )

    def created(self) -> dict[str, str]:
        """Return the config's created time: mostly true, now and then useless, as in the wild."""
        draw = self.random.random()
        if draw < 0.03:
            return {}
        if draw < 0.06:
            return {"created": "1970-01-01T00:00:00Z"}
        if draw < 0.08:
            return {"created": "0001-01-01T00:00:00Z"}
        day, second = divmod(self.at - FIRST_PUSH, 86_400)
        return {"created": f"2024-{1 + day // 28 % 12:02d}-{1 + day % 28:02d}T{second // 3600:02d}:00:00Z"}

    def push(self, kind: str, body: dict[str, object]) -> tuple[str, int]:
        head: dict[str, object] = {"schemaVersion": 2}
        if self.names_itself or kind in (DOCKER_MANIFEST, DOCKER_LIST):
            head["mediaType"] = kind
        payload = dump({**head, **body})
        return self.writer.manifest(self.name, payload, self.at), len(payload)

    def index(self) -> str:
        children = []
        for architecture in ("amd64", "arm64"):
            digest, size = self.image(architecture)
            platform = {"architecture": architecture, "os": "linux"}
            kind = OCI_MANIFEST if self.oci else DOCKER_MANIFEST
            children.append(descriptor(kind, digest, size, platform=platform))
        return self.push(OCI_INDEX if self.oci else DOCKER_LIST, {"manifests": children})[0]

    def referrer(self, subject: str, size: int) -> None:
        """Push a signature-like artifact about a manifest."""
        empty = self.writer.blob(b"{}", self.at)
        self.writer.layer(self.name, empty, self.at)
        self.push(
            OCI_MANIFEST,
            {
                "artifactType": "application/vnd.example.signature",
                "config": descriptor(OCI_EMPTY, empty, 2),
                "layers": [self.layer(self.random.randbytes(64))],
                "subject": descriptor(OCI_MANIFEST, subject, size),
            },
        )

    def fill(self) -> None:
        share = _INDEX_SHARE[self.plan.shape]
        digest = ""
        for number in range(self.plan.tags_per_repository):
            self.at += _PUSH_INTERVAL
            if number and number == self.plan.tags_per_repository - 1:
                self.writer.tag(self.name, "latest", digest, self.at)
                break
            digest = self.index() if self.random.random() < share else self.image()[0]
            self.writer.tag(self.name, f"v{number // 20}.{number % 20}.0", digest, self.at)
            if self.random.random() < _UNTAGGED:
                untagged, size = self.image()
                if self.oci and self.random.random() < 0.3:
                    self.referrer(untagged, size)
        self.writer.done.repositories += 1


def repository_name(number: int) -> str:
    """Return the name of the repository of that number; every seventh lies below the one before."""
    if number % 7 == 6:
        return f"{repository_name(number - 1)}/worker"
    return f"team-{number % 13:02d}/app-{number:04d}"


def seed_tree(
    root: str,
    plan: SeedPlan,
    corrupt: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Seeded:
    """Write the tree below an empty or missing root directory; return what was written.

    `corrupt` names cases of `ctl.catalog.corruption`; each is added beside the healthy repositories.
    Raises UsageError where the root holds anything, or a case is unknown.
    """
    from ctl.catalog.corruption import add_case, check_cases
    from ctl.errors import UsageError

    check_cases(corrupt)
    os.makedirs(root, exist_ok=True)
    with os.scandir(root) as entries:
        if next(entries, None) is not None:
            raise UsageError(
                f"{root} is not empty", hint="name a new directory: seed never writes into one in use"
            )
    writer = TreeWriter(root)
    for number in range(plan.repositories):
        _Repository(writer, plan, number).fill()
        progress(number + 1, plan.repositories)
    orphans = random.Random(f"{plan.seed}/garbage")  # noqa: S311
    used = writer.done.blobs
    for _ in range(round(used * plan.garbage / 100)):
        data = orphans.randbytes(plan.layer_size)
        writer.blob(data, FIRST_PUSH)
        writer.done.garbage_blobs += 1
        writer.done.garbage_bytes += len(data)
    for case in corrupt:
        add_case(writer, case)
    return writer.done
