"""Which backend a registry's content is kept by, judged from everything that says something about it. Pure.

No single piece of evidence is enough: the configuration says what is asked for, a lock file what was once
true, the header what a process serves now, and the tables what would be lost. docs/reference/lockfiles.md
tells more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ctl.catalog.lockfiles import LockFiles
from ctl.engines.metadata import Asked

Mode = Literal["filesystem", "database", "undecided", "contradictory"]


@dataclass(frozen=True)
class Count:
    """How many rows a table has; not `exact` where it is an estimate, or only the least that it can be."""

    rows: int
    exact: bool = True

    def __str__(self) -> str:
        return f"{self.rows:,}" if self.exact else f"about {self.rows:,}"


@dataclass(frozen=True)
class ImportRun:
    """One row of GitLab's `import_statistics`: an import that ended, well or not. Killed ones leave none."""

    id: int
    started_at: datetime | None = None
    finished_at: datetime | None = None
    steps: tuple[str, ...] = ()  # of "one", "two", "three"; none: it ended before its first
    errors: Mapping[str, str] = field(default_factory=dict)  # by step
    repositories: int | None = None
    tags: int | None = None
    manifests: int | None = None
    blobs: int | None = None
    blobs_bytes: int | None = None
    storage_driver: str = ""

    @property
    def wrote_tags(self) -> bool:
        """Whether its step two came to its end. A dry run looks the same: the table does not tell."""
        return "two" in self.steps and "two" not in self.errors and self.finished_at is not None


@dataclass(frozen=True)
class BackendEvidence:
    """All that was found. What could not be asked is None, or missing, and `unknown` says why.

    `unknown` is keyed by what was asked: "locks", "tree", "database", "config HOST" or "header HOST".
    """

    asked: Mapping[str, Asked | None] = field(default_factory=dict)  # by node: what its file asks for
    locks: LockFiles | None = None
    header: Mapping[str, bool | None] = field(default_factory=dict)  # by node that runs: serves the database
    schema: bool | None = None  # whether the database has GitLab's tables; False also where there is none
    repositories: Count | None = None
    tags: Count | None = None
    imports: tuple[ImportRun, ...] = ()  # newest first
    tree: bool | None = None  # whether the storage tree links at least one repository
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def served(self) -> frozenset[bool]:
        """What the running nodes serve by their own word: the database (True), the tree (False)."""
        return frozenset(value for value in self.header.values() if value is not None)

    @property
    def holds_tags(self) -> bool:
        """Whether the database is known to hold a tag."""
        return self.tags is not None and self.tags.rows > 0

    @property
    def holds_repositories(self) -> bool:
        """Whether the database is known to hold a repository."""
        return self.repositories is not None and self.repositories.rows > 0


@dataclass(frozen=True)
class Verdict:
    """What the evidence comes to, and every piece of it in words."""

    mode: Mode
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Hindrance:
    """A reason why a storage tree must not be changed; `known` False where it could only not be excluded."""

    message: str
    hint: str
    known: bool = True


def asked_backend(config: Mapping[str, Any]) -> Asked:
    """Say which backend a configuration asks for; what nobody can read as `false` counts as the database."""
    section = config.get("database")
    if not isinstance(section, Mapping):
        return "filesystem"
    value = section.get("enabled", False)
    if value is None or value is False or str(value).strip().lower() in ("false", ""):
        return "filesystem"
    return "prefer" if str(value).strip().lower() == "prefer" else "database"


def names_database(config: Mapping[str, Any]) -> bool:
    """Say whether a configuration names a metadata database, be it in use or not."""
    section = config.get("database")
    return isinstance(section, Mapping) and bool(section.get("host") or section.get("dbname"))


