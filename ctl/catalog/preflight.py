"""Find, before any downtime, what GitLab's import would stop at, drop or import broken.

For others:

- `preflight(storage) -> Iterator[PreflightFinding]` reads a whole tree once, in bulk, and yields findings:
  `path kind effect repository tag digest reason remedy move`. `effect` is "abort", "drop", "alter" or
  "info". Nothing is written and nothing is asked of a database.
- `Preflight(storage)` is the same with figures: iterate `findings()`, then look at `counts`. With `kept` it
  tells every tag that a one-step import (or steps one and two) will have imported.
- `ctl.steps.preflight.preflight_problems(world, registry)` gives Problems for a recipe's checks.

Memory: 16 bytes for each stored blob, one batch of tags, and the digests of the repository at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ctl.catalog.digests import layer_path
from ctl.catalog.preflight_blobs import BlobIndex, read_blobs
from ctl.catalog.preflight_configs import config_findings
from ctl.catalog.preflight_image import Outcome
from ctl.catalog.preflight_judge import Judge
from ctl.catalog.preflight_names import digest_fault
from ctl.catalog.preflight_read import Key, Link, Loaded, load_manifests, read_links
from ctl.catalog.preflight_tags import RepositoryTags, TagEntry, list_repositories
from ctl.catalog.preflight_walk import walk
from ctl.catalog.preflight_words import KINDS, Effect, PreflightFinding, found
from ctl.catalog.tree import REPOSITORIES

if TYPE_CHECKING:
    from ctl.storage.base import Storage

BATCH = 4000  # tags read together


@dataclass
class Counts:
    """How much was looked at, and what becomes of it."""

    repositories: int = 0
    tags: int = 0
    tags_dropped: int = 0  # as things stand, if nothing stopped the import
    tags_lost: int = 0  # once what a quarantine moves is moved
    manifests: int = 0  # reached by tags
    untagged: int = 0
    blobs: int = 0
    effects: dict[str, int] = field(default_factory=lambda: {str(one): 0 for one in Effect})


@dataclass(frozen=True, slots=True)
class KeptTag:
    """A tag that will be imported, its digest, and the children that its index keeps."""

    repository: str
    tag: str
    digest: str
    children: tuple[str, ...] = ()


@dataclass(slots=True)
class _Repository:
    """A repository while its tags are gone through."""

    listed: RepositoryTags
    waiting: int  # tags not yet judged
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)
    seen: set[tuple[str, str]] = field(default_factory=set)  # (path, kind) of findings told


def preflight(storage: Storage) -> Iterator[PreflightFinding]:
    """Yield everything that the import would stop at, drop or import broken."""
    return Preflight(storage).findings()


class Preflight:
    """One reading of a tree."""

    def __init__(
        self,
        storage: Storage,
        *,
        kept: Callable[[KeptTag], object] = lambda tag: None,
        progress: Callable[[int, int], object] = lambda done, total: None,
        only: Collection[str] | None = None,
    ) -> None:
        self.storage = storage
        self.counts = Counts()
        self._kept = kept
        self._progress = progress
        self._only = only
        self._blobs = BlobIndex()

    def findings(self) -> Iterator[PreflightFinding]:
        """Read everything; yield what was found."""
        for one in self._all():
            self.counts.effects[one.effect] += 1
            yield one

    def _all(self) -> Iterator[PreflightFinding]:
        yield from read_blobs(self.storage, self._blobs)
        self.counts.blobs = len(self._blobs)
        walked = walk(self.storage)
        if walked.missing:
            yield found(REPOSITORIES, "no-repositories", "not there")
        yield from walked.findings
        places = [one for one in walked.repositories if self._only is None or one.name in self._only]
        total = len(places)
        batch: list[tuple[_Repository, TagEntry]] = []
        for listed in list_repositories(self.storage, places):
            self.counts.repositories += 1
            self.counts.tags += len(listed.tags)
            yield from listed.findings
            repository = _Repository(listed, len(listed.tags))
            if not listed.tags:
                yield from self._finish(repository)
            for tag in listed.tags:
                batch.append((repository, tag))
                if len(batch) >= BATCH:
                    yield from self._judge(batch)
                    batch = []
                    self._progress(self.counts.repositories, total)
        yield from self._judge(batch)
        self._progress(total, total)

    def _judge(self, batch: list[tuple[_Repository, TagEntry]]) -> Iterator[PreflightFinding]:
        links = read_links(self.storage, (tag.link for _, tag in batch if tag.link))
        answers = iter(links)
        named = [(r, tag, next(answers) if tag.link else None) for r, tag in batch]
        yield from self._outcomes([(r, link.target) for r, _, link in named if link and link.target])
        for repository, tag, link in named:
            yield from self._tag(repository, tag, link)
            repository.waiting -= 1
            if not repository.waiting:
                yield from self._finish(repository)

    def _tag(self, repository: _Repository, tag: TagEntry, link: Link | None) -> Iterator[PreflightFinding]:
        one = tag.fault if link is None else tag.judged(link)
        if one is not None:
            self.counts.tags_dropped += 1
            self.counts.tags_lost += 1
            yield one
            return
        digest = link.target if link else ""
        outcome = repository.outcomes[digest]
        for extra in outcome.findings:
            if (extra.path, extra.kind) not in repository.seen:
                repository.seen.add((extra.path, extra.kind))
                yield replace(extra, tag=tag.name, hidden_by=extra.hidden_by or repository.listed.hidden_by)
        if outcome.now != "ok" or repository.listed.hidden_by:
            self.counts.tags_dropped += 1
        else:
            self._kept(KeptTag(repository.listed.name, tag.name, digest, outcome.children))
        if outcome.cause is not None and outcome.after != "ok":
            self.counts.tags_lost += 1
            hidden_by = outcome.cause.hidden_by or repository.listed.hidden_by
            yield self._tag_cause(outcome.cause, tag, digest, hidden_by)

    def _tag_cause(
        self, cause: PreflightFinding, tag: TagEntry, digest: str, hidden_by: str
    ) -> PreflightFinding:
        if cause.kind == "unsupported-digest" and KINDS[cause.kind].moved:
            return replace(cause, tag=tag.name, move=tag.folder, hidden_by=hidden_by)
        return replace(cause, tag=tag.name, digest=digest, hidden_by=hidden_by)

    def _outcomes(self, keys: list[tuple[_Repository, str]]) -> Iterator[PreflightFinding]:
        """Judge the manifests that a batch of tags names and that are not judged yet."""
        new: dict[Key, _Repository] = {}
        for repository, digest in keys:
            if digest not in repository.outcomes:
                new[repository.listed.name, digest] = repository
        loaded = self._load(list(new))
        children = {
            (name, child.digest): new[name, digest]
            for (name, digest), one in loaded.items()
            if one.parsed is not None and one.parsed.kind == "index"
            for child in one.parsed.children
            if not digest_fault(child.digest)
        }
        loaded.update(self._load([key for key in children if key not in loaded]))
        links = self._links(loaded)
        for (name, digest), repository in new.items():
            judge = Judge(name, self._blobs, links, lambda digest, name=name: loaded[name, digest])  # type: ignore[misc]
            repository.outcomes[digest] = judge.judge(digest)
            repository.reached.add(digest)
        for (_, digest), repository in children.items():
            repository.reached.add(digest)
        yield from config_findings(self.storage, self._blobs, loaded, links)

    def _load(self, keys: list[Key]) -> dict[Key, Loaded]:
        return dict(zip(keys, load_manifests(self.storage, self._blobs, keys), strict=True))

    def _links(self, loaded: dict[Key, Loaded]) -> dict[Key, Link]:
        """Read the links of every config and layer that the manifests name."""
        wanted: dict[Key, None] = {}
        for (name, _), one in loaded.items():
            if one.parsed is not None and one.parsed.kind == "image":
                references = [one.parsed.config] if one.parsed.config else []
                for reference in (*references, *one.parsed.layers):
                    if not digest_fault(reference.digest):
                        wanted[name, reference.digest] = None
        return dict(zip(wanted, read_links(self.storage, (layer_path(*key) for key in wanted)), strict=True))

    def _finish(self, repository: _Repository) -> Iterator[PreflightFinding]:
        """Look at what no tag led to, and forget the repository."""
        listed = repository.listed
        self.counts.manifests += len(repository.reached)
        left = [digest for digest in listed.revisions if digest not in repository.reached]
        repository.outcomes.clear()
        repository.reached.clear()
        if not left:
            return
        loaded = self._load([(listed.name, digest) for digest in left])
        present = [one for one in loaded.values() if one.parsed is not None]
        self.counts.untagged += len(present)
        if present:
            path = f"{REPOSITORIES}/{listed.name}/_manifests/revisions"
            reason = f"{len(present)} manifests without a tag"
            yield found(path, "untagged-manifests", reason, repository=listed.name, count=len(present))
        yield from _referrers(listed, present)


def _referrers(listed: RepositoryTags, present: Iterable[Loaded]) -> Iterator[PreflightFinding]:
    for one in present:
        if one.parsed is not None and one.parsed.subject:
            reason = f"refers to {one.parsed.subject[:90]}, and has no tag"
            yield found(
                one.path,
                "lost-referrer",
                reason,
                repository=listed.name,
                digest=one.digest,
                hidden_by=listed.hidden_by,
            )
