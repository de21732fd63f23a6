"""A registry's HTTP API as a catalog: what it lists and serves, held against what its database says."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from ctl.catalog.compare import BROKEN, DIFFERENT, EXTRA, MISSING
from ctl.catalog.merge import Grouped, merged
from ctl.catalog.metadata_compare import MetadataDifference
from ctl.catalog.model import Role
from ctl.catalog.parse import ManifestError, matches, parse_manifest
from ctl.errors import RegctlError

if TYPE_CHECKING:
    from ctl.catalog.metadata_database import MetadataCatalog
    from ctl.catalog.model import Manifest
    from ctl.http import RegistryClient

LIMIT = 1000  # differences that are kept
CONNECTIONS = 4
_REPOSITORIES = 8  # whose pulled digests are remembered at a time
_TRIES = 3  # of one blob, whose line may break in the middle
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class ApiComparison:
    """What a node lists and serves, against the database. `missing` is not served, `extra` only served."""

    repositories: int = 0
    tags: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    differences: list[MetadataDifference] = field(default_factory=list)

    @property
    def agree(self) -> bool:
        """Say whether both say the same."""
        return not (self.missing or self.extra or self.different)

    def add(self, kind: str, what: str, repository: str, name: str, expected: str, found: str) -> None:
        """Count a difference; `expected` is what the database says."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.differences) < LIMIT:
            self.differences.append(MetadataDifference(kind, what, repository, name, expected, found))


def compare_api(
    client: RegistryClient,
    catalog: MetadataCatalog,
    *,
    connections: int = CONNECTIONS,
    advance: Callable[[int], None] = lambda count: None,
) -> ApiComparison:
    """Compare the repositories, the tags and every tag's digest, several requests at a time.

    UnreachableError where the node stops answering.
    """
    result = ApiComparison()
    served = sorted(client.repositories())
    tags = Grouped(catalog.tags(), lambda one: one.repository)
    with ThreadPoolExecutor(connections) as pool:
        for ours, theirs in merged(catalog.listed_repositories(), served, str, str):
            name = ours or theirs or ""
            result.repositories += 1
            if theirs is None:
                result.add(MISSING, "repository", name, name, "in the database", "not listed")
            elif ours is None:
                result.add(EXTRA, "repository", name, name, "not in the database", "listed")
            wanted = {one.name: one.digest for one in tags.take(name)}
            listed = set(client.tags(name))
            result.tags += len(wanted)
            for tag in sorted(wanted.keys() - listed):
                result.add(MISSING, "tag", name, tag, wanted[tag], "not listed")
            for tag in sorted(listed - wanted.keys()):
                result.add(EXTRA, "tag", name, tag, "not in the database", "listed")
            both = sorted(wanted.keys() & listed)
            digests = pool.map(lambda tag, name=name: client.digest_of(name, tag), both)
            for tag, digest in zip(both, digests, strict=True):
                if digest is None:
                    result.add(MISSING, "tag", name, tag, wanted[tag], "listed, but not served")
                elif digest != wanted[tag]:
                    result.add(DIFFERENT, "tag", name, tag, wanted[tag], digest)
            advance(len(both))
    return result


@dataclass
class PullReport:
    """What a pull of many tags fetched and hashed. `broken` counts tags; each names what was wrong first."""

    tags: int = 0
    manifests: int = 0
    blobs: int = 0
    bytes: int = 0
    broken: int = 0
    differences: list[MetadataDifference] = field(default_factory=list)


@dataclass
class Pulled:
    """One tag, pulled to its last layer. `problem` is "" or (digest, what is wrong) of the first bad part."""

    repository: str
    tag: str
    manifests: int = 0
    blobs: int = 0
    bytes: int = 0
    problem: tuple[str, str] | None = None