def judge(evidence: BackendEvidence) -> Verdict:
    """Say which backend holds the registry's truth, or why nobody can say."""
    for_database = list(_for_database(evidence))
    for_tree = list(_for_filesystem(evidence))
    notes = [*for_database, *for_tree, *_content(evidence), *_missing(evidence)]
    mode = _mode(evidence, bool(for_database), bool(for_tree))
    conflict = _conflict(evidence) if mode == "contradictory" else ""
    return Verdict(mode, tuple([conflict, *notes] if conflict else notes))


def propose(evidence: BackendEvidence, mode: Mode) -> LockFiles | None:
    """Return the lock files that fit, or None where the operator has to say which backend it is."""
    if evidence.locks is None:
        return None
    if mode == "contradictory" and evidence.tags is not None:
        if evidence.served == {True} and evidence.tags.rows:
            mode = "database"  # as after a refused second import, which turns the lock files round
        elif evidence.served == {False} and not evidence.tags.rows and "database" not in _asked(evidence):
            mode = "filesystem"
    if mode == "database":
        return LockFiles(True, False)
    if mode == "filesystem":  # an empty storage is not locked: that would keep a new database from starting
        return LockFiles(False, evidence.tree is not False)
    return None


def hindrances(evidence: BackendEvidence, *, importing: bool = False) -> Iterator[Hindrance]:
    """Yield every reason why the storage tree must be left alone: a database is in use, or may be.

    With `importing`, rows in a database that nothing says is in use are no reason: they are the import's.
    """
    if evidence.locks is not None and evidence.locks.database_in_use:
        yield Hindrance(
            "the storage says by its lock file database-in-use that a metadata database is in use",
            "the tree alone says no more what is live; see `regctl lockfiles show`",
        )
    for host, asked in evidence.asked.items():
        if asked in ("database", "prefer"):
            value = "true" if asked == "database" else "prefer"
            yield Hindrance(
                f"the configuration on {host} says database.enabled: {value}",
                "the registry keeps its content in its metadata database; `regctl gc status` looks there",
            )
    for host, serves in evidence.header.items():
        if serves:
            yield Hindrance(
                f"the registry on {host} says that it serves from its metadata database",
                "its tree holds only part of the truth; `regctl gc status` shows its online collection",
            )
    if not importing and (evidence.holds_repositories or evidence.holds_tags):
        what = f"{evidence.tags} tags" if evidence.holds_tags else f"{evidence.repositories} repositories"
        yield Hindrance(
            f"the registry's metadata database holds {what}",
            "what it holds has no links in the tree and would be deleted as garbage; if the database is"
            " really out of use, empty it, or take it out of the site and of every node's file",
        )
    for asked_for, why in evidence.unknown.items():
        if asked_for == "tree" or (importing and asked_for == "database"):
            continue
        yield Hindrance(
            f"whether the metadata database is in use cannot be excluded: {_subject(asked_for)}: {why}",
            "make it answer, then run the same command again; see `regctl lockfiles show`",
            known=False,
        )


def _asked(evidence: BackendEvidence) -> frozenset[Asked]:
    return frozenset(asked for asked in evidence.asked.values() if asked is not None)


def _for_database(evidence: BackendEvidence) -> Iterator[str]:
    for host, serves in evidence.header.items():
        if serves:
            yield f"the registry on {host} serves from the database"
    if evidence.locks is not None and evidence.locks.database_in_use:
        yield "the lock file database-in-use is there"
    for host, asked in evidence.asked.items():
        if asked == "database":
            yield f"the configuration on {host} asks for the database"


def _for_filesystem(evidence: BackendEvidence) -> Iterator[str]:
    for host, serves in evidence.header.items():
        if serves is False:
            yield f"the registry on {host} serves from the tree"
    if evidence.locks is not None and evidence.locks.filesystem_in_use:
        yield "the lock file filesystem-in-use is there"
    for host, asked in evidence.asked.items():
        if asked == "filesystem":
            yield f"the configuration on {host} asks for the tree"


