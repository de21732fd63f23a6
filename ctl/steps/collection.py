"""What the steps of a garbage collection share: which node collects, and the command that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ctl.errors import RegctlError
from ctl.hosts.environment import read_environment
from ctl.steps.registry_program import feature_environment

if TYPE_CHECKING:
    from packaging.version import Version

    from ctl.config.models import Node
    from ctl.engines.base import Engine
    from ctl.hosts.base import Command, Host
    from ctl.world import World


@dataclass(frozen=True)
class Collector:
    """The registry's own binary as a garbage collector: where it runs and how it is called."""

    host: Host
    node: Node
    engine: Engine
    version: Version
    environment: Mapping[str, str] = field(default_factory=dict)  # what the node's service has too

    def command(self, *, dry_run: bool, delete_untagged: bool) -> Command:
        """The call as the node's service would make it: its user, its environment, its configuration."""
        command = self.engine.collect_command(
            self.node.binary,
            self.node.config_file,
            self.version,
            dry_run=dry_run,
            delete_untagged=delete_untagged,
        )
        return replace(command, user=self.node.user, env={**self.environment, **command.env})


def collecting_node(world: World, registry: str) -> Node:
    """Return the node whose binary collects: the one on the storage's host, else the first."""
    description = world.registry(registry)
    nodes = description.nodes
    return next((n for n in nodes if n.host == description.storage.host), nodes[0])


def collector_of(world: World, registry: str) -> Collector:
    """Open the registry's collector and ask for its version; RegctlError if it is not the engine's binary."""
    node = collecting_node(world, registry)
    host, engine = world.host(node.host), world.engine(registry)
    result = host.run(engine.version_command(node.binary))
    version = engine.parse_version(result.stdout.decode(errors="replace"))
    environment = {
        **read_environment(host, node.environment_file),
        **feature_environment(world, registry),
    }
    return Collector(host, node, engine, version, environment)


def node_config(world: World, registry: str, node: Node) -> Mapping[str, Any]:
    """Read the configuration that a node's service loads, as its engine would; RegctlError if it cannot."""
    host = world.host(node.host)
    try:
        parsed = world.engine(registry).parse_config(host.read(node.config_file))
    except FileNotFoundError as error:
        raise RegctlError(
            f"{registry}/{node.host}: {node.config_file} is not there",
            hint="name the file that the service loads as config_file in the site",
        ) from error
    if not parsed.readable:
        reasons = tuple(f"{m.path}: {m.message}" for m in parsed.mistakes)
        raise RegctlError(
            f"{registry}/{node.host}: {node.config_file} cannot be read as a configuration", details=reasons
        )
    return parsed.data
