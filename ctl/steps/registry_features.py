"""What a registry's nodes can do: the engine's table against versions and metadata. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctl.engines.features import Feature
from ctl.engines.metadata import metadata_of
from ctl.errors import Outcome, RegctlError
from ctl.report.model import Report, Table, Text
from ctl.steps.collection import node_config

if TYPE_CHECKING:
    from packaging.version import Version

    from ctl.world import World

_BACKENDS = {"prefer": ("filesystem", "database")}


def features_report(world: World, registry: str) -> Report:
    """Hold the engine's table against every node; RegctlError if a program does not tell its version."""
    engine, nodes = world.engine(registry), world.registry(registry).nodes
    versions = {node.host: world.version(registry, node.host) for node in nodes}
    asked = {node.host: _asked(world, registry, node.host) for node in nodes}
    rows = [_row(row, versions, asked) for row in _table(world, registry)]
    data: dict[str, Any] = {
        "registry": registry,
        "engine": engine.name,
        "nodes": [
            {"host": host, "version": str(version), "metadata": asked[host] or "unknown"}
            for host, version in versions.items()
        ],
        "features": rows,
    }
    shown = ", ".join(f"{host} {version} ({asked[host] or '?'})" for host, version in versions.items())
    table = Table(
        ("feature", "here", "metadata", "since", "until", "what it is"),
        tuple(
            (
                row["name"],
                "yes" if row["usable"] else "other metadata" if row["available"] else "no",
                "any" if len(row["backends"]) > 1 else row["backends"][0],
                row["since"],
                row["until"] or "-",
                row["text"],
            )
            for row in rows
        ),
    )
    blocks = (Text(f"{registry}: {engine.name} on {shown}"), table)
    return Report("registry-features", Outcome.OK, data, blocks)


def _table(world: World, registry: str) -> list[Feature]:
    """The engine's rows; of an engine that has only names and versions, those."""
    engine = world.engine(registry)
    full = getattr(engine, "feature_table", None)
    if full is not None:
        return list(full())
    first = world.registry(registry).nodes[0].host
    table = engine.features(world.version(registry, first))
    return [Feature(name, "0", "", ("filesystem",), "" if has else "0") for name, has in table.items()]


def _row(row: Feature, versions: dict[str, Version], asked: dict[str, str]) -> dict[str, Any]:
    missing = [host for host, version in versions.items() if not row.at(version)]
    fits = all(not word or set(row.backends) & set(_BACKENDS.get(word, (word,))) for word in asked.values())
    return {
        "name": row.name,
        "text": row.text,
        "since": "" if row.since == "0" else row.since,
        "until": "" if row.until == "0" else row.until,
        "backends": list(row.backends),
        "seen": row.seen,
        "available": not missing,
        "usable": not missing and fits,
        "missing_on": missing,
    }


def _asked(world: World, registry: str, host: str) -> str:
    """Which metadata the node's file asks for; "" where it cannot be read."""
    metadata = metadata_of(world.engine(registry))
    if metadata is None:
        return "filesystem"
    try:
        return metadata.asked_backend(node_config(world, registry, world.node(registry, host)))
    except RegctlError:
        return ""
