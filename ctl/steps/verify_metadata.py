"""What `registry verify` does and shows for an engine with a metadata database. Reads only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from ctl.errors import Outcome, UnreachableError
from ctl.report.model import Block, Json, Report, Table, Text

if TYPE_CHECKING:
    from ctl.catalog.metadata_compare import MetadataComparison
    from ctl.report.events import EventSink
    from ctl.world import World

_SHOWN = 40
_FIGURES = ("repositories", "tags", "manifests", "blobs", "missing", "extra", "different", "broken")
_PLAIN = frozenset({"untagged", "unused-link", "step-three"})  # of every import: counted, not listed
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
    skips = Skips()
    if result.open:  # rarely: reading the tree as the importer does takes as long as the comparison
        from ctl.catalog.preflight import preflight

        skips = Skips.of(preflight(tree.storage), result.problems)
    return explain(result, skips)


@dataclass(frozen=True)
class Further:
    """What a verification does beside comparing storage and database: ask a node over HTTP."""

    api: bool = False
    pull: int = 0  # tags that are pulled to the last layer; -1 is all
    node: str = ""  # the host of the node that is asked; "" is the first that runs
    seed: str = ""  # chooses the tags


def metadata_verify_report(
    world: World, registry: str, *, checksums: bool, emit: EventSink, further: Further | None = None
) -> Report:
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
        "problem_list": [
            {"path": p.path, "kind": p.kind, "reason": p.reason} for p in result.problems[: result.limit]
        ],
        "seconds": round(time.monotonic() - started, 3),
    }
    blocks, agree = _blocks(registry, result), result.agree
    if further is not None and (further.api or further.pull):
        agree = _ask_node(world, registry, further, emit, data, blocks) and agree
    outcome = Outcome.OK if agree else Outcome.WARNING
    return Report("registry-verify", outcome, data, tuple(blocks), _hints(result))


def _ask_node(
    world: World,
    registry: str,
    further: Further,
    emit: EventSink,
    data: dict[str, Json],
    blocks: list[Block],
) -> bool:
    """Ask a node as further asked for; add to data and blocks, and say whether all was right."""
    from ctl.steps.pull_sample import compare_served, pull, pull_data

    node, agree = _node(world, registry, further.node), True
    if further.api:
        served = compare_served(world, registry, node, emit=emit)
        names = ("repositories", "tags", "missing", "extra", "different")
        data["api"] = {"node": node, **{name: cast(int, getattr(served, name)) for name in names}}
        data["api_differences"] = [asdict(one) for one in served.differences]
        cells = tuple(f"{getattr(served, name):,}" for name in names)
        blocks.append(
            Table(names, (cells,), f"{registry}: database and what {node} serves", frozenset(names))
        )
        blocks += _differences("Served otherwise", served.differences, "in the database")
        agree = served.agree
    if further.pull:
        seed = further.seed or str(time.time_ns())
        pulled = pull(world, registry, node, count=further.pull, seed=seed, emit=emit)
        data["pull"] = {"node": node, "seed": seed, **pull_data(pulled)}
        data["pull_differences"] = [asdict(one) for one in pulled.differences]
        text = "{pulled_tags:,} tags pulled from {node}: {pulled_manifests:,} manifests, {pulled_blobs:,} "
        text += "blobs, {pulled_bytes:,} bytes, all hashed; {pull_broken:,} tags are broken"
        blocks.append(Text(text.format(node=node, **pull_data(pulled))))
        blocks += _differences("Broken", pulled.differences, "by the manifest")
        agree = agree and not pulled.broken
    return agree


def _node(world: World, registry: str, wanted: str) -> str:
    """Return the host of the node to ask; UsageError for an unknown one, UnreachableError if none runs."""
    if wanted:
        return world.node(registry, wanted).host
    hosts = [node.host for node in world.registry(registry).nodes]
    running = [host for host in hosts if world.service(registry, host).state().running]
    if not running:
        raise UnreachableError(
            f"no node of {registry} runs, so nothing can be asked over HTTP",
            hint=f"regctl service start {registry}",
        )
    return running[0]


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
    blocks += _differences("Without a reason", result.unexplained, "in the storage")
    told = [one for one in result.expected if one.explained_by not in _PLAIN]
    return blocks + _differences("With a reason", told, "in the storage")


def _differences(title: str, found: Sequence[object], where: str) -> list[Block]:
    if not found:
        return []
    shown = found[:_SHOWN]
    rows = tuple(tuple(str(getattr(one, column)) for column in _COLUMNS) for one in shown)
    blocks: list[Block] = [Table(_COLUMNS, rows, f"{title} (expected: {where})")]
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
