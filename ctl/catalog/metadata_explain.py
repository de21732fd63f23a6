"""Why a storage tree and GitLab's metadata database differ: the importer's skips, and what came since."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from ctl.catalog.compare import BROKEN, EXTRA, MISSING
from ctl.catalog.digests import blob_path, layer_path, revision_path, tag_path
from ctl.catalog.metadata_compare import MetadataComparison, MetadataDifference, Open
from ctl.catalog.model import Finding
from ctl.catalog.tree import REPOSITORIES

_HASH = re.compile(r"(sha256|sha512)/(?:[0-9a-f]{2}/)?([0-9a-f]{64,128})(?:/|\Z)")

# Entries that the importer takes as they are and that regctl's reader does not.
_TAKEN = frozenset({"link-names-another", "layer-missing"})  # of a large config; a layer is left out
_NOT_FOLLOWED = frozenset({"symlink", "illegal-repository-name", "illegal-tag-name", "link-mismatch"})

# Every word that `explained_by` can have beside the pre-flight's kinds; docs/reference/registry-verify.md
# says the same, and a test compares the two.
REASONS = {
    "untagged": "no tag of the tree leads to it: the importer takes tagged manifests only",
    "unused-link": "no manifest in the database uses it",
    "untagged-in-database": "imported, and its tag was deleted before the tags were imported",
    "step-three": "the import's step three has not run: blobs that nothing uses are not registered yet",
    "written-since": "written after step three had begun",
    "pushed-since": "pushed after the import, or without one: it is in the database only",
    "moved-since": "the tag was moved after the import",
    "deleted-since": "deleted after the import: it was imported, and is not in the database any more",
    "altered-manifest": "its bytes already had another digest when it was imported; nothing checks that",
}


class Skip(Protocol):
    """An entry that the importer does not take as it stands, as the pre-flight names it."""

    @property
    def kind(self) -> str:
        """A stable word."""
        ...

    @property
    def path(self) -> str:
        """Where it stands, relative to the storage root."""
        ...

    @property
    def repository(self) -> str:
        """The repository, "" for none."""
        ...

    @property
    def tag(self) -> str:
        """The tag that is lost by it, "" for none."""
        ...

    @property
    def digest(self) -> str:
        """The digest that it is about, "" for none."""
        ...

    @property
    def effect(self) -> str:
        """What the import makes of it; "info" is nothing."""
        ...


@dataclass
class Skips:
    """What is known to be odd in the tree, by what it touches, from the pre-flight and from the reader."""

    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    digests: dict[tuple[str, str], str] = field(default_factory=dict)  # (repository or "", digest)
    paths: dict[str, str] = field(default_factory=dict)
    taken: Skips | None = None  # those among them that the importer takes in all the same

    @classmethod
    def of(cls, found: Iterable[Skip], odd: Iterable[Finding] = ()) -> Skips:
        """Sort findings; the pre-flight's word comes before the reader's."""
        everything = list(found)
        findings = list(odd)
        skips = cls._of(everything, findings)
        skips.taken = cls._of(
            [one for one in everything if one.kind in _TAKEN],
            [one for one in findings if one.kind in _NOT_FOLLOWED],
        )
        return skips

    @classmethod
    def _of(cls, found: Iterable[Skip], odd: Iterable[Finding]) -> Skips:
        skips = cls()
        for one in found:
            if one.effect == "info":
                continue
            if one.digest:
                skips._digest(one.repository, one.digest, one.kind)
            if one.repository and one.tag:
                skips.tags.setdefault((one.repository, one.tag), one.kind)
            skips._path(one.path, one.repository, one.kind)
        for finding in odd:
            repository, _, inside = finding.path.removeprefix(f"{REPOSITORIES}/").partition("/_")
            skips._path(finding.path, repository if inside else "", finding.kind)
        return skips

    def _digest(self, repository: str, digest: str, kind: str) -> None:
        self.digests.setdefault((repository, digest), kind)
        self.digests.setdefault(("", digest), kind)

    def _path(self, path: str, repository: str, kind: str) -> None:
        if path:
            self.paths.setdefault(path, kind)
        for algorithm, digits in _HASH.findall(path):
            self._digest(repository, f"{algorithm}:{digits}", kind)

    def of_digest(self, repository: str, digest: str) -> str:
        """Return why a digest is not as it should be, "" where nothing was found."""
        return self.digests.get((repository, digest)) or self.digests.get(("", digest), "")

    def of_path(self, path: str) -> str:
        """Return what is odd about an entry of the tree or a folder that it is in, "" for nothing."""
        while path and path not in self.paths:
            path = path.rpartition("/")[0]
        return self.paths.get(path, "")


def explain(result: MetadataComparison, skips: Skips) -> MetadataComparison:
    """Give every open difference its reason, or none; nothing is left open."""
    lost = _settle_tags(result, skips)
    children: dict[tuple[str, str], str] = {}  # lost ones, which the tree misses in the database, too
    for one in sorted(result.open, key=lambda one: one.difference.kind != BROKEN):
        difference = one.difference
        if (difference.kind, difference.what) == (MISSING, "tag"):
            continue
        key = (difference.repository, difference.name)
        why = _why(one, skips, lost, result.moved) or children.get(key, "")
        if difference.kind == BROKEN and difference.what == "manifest":
            children[key] = why
        result.settle(replace(difference, explained_by=why))
    result.open.clear()
    return result


def _settle_tags(result: MetadataComparison, skips: Skips) -> dict[tuple[str, str], str]:
    """Settle the tags that are not in the database; return why each is gone that has a reason."""
    open_tags = [one for one in result.open if (one.difference.kind, one.difference.what) == (MISSING, "tag")]
    reasons: dict[tuple[str, str], str] = {}
    for one in open_tags:
        key = (one.difference.repository, one.difference.name)
        if key in skips.tags:
            reasons[key] = skips.tags[key]
    deleted = _all_were_imported(result, dropped=len(reasons))
    for one in open_tags:
        key = (one.difference.repository, one.difference.name)
        if deleted and key not in reasons and not result.is_newer(one.mtime_ns):
            reasons[key] = "deleted-since"
        result.settle(replace(one.difference, explained_by=reasons.get(key, "")))
    return reasons


def _all_were_imported(result: MetadataComparison, dropped: int) -> bool:
    """Say whether the import counted exactly the tags that the tree has, but for those it is known to drop.

    In database mode no tag of the tree changes any more. So what is missing now was there once.
    """
    return result.imported.tags is not None and result.imported.tags == (
        result.tags - result.newer_tags - dropped
    )


def _why(one: Open, skips: Skips, lost: dict[tuple[str, str], str], moved: set[tuple[str, str]]) -> str:
    difference = one.difference
    repository = difference.repository
    if difference.kind == EXTRA:  # what the importer drops is no reason for being in the database
        skips = skips.taken or Skips()
    if difference.kind == BROKEN and difference.what == "blob":
        digest = difference.expected.partition(" ")[0]
        return skips.of_digest(repository, digest) or skips.tags.get((repository, difference.name), "")
    if difference.what == "tag":
        return skips.of_path(tag_path(repository, difference.name))
    if found := skips.of_digest(repository, difference.name) or skips.of_path(_path(difference)):
        return found
    if difference.kind == MISSING and one.through:
        reasons = [
            lost.get((repository, tag)) or ("deleted-since" if (repository, tag) in moved else "")
            for tag in one.through
        ]
        return reasons[0] if all(reasons) else ""
    if difference.kind == BROKEN:
        parent = difference.expected.removeprefix("child of ")
        return skips.of_digest(repository, parent)
    return ""


def _path(difference: MetadataDifference) -> str:
    if difference.what == "blob":
        return blob_path(difference.name)
    make = revision_path if difference.what == "manifest" else layer_path
    return make(difference.repository, difference.name)
