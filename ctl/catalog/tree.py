"""Read a registry's storage tree: where the repositories and blobs are, and what their links' stats are.

Everything below `docker/registry/v2/` comes through the storage door in bulk. Contents are not read here;
`ctl.catalog.links` reads the few that are new.
"""

from __future__ import annotations

import hashlib
import re
import time
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ctl.catalog.digests import HEX
from ctl.catalog.model import Finding
from ctl.errors import UnreachableError

if TYPE_CHECKING:
    from ctl.storage.base import Storage, Survey

BASE = "docker/registry/v2"
REPOSITORIES = f"{BASE}/repositories"
BLOBS = f"{BASE}/blobs"
REVISIONS, TAGS, LAYERS = "revisions", "tags", "layers"
PARTS = (REVISIONS, TAGS, LAYERS)
ALGORITHMS = tuple(HEX)
# A file that was written this shortly before it was looked at may be written again without a new mtime
# (file systems count in steps of up to two seconds): such a reading is never remembered as final.
RACY_NS = 2_500_000_000
_NAME_LIMIT = 255

# The grammar of the distribution registry, without its ambiguous repetition (which a regular expression
# engine that backtracks pays for dearly).
COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*\Z", re.ASCII)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z", re.ASCII)
_OURS = frozenset({"_manifests", "_layers", "_uploads"})


def printable(path: str) -> str:
    """Return a path as valid, printable text: odd bytes and control characters as escapes."""
    if path.isascii() and path.isprintable():
        return path
    raw = path.encode("utf-8", "surrogateescape")
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def finding(path: str, kind: str, reason: str) -> Finding:
    """Return a finding with a path that can be stored and shown."""
    return Finding(printable(path), kind, printable(reason))


def missing_root(root: str) -> UnreachableError:
    """Return the error for a storage root that is not there, such as an unmounted disk."""
    return UnreachableError(
        f"the storage root {root} is not there",
        hint="is the disk mounted, and is storage.filesystem.rootdirectory right in the site file?",
    )


@dataclass(frozen=True, slots=True)
class RepositoryFolder:
    """A repository in the tree: which hash folders it has, and what stands there that should not."""

    name: str
    revisions: tuple[str, ...] = ()  # hash algorithms
    layers: tuple[str, ...] = ()
    has_tags: bool = False
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True)
class Part:
    """All links of one kind in one repository, or all blobs of one shard: names, sizes and mtimes.

    `surveys` are (algorithm, survey) in the order of stored digests; the algorithm is "" for tags.
    """

    surveys: list[tuple[str, Survey]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(survey.names) for _, survey in self.surveys)

    def readable(self) -> bool:
        """Say whether every folder could be listed (one that is not there counts as empty)."""
        return all(survey.problem in ("", "missing") for _, survey in self.surveys)

    def print(self, *more: object, stats: bool = True, now_ns: int | None = None) -> bytes | None:
        """Return a hash over everything seen; None where it must not be trusted the next time."""
        if not self.readable():
            return None
        latest = (time.time_ns() if now_ns is None else now_ns) - RACY_NS
        hashed = hashlib.blake2b(repr(more).encode("utf-8", "surrogateescape"), digest_size=16)
        for algorithm, survey in self.surveys:
            if stats and survey.sizes:
                if max(survey.mtimes_ns) >= latest or min(survey.sizes) == -4:
                    return None
                hashed.update(array("q", survey.sizes).tobytes())
                hashed.update(array("q", survey.mtimes_ns).tobytes())
            names = "\n".join([algorithm, *survey.names])
            hashed.update(names.encode("utf-8", "surrogateescape"))
            if survey.others:
                hashed.update(repr(survey.others).encode())
        return hashed.digest()


@dataclass(slots=True)
class RepositoryListing:
    """A repository's folder and the parts of it that were asked for."""

    folder: RepositoryFolder
    parts: dict[str, Part]

    def prints(self, now_ns: int | None = None) -> dict[str, bytes | None]:
        """Return a print for each part that was listed. What stands beside the parts is in the first."""
        beside = self.folder.findings
        return {
            name: part.print(*([beside] if name == REVISIONS else ()), now_ns=now_ns)
            for name, part in self.parts.items()
        }


