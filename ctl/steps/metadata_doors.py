"""A registry's metadata database and the programs around it, for the steps and commands that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctl.engines.metadata import metadata_of
from ctl.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from ctl.database.base import Database
    from ctl.engines.metadata import MetadataPrograms
    from ctl.world import World


def programs(world: World, registry: str) -> MetadataPrograms:
    """Return the engine's programs for its metadata database; RefusedError where it has no such thing."""
    engine = world.engine(registry)
    found = metadata_of(engine)
    if found is None:
        raise RefusedError(
            f"the engine of {registry}, {engine.name}, has no metadata database",
            hint="only GitLab's registry (`engine: gitlab`) keeps its record in PostgreSQL; "
            "for distribution the catalog database is a copy that `regctl registry import` fills",
        )
    return found


def metadata_database(world: World, registry: str) -> Database:
    """Return the site's metadata database of a registry; nothing is connected yet.

    RefusedError where the engine has none, ConfigError where the site names none or an embedded one.
    """
    programs(world, registry)
    name = world.registry(registry).database
    if name is None:
        raise ConfigError(
            f"the site names no metadata database for the registry {registry}",
            hint=f"describe it under `databases:` and name it: registries.{registry}.database: NAME",
        )
    database = world.database(name)
    if database.embedded:
        raise ConfigError(
            f"databases.{name} is regctl's own embedded PostgreSQL, which no registry can log in to",
            hint=f"give registries.{registry}.database a database with host, dbname, user and password",
        )
    return database
