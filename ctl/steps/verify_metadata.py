"""What `registry verify` does and shows for an engine with a metadata database. Reads only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from ctl.errors import Outcome
from ctl.report.model import Block, Json, Report, Table, Text

if TYPE_CHECKING:
    from ctl.catalog.metadata_compare import MetadataComparison
    from ctl.report.events import EventSink
    from ctl.world import World

_SHOWN = 40
_FIGURES = ("repositories", "tags", "manifests", "blobs", "missing", "extra", "different", "broken")
_PLAIN = frozenset({"untagged", "unused-link", "step-three"})  # of every import: counted, not listed
    {"untagged", "unused-link", "step-three"}
)  # of every import: counted, not listed one by one
_COLUMNS = ("kind", "what", "repository", "name", "expected", "found", "explained_by")


def compare_with_database(
    world: World, registry: str, emit: EventSink, *, thorough: bool = False
) -> MetadataComparison:
    """Hold the storage tree against the metadata database, every difference with its reason where it has one.

    UnreachableError where storage or database does not answer; RefusedError where the tables are not there.
    """
    from ctl.catalog.import_ import Meter, demand_tree
    from ctl.catalog.metadata_compare import MetadataComparing
    from ctl.catalog.metadata_database import metadata_snapshot
    from ctl.catalog.metadata_explain import Skips, explain
    from ctl.catalog.tree import Tree
    from ctl.steps.metadata_doors import metadata_database

    tree = Tree(world.storage(registry))
    with metadata_snapshot(metadata_database(world, registry)) as catalog:
        counts = catalog.counts()
        demand_tree(tree, 0)
        meter = Meter(emit, counts.manifests + counts.tags + counts.blob_links + counts.blobs, task="verify")
        result = MetadataComparing(tree, catalog, thorough=thorough, advance=meter.add).run()
        meter.end()
    return explain(result, Skips())


def metadata_verify_report(world: World, registry: str, *, checksums: bool, emit: EventSink) -> Report:
    """Compare and report; exit 3 where something is broken or differs without a known reason."""
    started = time.monotonic()
    result = compare_with_database(world, registry, emit, thorough=checksums)
    data: dict[str, Json] = {
        "registry": registry,
        **{name: cast(int, getattr(result, name)) for name in _FIGURES},
        "checksums": checksums,
        "explained": dict(sorted(result.explained.items())),
        "database": cast(Json, asdict(result.database)),
        "differences": [asdict(one) for one in result.differences],
        "problems": len(result.problems),
        "problem_list": [{"path": p.path, "kind": p.kind, "reason": p.reason} for p in result.problems],
        "seconds": round(time.monotonic() - started, 3),
    }
    outcome = Outcome.OK if result.agree else Outcome.WARNING
    return Report("registry-verify", outcome, data, tuple(_blocks(registry, result)), _hints(result))


def _blocks(registry: str, result: MetadataComparison) -> list[Block]:
    from ctl.catalog.metadata_explain import REASONS

    cells = tuple(f"{getattr(result, name):,}" for name in _FIGURES)
    title = f"{registry}: storage and metadata database"
    blocks: list[Block] = [Table(_FIGURES, (cells,), title, frozenset(_FIGURES))]
    if result.agree:
        blocks.append(Text("They agree, but for what is explained." if result.explained else "They agree."))
    if result.explained:
        rows = tuple(
            (why, f"{count:,}", REASONS.get(why, "an entry that the importer does not take as it stands"))
            for why, count in sorted(result.explained.items())
        )
        blocks.append(Table(("reason", "count", "meaning"), rows, "Explained", frozenset({"count"})))
    blocks += _differences("Without a reason", result.unexplained)
    told = [one for one in result.expected if one.explained_by not in _PLAIN]
    return blocks + _differences("With a reason", told)


def _differences(title: str, found: Sequence[object]) -> list[Block]:
    if not found:
        return []
    shown = found[:_SHOWN]
    rows = tuple(tuple(str(getattr(one, column)) for column in _COLUMNS) for one in shown)
    blocks: list[Block] = [Table(_COLUMNS, rows, f"{title} (expected: in the storage)")]
    if len(found) > len(shown):
        blocks.append(Text("... and more (--output json lists 1,000)"))
    return blocks


def _hints(result: MetadataComparison) -> tuple[str, ...]:
    hints: list[str] = []
    if result.missing or result.extra or result.different:
        hints.append("docs/reference/registry-verify.md says what each difference can mean, and what to do")
    if result.broken:
        hints.append("what is broken cannot be pulled from the database either: push it again, or delete it")
    return tuple(hints)