@dataclass(slots=True)
class ShardListing:
    """One folder of blobs, such as "sha256/ab"; stats only where they were asked for."""

    shard: str
    part: Part


@dataclass(slots=True)
class Layout:
    """Where everything is: what has to be surveyed, and what stands around it."""

    repositories: list[RepositoryFolder]  # sorted by name
    shards: list[str]  # sorted
    findings: list[Finding]  # of scope "tree"


class Tree:
    """A registry's storage tree."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def present(self) -> bool:
        """Say whether anything was ever pushed here: docker/registry/v2 is a folder."""
        return self._list(BASE).problem == ""

    def layout(self) -> Layout:
        """Find the repositories and the blobs' folders."""
        findings: list[Finding] = []
        repositories = self._repositories(findings)
        return Layout(repositories, self._shards(findings), findings)

    def links(
        self, folders: Iterable[RepositoryFolder], parts: Sequence[str] = PARTS
    ) -> Iterator[RepositoryListing]:
        """List the links of each repository, in the order given."""
        waiting: deque[tuple[RepositoryListing, deque[tuple[str, str]]]] = deque()

        def requests() -> Iterator[tuple[str, str | None]]:
            for folder in folders:
                wanted = _wanted(folder, parts)
                listing = RepositoryListing(folder, {part: Part() for part in parts})
                waiting.append((listing, deque((part, algorithm) for part, algorithm, _, _ in wanted)))
                yield from ((path, leaf) for _, _, path, leaf in wanted)

        for answer in self.storage.survey(requests()):
            while not waiting[0][1]:
                yield waiting.popleft()[0]
            listing, expected = waiting[0]
            part, algorithm = expected.popleft()
            listing.parts[part].surveys.append((algorithm, answer))
            if not expected:
                yield waiting.popleft()[0]
        for listing, _ in waiting:
            yield listing

    def blobs(self, shards: Iterable[str], *, stats: bool = True) -> Iterator[ShardListing]:
        """List the blobs of each shard, in the order given."""
        requests = ((f"{BLOBS}/{shard}", "data" if stats else None) for shard in shards)
        for survey in self.storage.survey(requests):
            shard = survey.path.removeprefix(f"{BLOBS}/")
            yield ShardListing(shard, Part([(shard.partition("/")[0], survey)]))

    def _list(self, path: str) -> Survey:
        return next(iter(self.storage.survey([(path, None)])))

    def _repositories(self, findings: list[Finding]) -> list[RepositoryFolder]:
        candidates: dict[str, tuple[set[str], list[Finding]]] = {}
        level = [REPOSITORIES]
        while level:
            below: list[str] = []
            for survey in self.storage.survey((path, None) for path in level):
                name = survey.path[len(REPOSITORIES) + 1 :]
                special = {entry for entry in survey.names if entry.startswith("_")}
                own: list[Finding] = [] if special & {"_manifests", "_layers"} and name else findings
                own.extend(strays(survey))
                if own is not findings:
                    candidates[name] = (special, own)
                below.extend(_children(survey, name, findings))
            level = below
        return self._described(dict(sorted(candidates.items())))

    def _described(self, found: dict[str, tuple[set[str], list[Finding]]]) -> list[RepositoryFolder]:
        def requests() -> Iterator[tuple[str, str | None]]:
            for name, (special, _) in found.items():
                base = f"{REPOSITORIES}/{name}"
                if "_manifests" in special:
                    yield f"{base}/_manifests", None
                    yield f"{base}/_manifests/revisions", None
                if "_layers" in special:
                    yield f"{base}/_layers", None

        answers = self.storage.survey(requests())
        folders = []
        for name, (special, findings) in found.items():
            revisions: tuple[str, ...] = ()
            layers: tuple[str, ...] = ()
            has_tags = False
            if "_manifests" in special:
                manifests, survey = next(answers), next(answers)
                has_tags = "tags" in manifests.names
                findings.extend(_unknown(manifests, {"tags", "revisions"}, "stray-directory"))
                findings.extend(_unknown(survey, HEX, "unknown-algorithm"))
                revisions = tuple(a for a in ALGORITHMS if a in survey.names)
            if "_layers" in special:
                survey = next(answers)
                findings.extend(_unknown(survey, HEX, "unknown-algorithm"))
                layers = tuple(a for a in ALGORITHMS if a in survey.names)
            if revisions and not has_tags:
                reason = "manifests, but no folder for tags"
                path = f"{REPOSITORIES}/{name}/_manifests/tags"
                findings.append(finding(path, "no-tags-directory", reason))
            if revisions and "_layers" not in special:
                path = f"{REPOSITORIES}/{name}/_layers"
                findings.append(finding(path, "no-layers-directory", "2.8 does not see this repository"))
            folders.append(RepositoryFolder(name, revisions, layers, has_tags, tuple(findings)))
        for _ in answers:  # lets the processes end
            pass
        return folders

    def _shards(self, findings: list[Finding]) -> list[str]:
        top = self._list(BLOBS)
        findings.extend(_unknown(top, HEX, "unknown-algorithm"))
        shards = []
        for algorithm in ALGORITHMS:
            if algorithm not in top.names:
                continue
            survey = self._list(f"{BLOBS}/{algorithm}")
            findings.extend(strays(survey))
            for name in survey.names:
                if re.fullmatch(r"[0-9a-f]{2}", name, re.ASCII):
                    shards.append(f"{algorithm}/{name}")
                else:
                    reason = "not the first two digits of a digest"
                    findings.append(finding(f"{survey.path}/{name}", "illegal-digest", reason))
        return shards