def _content(evidence: BackendEvidence) -> Iterator[str]:
    """Say what is neither for nor against by itself."""
    for host, asked in evidence.asked.items():
        if asked == "prefer":
            yield f"the configuration on {host} says prefer: what it serves was decided when it started"
    if evidence.locks is not None:
        if not (evidence.locks.database_in_use or evidence.locks.filesystem_in_use):
            yield "there is no lock file"
        for name in evidence.locks.odd:
            yield f"what stands in the place of the lock file {name} is a directory: it counts as absent"
    if evidence.schema is False:
        yield "there is no database with the registry's tables"
    elif evidence.tags is not None:
        yield f"the database holds {evidence.tags} tags in {evidence.repositories} repositories"
    if evidence.tree is not None:
        yield "the tree links repositories" if evidence.tree else "the tree links no repository"
    for run in evidence.imports[:1]:
        ended = f"{run.finished_at:%Y-%m-%d %H:%M:%S}" if run.finished_at else "at an unknown time"
        how = f"failed in step {', '.join(run.errors)}" if run.errors else "ended well"
        yield f"the last import (step {', '.join(run.steps) or 'none'}) {how}, {ended}"


def _missing(evidence: BackendEvidence) -> Iterator[str]:
    for asked_for, why in evidence.unknown.items():
        yield f"not known: {_subject(asked_for)}: {why}"


def _subject(asked_for: str) -> str:
    kind, _, host = asked_for.partition(" ")
    words = {
        "locks": "the lock files",
        "tree": "the tree",
        "database": "what the database holds",
        "config": f"what the configuration on {host} asks for",
        "header": f"what the registry on {host} serves",
    }
    return words.get(kind, asked_for)


def _mode(evidence: BackendEvidence, for_database: bool, for_tree: bool) -> Mode:
    locks = evidence.locks or LockFiles()
    if locks.database_in_use and locks.filesystem_in_use:
        return "contradictory"
    if for_database and for_tree:
        return "contradictory"
    if for_database:
        return _mode_of_database(evidence, locks)
    if for_tree:
        stale = evidence.holds_tags and not locks.filesystem_in_use
        return "contradictory" if stale else "filesystem"
    return "database" if evidence.holds_tags else "undecided"


def _mode_of_database(evidence: BackendEvidence, locks: LockFiles) -> Mode:
    """Everything speaks for the database; does it hold what it should?"""
    if evidence.schema is False:  # a configuration alone is a wish: the registry does not start so
        return "contradictory" if locks.database_in_use or True in evidence.served else "undecided"
    empty = evidence.tags is not None and not evidence.tags.rows
    return "contradictory" if empty and evidence.tree else "database"


def _conflict(evidence: BackendEvidence) -> str:
    """Say in one sentence what does not fit together."""
    locks = evidence.locks or LockFiles()
    asked = _asked(evidence)
    if locks.database_in_use and locks.filesystem_in_use:
        return "both lock files are there: with REGISTRY_FF_ENFORCE_LOCKFILES no node starts"
    if len(evidence.served) > 1:
        return "the nodes serve from different backends"
    if evidence.served == {True} and locks.filesystem_in_use:
        return (
            "the registry serves from the database, the lock file says tree: a second import turns them round"
        )
    if evidence.served == {False} and locks.database_in_use:
        return "the lock file says database, but the registry serves from the tree: imported, not switched?"
    if {"database", "filesystem"} <= asked:
        return "the nodes' configurations ask for different backends"
    if (evidence.served == {False} and "database" in asked) or (
        evidence.served == {True} and "filesystem" in asked
    ):
        return "a node serves something else than its configuration asks for: it was not restarted"
    if locks.database_in_use and asked == {"filesystem"}:
        return "the lock file says database, but the configuration asks for the tree"
    if locks.filesystem_in_use and "database" in asked:
        return "the lock file says tree, but the configuration asks for the database"
    if evidence.schema is False:
        return "the database should be in use, but there are no tables"
    if evidence.holds_tags:
        return "everything speaks for the tree, but the database holds tags and no lock file says whose it is"
    return "the database should be in use and is empty, but the tree links repositories: they are hidden"