class Puller:
    """Pull tags as a client does, and check every digest and size on the way. For several threads at once.

    A blob is fetched once; another repository's right to it is asked for by HEAD.
    """

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self._lock = Lock()
        self._hashed: set[bytes] = set()
        self._seen: OrderedDict[str, set[str]] = OrderedDict()

    def pull(self, repository: str, tag: str, expected: str) -> Pulled:
        """Pull one tag, which must point to `expected`; never raises for what the registry serves wrongly."""
        work = Pulled(repository, tag)
        try:
            self._manifest(work, tag, expected)
        except _BadPartError as error:
            work.problem = (error.digest, error.reason)
        return work

    def _manifest(self, work: Pulled, reference: str, expected: str) -> None:
        if reference == expected and self._has(work.repository, expected):
            return
        served = self._client.manifest(work.repository, reference)
        if served is None:
            raise _BadPartError(expected, "no such manifest")
        if not matches(expected, served.body):
            raise _BadPartError(expected, f"other bytes, called {served.digest or 'nothing'}")
        if self._has(work.repository, expected):
            return
        work.manifests += 1
        work.bytes += len(served.body)
        manifest = _parsed(expected, served.body)
        for one in manifest.references:
            if one.role is Role.MANIFEST:
                self._manifest(work, one.digest, one.digest)
            elif one.role in (Role.CONFIG, Role.LAYER):
                self._blob(work, one.digest, one.size)
        self._mark(work.repository, expected)

    def _blob(self, work: Pulled, digest: str, size: int) -> None:
        if self._has(work.repository, digest):
            return
        key = bytes.fromhex(digest.partition(":")[2])
        with self._lock:
            known = key in self._hashed
        if known:
            if self._client.blob_size(work.repository, digest) is None:
                raise _BadPartError(digest, "not in this repository")
            self._mark(work.repository, digest)
            return
        found = self._hash(work.repository, digest)
        if found is None:
            raise _BadPartError(digest, "no such blob")
        length, hashed = found
        if hashed != digest.partition(":")[2]:
            raise _BadPartError(digest, f"{length} bytes of another digest")
        if size not in (-1, length):
            raise _BadPartError(digest, f"{length} bytes, but the manifest says {size}")
        with self._lock:
            self._hashed.add(key)
        self._mark(work.repository, digest)
        work.blobs += 1
        work.bytes += length

    def _hash(self, repository: str, digest: str) -> tuple[int, str] | None:
        for attempt in range(_TRIES):
            counting = _Counting(digest.partition(":")[0])
            try:
                there = self._client.blob_into(repository, digest, counting)
            except RegctlError:
                if attempt == _TRIES - 1:
                    raise
                continue
            return (counting.size, counting.hashed.hexdigest()) if there else None
        return None

    def _has(self, repository: str, digest: str) -> bool:
        """Say whether this was found good in this repository; what was bad is looked at again."""
        with self._lock:
            return digest in self._seen.get(repository, ())

    def _mark(self, repository: str, digest: str) -> None:
        with self._lock:
            self._seen.setdefault(repository, set()).add(digest)
            self._seen.move_to_end(repository)
            while len(self._seen) > _REPOSITORIES:
                self._seen.popitem(last=False)


def pull_tags(
    client: RegistryClient,
    tags: Iterable[tuple[str, str, str]],
    *,
    connections: int = CONNECTIONS,
    advance: Callable[[int], None] = lambda count: None,
) -> PullReport:
    """Pull (repository, tag, digest) to the last layer, several at a time; UnreachableError as always."""
    puller, report = Puller(client), PullReport()
    for one in _side_by_side(lambda tag: puller.pull(*tag), tags, connections):
        report.tags += 1
        report.manifests += one.manifests
        report.blobs += one.blobs
        report.bytes += one.bytes
        if one.problem is not None:
            report.broken += 1
            if len(report.differences) < LIMIT:
                found = MetadataDifference(BROKEN, "tag", one.repository, one.tag, *one.problem)
                report.differences.append(found)
        advance(1)
    return report


def sample(tags: Iterable[tuple[str, str, str]], count: int, seed: str) -> list[tuple[str, str, str]]:
    """Choose so many of (repository, tag, digest), the same for the same seed; in their order."""
    import heapq

    def weight(one: tuple[str, str, str]) -> bytes:
        return hashlib.blake2b(f"{seed}\n{one[0]}\n{one[1]}".encode(), digest_size=8).digest()

    return sorted(heapq.nsmallest(count, tags, key=weight))


class _BadPartError(Exception):
    def __init__(self, digest: str, reason: str) -> None:
        super().__init__(reason)
        self.digest = digest
        self.reason = reason


class _Counting:
    """Hashes and counts what passes."""

    def __init__(self, algorithm: str) -> None:
        self.hashed = hashlib.new(algorithm, usedforsecurity=False)
        self.size = 0

    def __call__(self, piece: bytes) -> None:
        self.hashed.update(piece)
        self.size += len(piece)


def _parsed(digest: str, body: bytes) -> Manifest:
    try:
        return parse_manifest(digest, body)
    except ManifestError as error:
        raise _BadPartError(digest, error.reason) from error


def _side_by_side(
    work: Callable[[Item], Result], items: Iterable[Item], connections: int
) -> Iterator[Result]:
    """Yield results in order, with a bounded number of items on their way."""
    source = iter(items)
    with ThreadPoolExecutor(connections) as pool:
        running: deque[Future[Result]] = deque(
            pool.submit(work, one) for one in islice(source, 4 * connections)
        )
        while running:
            yield running.popleft().result()
            running.extend(pool.submit(work, one) for one in islice(source, 1))
