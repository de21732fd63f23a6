"""What a node's registry really reads: its configuration file with the environment laid over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ctl.errors import RegctlError
from ctl.hosts import serving
from ctl.hosts.environment import read_environment

if TYPE_CHECKING:
    from ctl.config.models import Node
    from ctl.engines.base import Engine
    from ctl.world import World


def effective_sections(
    world: World, registry: str, node: Node, names: tuple[str, ...]
) -> dict[str, Mapping[str, Any]]:
    """Return top-level sections as the registry reads them, {} for one that is not there.

    The variables are those of the node's environment_file and of its live process. RegctlError where the
    file, or the environment_file, cannot be read.
    """
    engine, host = world.engine(registry), world.host(node.host)
    try:
        parsed = engine.parse_config(host.read(node.config_file))
    except FileNotFoundError as error:
        raise RegctlError(f"{node.config_file} is not there") from error
    if not parsed.readable:
        raise RegctlError(f"{node.config_file} cannot be read as a configuration")
    sections: dict[str, Any] = {name: _map(parsed.data.get(name)) for name in names}
    environment = node_environment(world, registry, node)
    overriding = engine.overriding_environment(environment)
    for variable, path in sorted(overriding.items(), key=lambda item: item[1]):  # parents before children
        if path.partition(".")[0] in sections:
            _set(sections, path.split("."), _value(engine, environment[variable]))
    return {name: _map(section) for name, section in sections.items()}


def node_environment(world: World, registry: str, node: Node) -> dict[str, str]:
    """Return the variables that a node's service gets from its file, and those that its live process has."""
    host = world.host(node.host)
    found = read_environment(host, node.environment_file)
    process = world.service(registry, node.host).state().process
    if process is not None:
        found.update(serving.environment(host, process))
    return {name: value for name, value in found.items() if name.startswith("REGISTRY_")}


def _value(engine: Engine, text: str) -> Any:
    """Read a variable's value as the YAML that it is; as text where it is none."""
    lines = "\n".join(f"  {line}" for line in text.splitlines())
    parsed = engine.parse_config(f"value:\n{lines}\n".encode())
    return parsed.data.get("value") if parsed.readable else text


def _set(sections: dict[str, Any], path: list[str], value: Any) -> None:
    place = sections
    for name in path[:-1]:
        below = place.get(name)
        place[name] = dict(below) if isinstance(below, Mapping) else {}
        place = place[name]
    place[path[-1]] = value


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
