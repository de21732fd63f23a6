"""How far the import of a registry into its metadata database has come, judged from facts alone. Pure.

Nothing is remembered in a file of its own that could lie: what the tables hold, GitLab's own import
statistics and the lock files say it. docs/reference/registry-import-gitlab.md has the table for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ctl.catalog.backend import BackendEvidence, hindrances
from ctl.engines.metadata import ImportStep


@dataclass(frozen=True)
class ImportContent:
    """What the tables say of an import's progress. Counts are exact."""

    repositories: int = 0
    marked: int = 0  # repositories that step one has finished, by their last_published_at
    oldest_mark: datetime | None = None
    tags: bool = False  # whether there is any
    traces: tuple[str, ...] = ()  # what only a registry that served from this database leaves


class Standing(StrEnum):
    """How far it has come."""

    EMPTY = "empty"  # nothing is imported
    PREPARING = "preparing"  # step one has begun, and has not come to its end
    PREPARED = "prepared"  # step one is done
    PARTLY = "partly"  # some tags are in, and step two never ended
    REHEARSED = "rehearsed"  # all tags are in, but the storage is not marked as the database's
    IMPORTED = "imported"  # the storage is marked as the database's


@dataclass(frozen=True)
class Refusal:
    """Why a step must not run now, and the command that is right instead."""

    message: str
    hint: str


def standing(evidence: BackendEvidence, content: ImportContent) -> Standing:
    """Say how far an import has come."""
    if evidence.locks is not None and evidence.locks.database_in_use:
        return Standing.IMPORTED
    if content.tags:
        last = next((run for run in evidence.imports if "two" in run.steps), None)
        return Standing.REHEARSED if last is not None and last.wrote_tags else Standing.PARTLY
    if not content.marked:
        return Standing.EMPTY
    ended = any(
        "one" in run.steps and "one" not in run.errors and run.finished_at is not None
        for run in evidence.imports
    )
    return Standing.PREPARED if ended or content.marked >= content.repositories else Standing.PREPARING


def refusal(
    evidence: BackendEvidence, content: ImportContent, step: ImportStep, *, retry: bool = False
) -> Refusal | None:
    """Say why this step is not the right one now; None where it is.

    With `retry` tags of an import that nobody ever used are no reason: they will be taken out first.
    """
    now = standing(evidence, content)
    if step is ImportStep.THREE:
        return _three(now)
    if now is Standing.IMPORTED:
        return _imported(evidence, content)
    if now in (Standing.PARTLY, Standing.REHEARSED):
        return used(evidence, content) if retry else _tags_there(now)
    if step is ImportStep.TWO and now is Standing.EMPTY:
        return Refusal(
            "step one has not run: step two would import everything within the read-only window",
            "run `regctl registry import --step one` first (the registry stays open), "
            "or import in one step: `regctl registry import`",
        )
    if step is ImportStep.TWO and now is Standing.PREPARING:
        return Refusal(
            f"step one has not come to its end ({content.marked:,} of {content.repositories:,} repositories)",
            "run `regctl registry import --step one` again: it goes on where it stopped",
        )
    return None


def used(evidence: BackendEvidence, content: ImportContent) -> Refusal | None:
    """Say what speaks against taking the tags out: anything that a registry serving from them would leave."""
    for hindrance in hindrances(evidence, importing=True):
        return Refusal(f"the imported tags are not taken out: {hindrance.message}", hindrance.hint)
    if content.traces:
        return Refusal(
            f"the imported tags are not taken out: the database has been in use: {'; '.join(content.traces)}",
            "it may be the only copy of what was pushed to it: see `regctl lockfiles show`",
        )
    return None


def _three(now: Standing) -> Refusal | None:
    if now is Standing.IMPORTED:
        return None
    first = {
        Standing.EMPTY: "regctl registry import --step one",
        Standing.PREPARING: "regctl registry import --step one",
        Standing.PREPARED: "regctl registry import --step two",
    }.get(now, "regctl registry import --step two --retry")
    return Refusal(
        "the tags are not imported yet: step three records everything else as unused, for online collection",
        f"run `{first}` first",
    )


def _imported(evidence: BackendEvidence, content: ImportContent) -> Refusal:
    if not content.tags:
        return Refusal(
            "the storage is marked as the metadata database's (lock file database-in-use), and the database "
            "holds no tag",
            "see `regctl lockfiles show`; if the mark is wrong: `regctl lockfiles repair`",
        )
    return Refusal(
        "the registry is imported already (lock file database-in-use, and tags in the database); importing "
        "again would turn its lock files round",
        "`regctl lockfiles show` says whether it serves from the database; the remaining blobs come in "
        "by `regctl registry import --step three`",
    )


def _tags_there(now: Standing) -> Refusal:
    what = (
        "a step two got part of the way"
        if now is Standing.PARTLY
        else "an import ended well, but the registry went on with its storage tree"
    )
    return Refusal(
        f"the metadata database holds tags already: {what}",
        "if no registry ever served from it: add --retry (to `regctl enable-db` too), which proves that and "
        "takes the tags out first; one that `regctl disable-db` left is emptied by `regctl disable-db "
        "--empty-database`",
    )
