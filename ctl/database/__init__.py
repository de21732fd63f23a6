"""The database door: the only importer of psycopg."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctl.config.models import Database as DatabaseConfig
    from ctl.database.base import Database, RunProgram
    from ctl.secret import Secret


def open_database(
    name: str,
    config: DatabaseConfig,
    *,
    state_dir: str,
    run: RunProgram,
    resolve_secret: Callable[[str], Secret],
) -> Database:
    """Return a database of the site by its description; nothing is connected, started or read yet.

    `run` runs PostgreSQL's own programs (embedded only); it comes in from outside because doors do not
    import each other. `resolve_secret` turns a reference such as "file:/path" into the password when a
    connection needs it. ConfigError if the description names no database.
    """
    if config.embedded:
        from ctl.database.embedded import EmbeddedDatabase

        return EmbeddedDatabase(name, state_dir, run)
    from ctl.database.external import ExternalDatabase
    from ctl.errors import ConfigError

    missing = [key for key in ("host", "dbname", "user") if not getattr(config, key)]
    if missing:
        raise ConfigError(
            f"databases.{name} says nothing of {', '.join(missing)}",
            hint="an external database has host, dbname and user; one of regctl's own has `embedded: true`",
        )
    reference = config.password
    return ExternalDatabase(
        name,
        host=config.host or "",
        port=config.port,
        dbname=config.dbname or "",
        user=config.user or "",
        sslmode=config.sslmode,
        sslrootcert=config.sslrootcert or "",
        password=lambda: resolve_secret(reference) if reference else None,
    )
