"""Read links and manifests in bulk, and say what the importer would make of each on its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.catalog.digests import blob_path, revision_path
from ctl.catalog.parse import matches
from ctl.catalog.preflight_blobs import ABSENT, BlobIndex
from ctl.catalog.preflight_json import PAYLOAD_LIMIT, Parsed, UnusableError, read_manifest
from ctl.catalog.preflight_names import FORMAT, LENGTH, UNSUPPORTED, digest_fault

if TYPE_CHECKING:
    from ctl.storage.base import Storage

LINK_LIMIT = 1 << 20  # bytes
Key = tuple[str, str]  # a repository's name and a digest in it
NOT_A_FILE, UNREADABLE, MISSING = "not-a-file", "unreadable", "missing"


@dataclass(frozen=True, slots=True)
class Link:
    """What a link holds: a digest, or why it holds none: "format", "unsupported", "length", "missing", ..."""

    target: str = ""
    fault: str = ""
    reason: str = ""

    @property
    def skipped(self) -> bool:
        """Say whether the importer goes on past it with a warning."""
        return self.fault in (FORMAT, UNSUPPORTED)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A manifest in a repository: parsed, or the kind of finding that says why not."""

    digest: str
    target: str = ""
    parsed: Parsed | None = None
    fault: str = ""  # a kind
    reason: str = ""
    path: str = ""  # of what is at fault
    altered: bool = False


def through(path: str) -> str:
    """Return a path that is the same file, and lets its folder be a symbolic link."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/./{name}"


def read_links(storage: Storage, paths: Iterable[str]) -> list[Link]:
    """Read links, in the order given."""
    return [_link(answer) for answer in storage.read_many(map(through, paths), LINK_LIMIT)]


def _link(answer: object) -> Link:
    if isinstance(answer, tuple):
        data: bytes = answer[1]
        text = data.decode("latin-1")
        fault = digest_fault(text)
        if not fault:
            return Link(text)
        return Link("", fault, f"holds {data[:90]!a}" if data else "0 bytes")
    kind, reason = getattr(answer, "kind", ""), getattr(answer, "reason", "")
    if kind == "missing":
        return Link("", MISSING)
    if kind == "too-large":
        return Link("", LENGTH, reason)
    return Link("", NOT_A_FILE if kind in ("symlink", "not-a-file") else UNREADABLE, reason)


def load_manifests(storage: Storage, blobs: BlobIndex, keys: list[Key]) -> list[Loaded]:
    """Read manifests of repositories, in the order given."""
    links = read_links(storage, (revision_path(*key) for key in keys))
    wanted = [link.target for link in links if link.target and blobs.size(link.target) != ABSENT]
    paths = (through(blob_path(target)) for target in wanted)
    answers = storage.read_many(paths, PAYLOAD_LIMIT)
    loaded = []
    for (repository, digest), link in zip(keys, links, strict=True):
        if link.fault:
            loaded.append(_unlinked(repository, digest, link))
        elif blobs.size(link.target) == ABSENT:
            path = blob_path(link.target)
            reason = "linked, but its bytes are not stored"
            loaded.append(Loaded(digest, link.target, fault="missing-manifest", reason=reason, path=path))
        else:
            loaded.append(_manifest(digest, link.target, next(answers)))
    for _ in answers:  # lets the processes end
        pass
    return loaded


def _unlinked(repository: str, digest: str, link: Link) -> Loaded:
    path = revision_path(repository, digest)
    kind = {
        MISSING: "missing-revision",
        LENGTH: "bad-length-link",
        NOT_A_FILE: "broken-link-file",
        UNREADABLE: "unreadable",
    }.get(link.fault, "broken-revision-link")
    reason = link.reason or f"{repository} does not link {digest}"
    return Loaded(digest, fault=kind, reason=reason, path=path)


def _manifest(digest: str, target: str, answer: object) -> Loaded:
    path = blob_path(target)
    if not isinstance(answer, tuple):
        kind, reason = getattr(answer, "kind", ""), getattr(answer, "reason", "")
        fault = {
            "missing": "missing-manifest",
            "too-large": "oversize-manifest",
            "symlink": "broken-link-file",
            "not-a-file": "missing-manifest",
        }.get(kind, "unreadable")
        return Loaded(digest, target, fault=fault, reason=reason, path=path)
    payload: bytes = answer[1]
    try:
        parsed = read_manifest(payload)
    except UnusableError as error:
        return Loaded(digest, target, fault=error.kind, reason=error.reason, path=path)
    return Loaded(digest, target, parsed, path=path, altered=not matches(target, payload))
