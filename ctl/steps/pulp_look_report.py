"""How `regctl status` shows Pulps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ctl.report.model import Block, Json, Table

if TYPE_CHECKING:
    from ctl.engines.pulp_status import PulpStatus
    from ctl.steps.pulp_look import PulpNodeView, PulpView, ServiceView


def pulp_blocks(pulps: Sequence[PulpView]) -> list[Block]:
    """Return the tables: a row for each host, and one for each service."""
    if not pulps:
        return []
    columns = (
        "Pulp",
        "host",
        "role",
        "container",
        "core",
        "API",
        "workers",
        "content apps",
        "database",
        "redis",
    )
    rows = tuple(_row(pulp.name, node) for pulp in pulps for node in pulp.nodes)
    services = tuple(
        (pulp.name, node.host, one.name, one.state, f"{one.kind}: {one.detail}")
        for pulp in pulps
        for node in pulp.nodes
        for one in node.services
    )
    blocks: list[Block] = [Table(columns, rows, right=frozenset({"workers", "content apps"}))]
    return [*blocks, Table(("Pulp", "host", "service", "state", "detail"), services)] if services else blocks


def _row(name: str, node: PulpNodeView) -> tuple[str, ...]:
    found = node.status
    if found is None:
        asked = "not asked (no url)" if node.url is None else "no answer"
        return (name, node.host, node.role, "unknown", "unknown", asked, "-", "-", "-", "-")
    return (
        name,
        node.host,
        node.role,
        found.versions.get("container", "unknown"),
        found.versions.get("core", "unknown"),
        "answers",
        str(found.count("worker")),
        str(found.count("content app")),
        "connected" if found.database else "not connected",
        "connected" if found.redis else "not used, or away",
    )


def pulp_data(pulp: PulpView) -> dict[str, Json]:
    """Return a Pulp for JSON."""
    return {
        "engine": "pulp",
        "nodes": [_node(node) for node in pulp.nodes],
        "versions": list(pulp.versions),
        "mixed": len(pulp.versions) > 1,
    }


def _node(node: PulpNodeView) -> dict[str, Json]:
    return {
        "host": node.host,
        "role": node.role,
        "url": node.url,
        "services": [_service(one) for one in node.services],
        "status": _status(node.status) if node.status else None,
        "problems": list(node.problems),
    }


def _service(one: ServiceView) -> dict[str, Json]:
    return {
        "name": one.name,
        "kind": one.kind,
        "state": one.state,
        "detail": one.detail,
        "of_database": one.of_database,
    }


def _status(found: PulpStatus) -> dict[str, Json]:
    return {
        "versions": dict(found.versions),
        "workers": found.count("worker"),
        "content_apps": found.count("content app"),
        "api_apps": found.count("API app"),
        "one_version": not found.others,
        "database": found.database,
        "redis": found.redis,
        "total_bytes": found.total_bytes,
        "free_bytes": found.free_bytes,
        "domains": found.domains,
    }
