"""What `regctl lockfiles` shows: the evidence, the verdict, and what a repair would do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from ctl.catalog.backend import BackendEvidence, Count, ImportRun, Verdict, judge, propose
from ctl.catalog.lockfiles import LockFiles
from ctl.errors import Outcome
from ctl.report.model import Block, Json, Report, Table, Text


def show_report(registry: str, evidence: BackendEvidence, *, has_database: bool) -> Report:
    """Lay out the evidence. Exit 3 where it is contradictory or the lock files do not fit."""
    verdict = judge(evidence)
    wanted = propose(evidence, verdict.mode) if has_database else None
    wrong = _wrong(evidence, verdict, wanted)
    data = {
        "registry": registry,
        "mode": verdict.mode,
        "reasons": list(verdict.reasons),
        "proposed": lock_data(wanted),
        "fits": not wrong,
        **evidence_data(evidence),
    }
    hints: tuple[str, ...] = ()
    if wrong and wanted is not None:
        hints = (f"`regctl lockfiles repair {registry}` would have {wanted.describe()}",)
    elif wrong and has_database:
        hints = (f"say which it is: `regctl lockfiles repair {registry} --set database|filesystem`",)
    outcome = Outcome.WARNING if wrong or evidence.unknown else Outcome.OK
    return Report("lockfiles-show", outcome, data, tuple(_blocks(evidence, verdict, wanted)), hints)


def lock_data(locks: LockFiles | None) -> Json:
    """Return lock files for JSON; None for unknown."""
    if locks is None:
        return None
    return {"database_in_use": locks.database_in_use, "filesystem_in_use": locks.filesystem_in_use}


def evidence_data(evidence: BackendEvidence) -> dict[str, Json]:
    """Return the evidence for JSON. No host of a database and no secret is in it."""
    served: Mapping[bool | None, str] = {True: "database", False: "filesystem", None: "unknown"}
    nodes: list[Json] = [
        {
            "host": host,
            "asks": asked,
            "serves": served[evidence.header[host]] if host in evidence.header else None,
        }
        for host, asked in evidence.asked.items()
    ]
    return {
        "lock_files": lock_data(evidence.locks),
        "nodes": nodes,
        "tree_links_repositories": evidence.tree,
        "database": {
            "schema": evidence.schema,
            "repositories": count_data(evidence.repositories),
            "tags": count_data(evidence.tags),
        },
        "imports": [import_data(run) for run in evidence.imports],
        "unknown": dict(evidence.unknown),
    }


def count_data(count: Count | None) -> Json:
    """Return a number of rows for JSON, with `exact` saying whether it is one; None for unknown."""
    return None if count is None else {"rows": count.rows, "exact": count.exact}


def import_data(run: ImportRun) -> dict[str, Json]:
    """Return a row of `import_statistics` for JSON."""
    return {
        "id": run.id,
        "started_at": moment(run.started_at),
        "finished_at": moment(run.finished_at),
        "steps": list(run.steps),
        "errors": dict(run.errors),
        "repositories": run.repositories,
        "tags": run.tags,
        "manifests": run.manifests,
        "blobs": run.blobs,
        "blobs_bytes": run.blobs_bytes,
        "storage_driver": run.storage_driver,
    }


def moment(when: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC, whole seconds."""
    if when is None:
        return None
    return when.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _wrong(evidence: BackendEvidence, verdict: Verdict, wanted: LockFiles | None) -> bool:
    """Say whether somebody should act: a contradiction, or a lock file that misleads or is missed.

    A registry on the tree needs none: GitLab's writes it only with its feature flag.
    """
    locks = evidence.locks
    if verdict.mode in ("contradictory", "undecided") or locks is None:
        return True
    if wanted is None:
        return locks.database_in_use
    if verdict.mode == "filesystem":
        return locks.database_in_use or (locks.filesystem_in_use and not wanted.filesystem_in_use)
    return (locks.database_in_use, locks.filesystem_in_use) != (True, False)


def _blocks(evidence: BackendEvidence, verdict: Verdict, wanted: LockFiles | None) -> list[Block]:
    served = {True: "the database", False: "the tree", None: "not known"}
    asks = {"filesystem": "the tree", "database": "the database", "prefer": "prefer", None: "not known"}
    rows = tuple(
        (host, asks[asked], served[evidence.header[host]] if host in evidence.header else "stopped")
        for host, asked in evidence.asked.items()
    )
    words = {
        "filesystem": "The registry's content is kept by the storage tree.",
        "database": "The registry's content is kept by its metadata database.",
        "undecided": "Nothing says which backend keeps the registry's content.",
        "contradictory": "The evidence is contradictory.",
    }
    there = evidence.locks.describe() if evidence.locks else "not known"
    blocks: list[Block] = [
        Table(("host", "its file asks for", "it serves from"), rows),
        Text(f"lock files: {there}"),
        Text("\n".join([words[verdict.mode], *(f"  {reason}" for reason in verdict.reasons)])),
    ]
    if wanted is not None and evidence.locks is not None:
        same = (wanted.database_in_use, wanted.filesystem_in_use) == (
            evidence.locks.database_in_use,
            evidence.locks.filesystem_in_use,
        )
        if not same:
            blocks.append(Text(f"What fits: {wanted.describe()}."))
    return blocks
