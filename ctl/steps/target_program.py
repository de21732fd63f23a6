"""A node with another program than the site says: its version, and its file for that one. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from packaging.version import Version

from ctl.config.ownership import body_of, classify
from ctl.config.settings import differences
from ctl.engines.upgrades import Change, upgrades_of
from ctl.errors import ConfigError, RefusedError, RegctlError
from ctl.hosts import serving
from ctl.hosts.base import Command
from ctl.hosts.environment import read_environment
from ctl.skew import release_of
from ctl.steps.config_plan import plan_config, refuse_unfinished
from ctl.steps.node_doors import NodeDoors

if TYPE_CHECKING:
    from ctl.config.models import Node
    from ctl.engines.base import ConfigMistake
    from ctl.hosts.base import Host, ProcessInfo
    from ctl.world import World


def with_program(world: World, registry: str, host: str, binary: str) -> World:
    """Return the world in which a node has another binary."""
    described = world.registry(registry)
    if world.node(registry, host).binary == binary:
        return world
    nodes = tuple(
        node.model_copy(update={"binary": binary}) if node.host == host else node for node in described.nodes
    )
    changed = described.model_copy(update={"nodes": nodes})
    site = world.site.model_copy(update={"registries": {**world.site.registries, registry: changed}})
    return world.described(site)


class _Told:
    """A world in which the version of a node is told, because its program is not there to be asked yet."""

    def __init__(self, world: World, registry: str, host: str, version: Version) -> None:
        self._world, self._key, self._version = world, (registry, host), version

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def version(self, registry: str, host: str) -> Version:
        """Return the version that was told, or ask."""
        return self._version if (registry, host) == self._key else self._world.version(registry, host)


def told(world: World, registry: str, host: str, version: Version) -> World:
    """Return the world in which a node's program is of this version, whatever it says."""
    return cast("World", _Told(world, registry, host, version))


def text_for(node: NodeDoors, data: bytes, version: Version, secrets: str) -> bytes:
    """Return a node's file as a version needs it: ours is rendered, somebody else's edited in place.

    RefusedError where the file is neither, or would change in more than the version asks for.
    """
    owner = classify(data).state
    upgrades = upgrades_of(node.engine)
    world, registry, host = node.here.world, node.registry, node.host_name
    if upgrades is None or is_generated(node):
        return data
    if owner == "adopted":
        return upgrades.translate_text(data, version)
    if owner != "managed":
        raise RefusedError(
            f"{node.config_file} is managed by regctl and was edited by hand",
            hint=f"see `regctl config diff {registry}`, then settle it by `regctl config apply` or `adopt`",
        )
    now = plan_config(world, registry, host, secrets)
    other = [".".join(map(str, path)) for path, _, _ in differences(node.parsed(data).data, now.settings)]
    if other:
        raise RefusedError(
            f"{node.config_file} is not what the site says in {', '.join(other)}: more would change than is "
            "meant",
            hint=f"`regctl config diff {registry}` shows it; run `regctl config apply {registry}` first",
        )
    plan = plan_config(told(world, registry, host, version), registry, host, secrets)
    refuse_unfinished(plan)
    return data if body_of(data) == plan.body.encode() else plan.wanted


def is_generated(node: NodeDoors) -> bool:
    """Say whether another tool writes the node's file: then its own upgrade does what that file needs."""
    from ctl.steps.omnibus import is_generated as generated

    return generated(node.here.world, node.registry, node.host_name)


def changes_for(node: NodeDoors, data: bytes, version: Version) -> tuple[Change, ...]:
    """Say in words what a version makes of a node's settings."""
    upgrades = upgrades_of(node.engine)
    return upgrades.translate(node.parsed(data).data, version).changes if upgrades is not None else ()


def mistakes_for(node: NodeDoors, data: bytes, version: Version) -> Iterator[ConfigMistake]:
    """Yield what would keep a version from starting with these bytes."""
    parsed = node.parsed(data)
    yield from parsed.mistakes
    for mistake in node.engine.check_config(parsed.data, version):
        if mistake.fatal:
            yield mistake


def environment_for(node: NodeDoors, process: ProcessInfo | None, version: Version) -> Iterator[str]:
    """Say which variables of the node's environment speak in words that a version does not take."""
    upgrades = upgrades_of(node.engine)
    if upgrades is None:
        return
    found = dict(read_environment(node.host, node.node.environment_file))
    if process is not None:
        found |= serving.environment(node.host, process)
    for name, path in sorted(node.engine.overriding_environment(found).items()):
        setting: Any = found[name]
        for part in reversed(path.split(".")):
            setting = {part: setting}
        for change in upgrades.translate(setting, version).changes:
            if change.effect:
                yield f"{name} in its environment sets {path}, which {version} does not take: {change.what}"
                break


def version_of(world: World, registry: str, host: str, path: str) -> Version | None:
    """Ask a program on a host for its version; None where it is not there, or is no registry's."""
    engine, door = world.engine(registry), world.host(host)
    if door.stat(path) is None:
        return None
    try:
        result = door.run(engine.version_command(path))
        return engine.parse_version(result.stdout.decode(errors="replace"))
    except (ConfigError, RefusedError):
        return None
    except RegctlError as error:
        if error.outcome.value == "unreachable":
            raise
        return None


def running_version(world: World, registry: str, host: str, process: ProcessInfo | None) -> Version | None:
    """Ask the very file that a process executes, also where a package has replaced it meanwhile."""
    if process is None:
        return None
    said = version_of(world, registry, host, f"/proc/{process.pid}/exe")
    return said or version_of(world, registry, host, serving.loaded_binary(process) or "")


def same_release(one: Version | None, other: str) -> bool:
    """Say whether a version is the one meant, whatever a distributor added to it."""
    return one is not None and release_of(one) == release_of(Version(other))


def link_of(host: Host, path: str) -> str:
    """Return where a path leads as a symbolic link, in its own words; "" where it is none."""
    info = host.stat(path)
    if info is None or info.kind != "symlink":
        return ""
    return os.fsdecode(host.run(Command(("readlink", "--", path))).stdout).rstrip("\n")


def demand(host: Host, argv: tuple[str, ...], failure: str, timeout: timedelta | None = None) -> None:
    """Run a program to its end; RegctlError with its last words where it fails."""
    result = host.run(Command(argv, timeout=timeout))
    if result.timed_out or result.exit_code != 0:
        how = "took too long" if result.timed_out else f"ended with exit code {result.exit_code}"
        words = (result.stderr or result.stdout).decode(errors="replace").splitlines()[-5:]
        raise RegctlError(f"{failure}: {argv[0]} on {host.name} {how}", details=tuple(words))


def raw_binary(world: World, registry: str, node: Node) -> str:
    """Return the node's binary as the operator's own files say it, below what upgrades have remembered."""
    moved = world.registry(registry).upgraded.get(node.host)
    return moved.was if moved is not None and moved.binary == node.binary else node.binary
