"""List the tags of repositories as GitLab's importer sees them: every entry of `tags/` is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ctl.catalog.digests import HEX
from ctl.catalog.preflight_names import LENGTH, path_part
from ctl.catalog.preflight_read import MISSING, NOT_A_FILE, UNREADABLE, Link
from ctl.catalog.preflight_walk import Place
from ctl.catalog.preflight_words import PreflightFinding, found
from ctl.catalog.tree import REPOSITORIES, TAG

if TYPE_CHECKING:
    from ctl.storage.base import Storage, Survey

_STORED = ("sha256", "sha512", "sha384")


@dataclass(frozen=True, slots=True)
class TagEntry:
    """An entry of `tags/`: a link to read, or the fault that keeps it from being one."""

    repository: str
    name: str
    folder: str
    link: str = ""
    fault: PreflightFinding | None = None
    hidden_by: str = ""

    def judged(self, link: Link) -> PreflightFinding | None:
        """Say what is wrong with the tag's link; None where it names a digest."""
        if not link.fault:
            return None
        if link.fault == MISSING:
            return self.found("missing-tag-link", "current/link is not there")
        kind = {LENGTH: "bad-length-link", NOT_A_FILE: "broken-link-file", UNREADABLE: "unreadable"}.get(
            link.fault, "empty-tag-link" if link.reason == "0 bytes" else "garbage-tag-link"
        )
        return self.found(kind, link.reason)

    def found(self, kind: str, reason: str) -> PreflightFinding:
        """Return a finding about the tag; what stops the import is moved with the tag's folder."""
        return found(
            self.link or self.folder,
            kind,
            reason,
            move=self.folder,
            repository=self.repository,
            tag=self.name,
            hidden_by=self.hidden_by,
        )


@dataclass(slots=True)
class RepositoryTags:
    """A repository, its tags in the importer's order, and the digests that it links."""

    name: str
    hidden_by: str = ""
    tags: list[TagEntry] = field(default_factory=list)
    revisions: list[str] = field(default_factory=list)
    findings: list[PreflightFinding] = field(default_factory=list)


def list_repositories(storage: Storage, places: Iterable[Place]) -> Iterator[RepositoryTags]:
    """List the tags and revisions of each repository, in the order given."""
    listing = list(places)
    surveys = storage.survey(request for place in listing for request in _requests(place.name))
    for place in listing:
        tags = next(surveys)
        revisions = [next(surveys) for _ in _STORED]
        repository = RepositoryTags(place.name, place.hidden_by)
        _tags(storage, repository, tags)
        for algorithm, survey in zip(_STORED, revisions, strict=True):
            legal = HEX[algorithm].match
            repository.revisions += [f"{algorithm}:{name}" for name in survey.names if legal(name)]
        yield repository
    for _ in surveys:  # lets the processes end
        pass


def _requests(name: str) -> Iterator[tuple[str, str | None]]:
    base = f"{REPOSITORIES}/{name}/_manifests"
    yield f"{base}/tags/.", "current/link"
    for algorithm in _STORED:
        yield f"{base}/revisions/{algorithm}/.", None


def _tags(storage: Storage, repository: RepositoryTags, survey: Survey) -> None:
    base = f"{REPOSITORIES}/{repository.name}/_manifests/tags"
    if survey.problem == "missing":
        one = found(base, "no-tags", "not there", repository=repository.name, hidden_by=repository.hidden_by)
        repository.findings.append(one)
        return
    if survey.problem:
        broken = "not a folder" in survey.problem
        repository.findings.append(
            found(
                base,
                "broken-folder" if broken else "unreadable",
                survey.problem,
                move=base,
                repository=repository.name,
                hidden_by=repository.hidden_by,
            )
        )
        return
    others = dict(survey.others)
    for name, size in zip(survey.names, survey.sizes, strict=True):
        repository.tags.append(_folder(repository, base, name, size, survey.reason))
    for name, kind in others.items():
        repository.tags.append(_other(storage, repository, base, name, kind))
    for tag in repository.tags:
        if tag.fault is None and not TAG.match(tag.name):
            reason = "no name that a tag can have, but one that a path can"
            repository.findings.append(tag.found("odd-tag-name", reason))


def _entry(repository: RepositoryTags, base: str, name: str, *, link: bool = False) -> TagEntry:
    folder = f"{base}/{name}"
    path = f"{folder}/current/link" if link else ""
    return TagEntry(repository.name, name, folder, path, None, repository.hidden_by)


def _faulty(entry: TagEntry, kind: str, reason: str) -> TagEntry:
    fault = entry.found(kind, reason)
    return TagEntry(entry.repository, entry.name, entry.folder, "", fault, entry.hidden_by)


def _folder(repository: RepositoryTags, base: str, name: str, size: int, reason: str) -> TagEntry:
    entry = _entry(repository, base, name)
    if not path_part(name):
        return _faulty(entry, "illegal-tag-name", "a letter in its name that no path may hold")
    if size == -1:
        return _faulty(entry, "missing-tag-link", "current/link is not there")
    if size in (-2, -3):
        what = "a symbolic link" if size == -2 else "no plain file"
        return _faulty(entry, "broken-link-file", f"current/link is {what}")
    if size == -4:
        return _faulty(entry, "unreadable", reason or "current/link cannot be looked at")
    return _entry(repository, base, name, link=True)


def _other(storage: Storage, repository: RepositoryTags, base: str, name: str, kind: str) -> TagEntry:
    """Judge an entry that is no folder: a symbolic link may lead to one, all else stops the import."""
    entry = _entry(repository, base, name)
    if not path_part(name):
        return _faulty(entry, "illegal-tag-name", "a letter in its name that no path may hold")
    if kind != "symlink":
        return _faulty(entry, "stray-in-tags", "a file where only folders belong")
    answer = next(iter(storage.stat_many([f"{base}/{name}/current/link"])))
    fault = getattr(answer, "kind", "")
    reason = getattr(answer, "reason", "")
    if fault == "missing":
        return _faulty(entry, "missing-tag-link", "a symbolic link that leads nowhere")
    if fault == "symlink" and "levels" not in reason:
        return _faulty(entry, "broken-link-file", "current/link is a symbolic link")
    if fault:
        return _faulty(entry, "stray-in-tags", f"a symbolic link that leads to no tag: {reason}")
    return _entry(repository, base, name, link=True)
