"""What a node's environment does to its configuration: overriding variables, feature flags. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ctl.errors import ConfigError
from ctl.hosts import serving
from ctl.hosts.environment import read_environment
from ctl.steps.registry_program import feature_environment

if TYPE_CHECKING:
    from ctl.engines.base import ConfigMistake
    from ctl.world import World


def service_environment(world: World, registry: str, host: str) -> dict[str, str]:
    """Return the environment that a node's service starts with, as far as is known; else ConfigError.

    A process that regctl starts gets the site's feature flags; a systemd unit gets what its file says.
    """
    node = world.node(registry, host)
    found = read_environment(world.host(host), node.environment_file)
    if node.service.kind == "process":
        found |= feature_environment(world, registry)
    return found


def wrong_flags(world: World, registry: str, host: str) -> dict[str, str]:
    """Return {variable: value} of the site's feature flags that the node's service would not start with."""
    try:
        found = service_environment(world, registry, host)
    except ConfigError:
        found = {}
    wanted = feature_environment(world, registry)
    return {name: value for name, value in wanted.items() if found.get(name) != value}


def mistakes(
    world: World, registry: str, host: str, settings: Mapping[str, object]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield (path, message, hint, severity) of everything that the environment makes wrong."""
    node, engine = world.node(registry, host), world.engine(registry)
    try:
        environment = service_environment(world, registry, host)
    except ConfigError as error:
        yield "", error.message, error.hint, "error"
        environment = {}
    for name in sorted(engine.overriding_environment(environment)):
        hint = "say it in the file instead, so that what is checked is what is used"
        yield "", f"{name} in {node.environment_file} overrides the file", hint, "warning"
    process = world.service(registry, host).state().process
    live = serving.environment(world.host(host), process) if process is not None else {}
    flags = {name: value for name, value in live.items() if name.startswith("REGISTRY_FF_")}
    for wrong in _judge(world, registry, settings, {**flags, **environment}):
        yield wrong.path, wrong.message, wrong.hint, wrong.severity
    yield from _flags(world, registry, host)


def judged(world: World, registry: str, host: str, settings: Mapping[str, object]) -> Iterator[ConfigMistake]:
    """Yield what would be wrong with settings only together with the environment that they are read with.

    The site's flags count as set: `config apply` writes them where the service reads them.
    """
    try:
        environment = service_environment(world, registry, host)
    except ConfigError:
        environment = {}
    yield from _judge(world, registry, settings, {**environment, **feature_environment(world, registry)})


def _judge(
    world: World, registry: str, settings: Mapping[str, object], environment: Mapping[str, str]
) -> Iterator[ConfigMistake]:
    judge = getattr(world.engine(registry), "check_environment", None)
    if judge is not None:
        yield from judge(settings, environment)


def _flags(world: World, registry: str, host: str) -> Iterator[tuple[str, str, str, str]]:
    """Compare the flags that the service would get, and those that its process has, with the site's."""
    node, wanted = world.node(registry, host), feature_environment(world, registry)
    process = world.service(registry, host).state().process
    live = serving.environment(world.host(host), process) if process is not None else {}
    other = [name for name, value in wanted.items() if live and live.get(name) != value]
    missing = wrong_flags(world, registry, host)
    if node.environment_file is None and live and not other:
        return  # where the service has them from is not ours to know
    if missing:
        shown = ", ".join(f"{name}={value}" for name, value in missing.items())
        where = node.environment_file or "its service's environment"
        hint = f"`regctl config apply {registry}` says them there"
        if not node.environment_file:
            hint = (
                "name the unit's EnvironmentFile as `environment_file` of the node: regctl writes them there"
            )
        yield "", f"feature flags are not said outright: {where} lacks {shown}", hint, "warning"
    if process is None:
        return
    if other and not missing:
        message = f"process {process.pid} was started with other feature flags: {', '.join(other)}"
        yield "", message, f"`regctl service restart {registry}` starts it with the site's", "warning"
