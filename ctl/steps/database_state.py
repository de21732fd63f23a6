"""What the database steps and commands ask before they do anything; only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctl.database.migrations import Migration, MigrationState, load_migrations, read_state

if TYPE_CHECKING:
    from ctl.config.models import Site
    from ctl.world import World

MIGRATIONS = "ctl.catalog.migrations"  # the package folder whose files a catalog database is migrated by


def shipped() -> tuple[Migration, ...]:
    """Return the migrations of this regctl, in order."""
    return load_migrations(MIGRATIONS)


def own_databases(site: Site) -> tuple[str, ...]:
    """Return the databases that are regctl's: embedded, control database, or a catalog's. Site order.

    An engine's own metadata database is not among them: regctl creates nothing in it.
    """
    used = {r.database for r in site.registries.values() if r.engine == "distribution"}
    used.add(site.control_database)
    return tuple(name for name, one in site.databases.items() if one.embedded or name in used)


def look(world: World, name: str) -> MigrationState | None:
    """Return the state of a database's migrations; None for an embedded one that is stopped.

    One that was never created has nothing applied. Raises UnreachableError for an external one that does
    not answer.
    """
    database = world.database(name)
    migrations = shipped()
    if database.embedded:
        state = database.status().state
        if state == "missing":
            return MigrationState((), migrations)
        if state == "stopped":
            return None
    with database.connect(read_only=True) as session:
        return read_state(session, migrations)
