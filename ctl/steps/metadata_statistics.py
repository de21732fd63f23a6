"""Figures of a registry's metadata database, as `status` shows them and a service ping may send them.

No secret, no address and no name of a database is among them. Reads only; every part may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ctl.catalog.backend import BackendEvidence, Count, Verdict, judge
from ctl.probing import NoAnswer
from ctl.report.model import Json
from ctl.steps.lock_files_report import count_data, import_data

if TYPE_CHECKING:
    from ctl.world import World

TABLES = ("repositories", "tags", "manifests", "blobs")


@dataclass(frozen=True)
class Rows:
    """How much the tables hold; `background` is how many background migrations are not finished."""

    counts: Mapping[str, Count]
    background: int | None


@dataclass(frozen=True)
class Migrations:
    """The newest applied migration of each kind, and how many are pending; None: nobody can tell."""

    pre: str
    post: str
    pending_pre: int | None
    pending_post: int | None


@dataclass(frozen=True)
class MetadataStatistics:
    """What is known. `silent` names the parts that did not answer; why may name hosts, so it is left out."""

    evidence: BackendEvidence
    verdict: Verdict
    rows: Rows | None = None
    migrations: Migrations | None = None
    silent: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())  # for people; may name hosts

    @property
    def uses_database(self) -> bool | None:
        """Whether the registry keeps its content in the database; None where nobody can say."""
        return {"database": True, "filesystem": False}.get(self.verdict.mode)


def questions(world: World, registry: str, seconds: float) -> dict[str, Callable[[], Any]]:
    """Return what is to be asked of a registry, by part; {} where its engine has no such database."""
    if not world.registry(registry).own_database:
        return {}
    from ctl.steps.backend_evidence import gather

    found: dict[str, Callable[[], Any]] = {
        "evidence": partial(gather, world, registry, seconds=max(0.5, seconds - 0.5))
    }
    if world.registry(registry).database is not None:
        found["rows"] = partial(_rows, world, registry)
        found["migrations"] = partial(_migrations, world, registry)
    return found


def statistics(answers: Mapping[str, Any]) -> MetadataStatistics:
    """Put the answers to `questions` together."""
    silent = tuple(name for name, answer in answers.items() if isinstance(answer, NoAnswer))
    known = {name: answer for name, answer in answers.items() if name not in silent}
    evidence: BackendEvidence = known.get("evidence") or BackendEvidence()
    verdict = judge(evidence)
    found = MetadataStatistics(evidence, verdict, known.get("rows"), known.get("migrations"), silent)
    return MetadataStatistics(
        evidence, verdict, found.rows, found.migrations, silent, tuple(_problems(found, answers))
    )


def statistics_data(found: MetadataStatistics) -> dict[str, Json]:
    """Return the figures for JSON."""
    rows, migrations, evidence = found.rows, found.migrations, found.evidence
    last = evidence.imports[0] if evidence.imports else None
    return {
        "mode": found.verdict.mode,
        "uses_database": found.uses_database,
        "asked": dict(evidence.asked),
        "served": {host: _word(value) for host, value in evidence.header.items()},
        "lock_files": None
        if evidence.locks is None
        else {
            "database_in_use": evidence.locks.database_in_use,
            "filesystem_in_use": evidence.locks.filesystem_in_use,
        },
        "schema": evidence.schema,
        "rows": {name: count_data(rows.counts.get(name)) if rows else None for name in TABLES},
        "last_import": _without_errors(import_data(last)) if last else None,
        "migrations": {
            "pre": migrations.pre if migrations else None,
            "post": migrations.post if migrations else None,
            "pending_pre": migrations.pending_pre if migrations else None,
            "pending_post": migrations.pending_post if migrations else None,
            "background_unfinished": rows.background if rows else None,
        },
        "silent": [*found.silent, *sorted(evidence.unknown)],
    }


def _word(serves: bool | None) -> str | None:
    return {True: "database", False: "filesystem"}.get(serves) if serves is not None else None


def _without_errors(data: dict[str, Json]) -> dict[str, Json]:
    """Say which steps failed, not why: the reasons are the program's words and may name anything."""
    errors = data.pop("errors")
    return {**data, "failed_steps": sorted(errors) if isinstance(errors, Mapping) else []}


def _problems(found: MetadataStatistics, answers: Mapping[str, Any]) -> list[str]:
    problems = []
    for part in found.silent:
        problems.append(f"its metadata database, {part}: {answers[part].why}")
    if found.verdict.mode == "contradictory" and "evidence" not in found.silent:
        problems.append(
            f"which backend keeps its content is contradictory: {found.verdict.reasons[0]}"
            " (`regctl lockfiles show`)"
        )
    pending = found.migrations.pending_pre if found.migrations else None
    if pending and found.uses_database:
        problems.append(
            f"{pending} pre-deployment migrations are pending: it does not start again before"
            " `regctl database migrate up`"
        )
    return problems


def _rows(world: World, registry: str) -> Rows:
    from ctl.catalog.metadata_state import read_state
    from ctl.steps.metadata_doors import metadata_database

    with metadata_database(world, registry).connect(read_only=True) as session:
        state = read_state(session, TABLES, imports=0)
        if not state.schema:
            return Rows({}, None)
        there = session.one("SELECT to_regclass('public.batched_background_migrations') IS NOT NULL")
        if not there or not there[0]:
            return Rows(state.counts, None)
        row = session.one("SELECT count(*) FROM public.batched_background_migrations WHERE status <> 2")
        return Rows(state.counts, int(row[0]) if row else None)


def _migrations(world: World, registry: str) -> Migrations:
    from ctl.steps.metadata_migrations import look_at_migrations

    found = look_at_migrations(world, registry)
    pending = found.pending if found.complete else None
    return Migrations(
        max(found.state.pre_ids, default=""),
        max(found.state.post_ids, default=""),
        len(pending.pre) if pending else None,
        len(pending.post) if pending else None,
    )
