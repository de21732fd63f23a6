"""A registry's own database: from the site to the registry's words, and back. Pure; holds no secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ctl.errors import ConfigError

if TYPE_CHECKING:
    from ctl.config.models import Database, Registry

PASSWORD = ("database", "password")  # where a registry's file holds it
# the least that tells where a database is; the rest has a value of its own in the site
_NEEDED = ("host", "dbname", "user")


def connection(databases: Mapping[str, Database], name: str, registry: Registry) -> dict[str, Any]:
    """Return the `database` settings by which a registry logs in, {} where it has no database of its own.

    `name` is the registry's. ConfigError if the site gives it the embedded one.
    """
    if not registry.own_database or registry.database is None:
        return {}
    found = databases[registry.database]
    if found.embedded:
        raise ConfigError(
            f"registries.{name}.database is {registry.database}, regctl's own embedded PostgreSQL: "
            "no registry can log in to it",
            hint="describe the registry's database under `databases:` by host, dbname, user and password",
        )
    settings: dict[str, Any] = {
        "host": found.host,
        "port": found.port,
        "user": found.user,
        "password": found.password,
        "dbname": found.dbname,
        "sslmode": found.sslmode,
        "sslrootcert": found.sslrootcert,
    }
    return {key: value for key, value in settings.items() if value is not None}


def described(section: Mapping[str, Any], password: str) -> dict[str, Any] | None:
    """Return the site's words for the database that a registry's file names; None where it names none.

    `password` is the reference to where it has been moved. What the file leaves out is said as the program
    takes it: port 5432, sslmode prefer.
    """
    if not all(isinstance(section.get(key), str) and section.get(key) for key in _NEEDED):
        return None
    database: dict[str, Any] = {key: section[key] for key in _NEEDED}
    port = section.get("port")
    database["port"] = port if isinstance(port, int) and port else 5432
    if section.get("password"):
        database["password"] = password
    database["sslmode"] = section.get("sslmode") or "prefer"
    root = section.get("sslrootcert")
    if isinstance(root, str) and root.startswith("/"):
        database["sslrootcert"] = root
    return database
