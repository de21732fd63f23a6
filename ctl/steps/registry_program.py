"""Call a registry's own program as its service runs it: same user, same environment. Fault 7 of the notes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.hosts.environment import read_environment

if TYPE_CHECKING:
    from ctl.hosts.base import Command, Result
    from ctl.recipes.model import Target
    from ctl.world import World

CONNECT_SECONDS = (
    10  # the program's own connect timeout counts only for `serve`: without this it waits for ever
)
APPLICATION_NAME = "regctl"  # finds our sessions in pg_stat_activity
DEFAULT_TIMEOUT = timedelta(minutes=10)


def program(
    world: World, registry: str, host: str, command: Command, timeout: timedelta | None = DEFAULT_TIMEOUT
) -> Command:
    """Return the call as the node's service would make it.

    The node's user and environment_file are applied, then the site's feature flags, then what the command
    itself needs. PGCONNECT_TIMEOUT (seconds) and PGAPPNAME are set so that no call waits for a silent host
    and our sessions can be told. A `timeout` in the command wins; None waits for ever, as a detached job
    must. ConfigError if the environment_file cannot be read.
    """
    node = world.node(registry, host)
    env = {
        "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
        **read_environment(world.host(host), node.environment_file),
        "PGAPPNAME": APPLICATION_NAME,
        **feature_environment(world, registry),
        **command.env,
    }
    return replace(command, env=env, user=node.user or command.user, timeout=command.timeout or timeout)


def run_program(
    here: Target, registry: str, host: str, command: Command, timeout: timedelta | None = DEFAULT_TIMEOUT
) -> Result:
    """Run it to the end. A non-zero exit is a Result, for the engine to explain."""
    return here.world.host(host).run(program(here.world, registry, host, command, timeout))


def feature_environment(world: World, registry: str) -> dict[str, str]:
    """Return the site's feature flags of a registry as the variables that its program reads."""
    flags = getattr(world.registry(registry), "features", None)
    name_them = getattr(world.engine(registry), "feature_environment", None)
    return dict(name_them(flags.model_dump())) if flags is not None and name_them is not None else {}
