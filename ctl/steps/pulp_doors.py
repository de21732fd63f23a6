"""How a step asks a Pulp: its manager on its host, by one question at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ctl.engines.pulp import answer, answers, explained, question
from ctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ctl.config.pulp import PulpNode
    from ctl.world import World

PATIENCE = timedelta(
    minutes=15
)  # that a question may take; one about 100,000 manifests looks at as many files


def pulp_node(world: World, registry: str, host: str) -> PulpNode:
    """Return a node of a Pulp; UsageError names the hosts there are."""
    nodes = {node.host: node for node in world.pulp(registry).nodes}
    if host not in nodes:
        raise UsageError(f"{registry} has no node on the host {host!r}", hint=f"it has {', '.join(nodes)}")
    return nodes[host]


def pulp_nodes(world: World, registry: str, hosts: Sequence[str] = ()) -> tuple[PulpNode, ...]:
    """Return the nodes meant, the server first: those on `hosts`, all where none is named."""
    chosen = [pulp_node(world, registry, host) for host in dict.fromkeys(hosts)]
    found = chosen or list(world.pulp(registry).nodes)
    return tuple(sorted(found, key=lambda node: node.role != "server"))


def ask_all(
    world: World,
    registry: str,
    host: str,
    name: str,
    request: Mapping[str, Any],
    timeout: timedelta = PATIENCE,
) -> list[dict[str, Any]]:
    """Put a question to a node's Pulp and return all its answers; CommandFailedError where it has none."""
    node = pulp_node(world, registry, host)
    result = world.host(host).run(question(node, name, request, timeout))
    found = list(answers(result.stdout))
    if result.exit_code != 0 or not found:
        raise explained(f"{registry} on {host}", result.exit_code, result.stdout, result.stderr)
    return found


def ask_one(world: World, registry: str, host: str, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Put a question that has one answer, of the question's own name."""
    node = pulp_node(world, registry, host)
    result = world.host(host).run(question(node, name, request, PATIENCE))
    found = answer(result.stdout, name)
    if result.exit_code != 0 or found is None:
        raise explained(f"{registry} on {host}", result.exit_code, result.stdout, result.stderr)
    return found
