"""What `registry import` and `registry verify` show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from ctl.errors import Outcome
from ctl.report.model import Block, Json, Report, Table, Text

if TYPE_CHECKING:
    from ctl.catalog.compare import Comparison
    from ctl.catalog.model import Finding
    from ctl.recipes.model import RunReport
    from ctl.report.events import EventSink
    from ctl.world import World

LIST_LIMIT = 1000  # entries in problem_list and differences; the counts beside them are complete
_ROWS_SHOWN = 40
_FIGURES = ("repositories", "tags", "manifests", "blobs", "bytes")
_RIGHT = frozenset({*_FIGURES, "problems", "count", "missing", "extra", "different", "broken"})


def import_report(world: World, registry: str, run: RunReport) -> Report:
    """Turn a run of ImportTree, or its dry run, into the command's report."""
    if run.state == "dry-run":
        return _dry_run_report(registry, run)
    data: dict[str, Json] = {"registry": registry, "run": run.id, **dict.fromkeys((*_FIGURES, "problems"), 0)}
    data.update(run.data("ImportTree"))
    finished = run.outcome in (Outcome.OK, Outcome.CHANGED, Outcome.NOTHING_TO_DO)
    found, total = _findings(world, registry) if finished else ([], 0)
    data["problems"] = total
    data["problem_list"] = _problem_list(found)
    outcome = Outcome.WARNING if finished and total else run.outcome
    hints: tuple[str, ...] = ()
    if outcome is Outcome.WARNING:
        hints = ("docs/reference/findings.md says what each kind means and what it does to a collection",)
    blocks = _import_blocks(data, found, total) if finished else ()
    return Report("registry-import", outcome, data, blocks, hints)


def _findings(world: World, registry: str) -> tuple[list[Finding], int]:
    with world.catalog(registry).open() as reader:
        return reader.findings(LIST_LIMIT)


def _problem_list(found: Sequence[Finding]) -> list[Json]:
    return [{"path": f.path, "kind": f.kind, "reason": f.reason} for f in found]


def _dry_run_report(registry: str, run: RunReport) -> Report:
    data: dict[str, Json] = {"registry": registry, "dry_run": True, "problems": 0, "problem_list": []}
    blocks: list[Block] = []
    for preview in run.previews:
        data.update(preview.data)
        blocks.extend(preview.blocks)
    blocks.extend(_problem_table(cast("Sequence[Mapping[str, str]]", data["problem_list"]), data["problems"]))
    outcome = run.outcome
    if data["problems"] and outcome in (Outcome.PENDING, Outcome.NOTHING_TO_DO):
        outcome = Outcome.WARNING
    return Report("registry-import", outcome, data, tuple(blocks))


def _import_blocks(data: Mapping[str, Json], found: Sequence[Finding], total: int) -> tuple[Block, ...]:
    cells = tuple(f"{data[name]:,}" for name in (*_FIGURES, "problems"))
    title = f"Catalog of {data['registry']}"
    blocks: list[Block] = [Table((*_FIGURES, "problems"), (cells,), title, _RIGHT)]
    if "parsed" in data:
        text = "{written:,} links and blobs written, {parsed:,} manifests read, generation {generation}"
        blocks.append(Text(f"{text.format(**data)}, {data['seconds']} s"))
    blocks.extend(_problem_table([asdict(one) for one in found], total))
    return tuple(blocks)


def _problem_table(found: Sequence[Mapping[str, str]], total: Json) -> list[Block]:
    if not found:
        return []
    rows = tuple((one["kind"], one["path"], one["reason"]) for one in found[:_ROWS_SHOWN])
    blocks: list[Block] = [Table(("kind", "path", "reason"), rows, "Problems")]
    if isinstance(total, int) and total > len(rows):
        blocks.append(Text(f"... and {total - len(rows):,} more (--output json lists {LIST_LIMIT:,})"))
    return blocks


def verify_report(world: World, registry: str, *, checksums: bool, emit: EventSink) -> Report:
    """Compare a tree with its catalog and report; RefusedError where there is no catalog to compare."""
    from ctl.catalog.compare import Comparing
    from ctl.catalog.import_ import Meter, demand_tree
    from ctl.catalog.tree import Tree

    store = world.catalog(registry)
    state = store.require()
    tree = Tree(world.storage(registry))
    demand_tree(tree, state.counts.repositories)
    counts = state.counts
    meter = Meter(emit, counts.manifests + counts.tags + 2 * counts.blobs, task="verify")
    with store.open() as reader:
        result = Comparing(tree, reader, checksums=checksums, advance=meter.add).run()
    meter.end()
    return _verified(registry, result, checksums)


def _verified(registry: str, result: Comparison, checksums: bool) -> Report:
    names = ("repositories", "tags", "manifests", "blobs", "missing", "extra", "different", "broken")
    figures = {name: cast(int, getattr(result, name)) for name in names}
    data: dict[str, Json] = {
        "registry": registry,
        **figures,
        "checksums": checksums,
        "differences": [asdict(one) for one in result.differences],
    }
    cells = tuple(f"{value:,}" for value in figures.values())
    blocks: list[Block] = [Table(names, (cells,), f"{registry}: storage and catalog", _RIGHT)]
    if result.agree:
        blocks.append(Text("They agree."))
        return Report("registry-verify", Outcome.OK, data, tuple(blocks))
    columns = ("kind", "what", "repository", "name", "expected", "found")
    shown = result.differences[:_ROWS_SHOWN]
    rows = tuple(tuple(str(getattr(one, column)) for column in columns) for one in shown)
    blocks.append(Table(columns, rows, "Differences (expected: in the storage)"))
    if len(result.differences) > len(rows):
        blocks.append(Text(f"... and more (--output json lists {result.limit:,})"))
    stale = result.missing + result.extra + result.different
    hints = (f"run `regctl registry import {registry}`: the storage changed since",) if stale else ()
    return Report("registry-verify", Outcome.WARNING, data, tuple(blocks), hints)