def _wanted(folder: RepositoryFolder, parts: Sequence[str]) -> list[tuple[str, str, str, str | None]]:
    """Return (part, algorithm, folder to list, leaf to stat) for what a repository has."""
    base = f"{REPOSITORIES}/{folder.name}"
    found: list[tuple[str, str, str, str | None]] = []
    if REVISIONS in parts:
        where = f"{base}/_manifests/revisions"
        found += [(REVISIONS, a, f"{where}/{a}", "link") for a in folder.revisions]
    if TAGS in parts and folder.has_tags:
        found.append((TAGS, "", f"{base}/_manifests/tags", "current/link"))
    if LAYERS in parts:
        found += [(LAYERS, a, f"{base}/_layers/{a}", "link") for a in folder.layers]
    return found


def _children(survey: Survey, name: str, findings: list[Finding]) -> Iterator[str]:
    for entry in survey.names:
        if entry.startswith("_"):
            if not name or entry not in _OURS:
                path = f"{survey.path}/{entry}"
                findings.append(finding(path, "stray-directory", "no folder of a registry"))
            continue
        full = f"{name}/{entry}" if name else entry
        if COMPONENT.match(entry) and len(full) <= _NAME_LIMIT:
            yield f"{REPOSITORIES}/{full}"
        else:
            reason = "not a name that a repository can have"
            findings.append(finding(f"{survey.path}/{entry}", "illegal-repository-name", reason))


def strays(survey: Survey) -> Iterator[Finding]:
    """Say what stands in a folder where only folders belong, or that it cannot be listed."""
    if survey.problem not in ("", "missing"):
        yield finding(survey.path, "unreadable-directory", survey.problem)
    for name, kind in survey.others:
        path = f"{survey.path}/{name}"
        if kind == "symlink":
            yield finding(path, "symlink", "a symbolic link; it is not followed")
        elif not name.endswith(".tmp"):  # what 3.x writes before it renames
            yield finding(path, "stray-file", "a file where only folders belong")


def _unknown(survey: Survey, known: Iterable[str], kind: str) -> Iterator[Finding]:
    yield from strays(survey)
    for name in survey.names:
        if name not in known:
            yield finding(f"{survey.path}/{name}", kind, "a folder that registries do not make")
