"""GitLab's registry for tests: the server, its database with an owner of its own, and a site over both."""

from __future__ import annotations

import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tests.support import programs
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest
from tests.support.waiting import clean_environment

# The program escapes a space in a way that its own driver does not undo (4.32, measured): no login works.
PASSWORD = "a-word-of-the-tests"
POOL = {"maxidle": 5, "maxopen": 5}  # without maxidle the program connects anew for every statement


def owned_database(server: PostgresServer, *, template: str = "template0") -> DatabaseAddress:
    """Create a role and a database that it owns, as an operator would; drop both with `drop_owned`."""
    address = server.create_database(template=template, prefix="gitlab")
    with closing(server.connect()) as connection:
        connection.execute(f"CREATE ROLE \"{address.name}\" LOGIN PASSWORD '{PASSWORD}'".encode())
        connection.execute(f'ALTER DATABASE "{address.name}" OWNER TO "{address.name}"'.encode())
    return DatabaseAddress(address.name, address.socket_folder, address.port, address.name, PASSWORD)


def drop_owned(server: PostgresServer, address: DatabaseAddress) -> None:
    """Drop a database of `owned_database` and its role."""
    server.drop_database(address.name)
    with closing(server.connect()) as connection:
        connection.execute(f'DROP ROLE IF EXISTS "{address.user}"'.encode())


_KINDS = {"v": "VIEW", "S": "SEQUENCE"}


def give_all(server: PostgresServer, address: DatabaseAddress) -> None:
    """Hand everything in a cloned database to its owner: the clone's tables are the superuser's."""
    with server.connect(address.name) as connection:
        rows = connection.execute(
            "SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'partitions')"
            " AND c.relkind IN ('r', 'p', 'v', 'S') AND pg_get_userbyid(c.relowner) <> %s"
            # a sequence that belongs to a column goes with its table
            " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')"
            " AND c.relkind = 'S') ORDER BY c.relkind = 'S'",
            (address.user,),
        ).fetchall()
        statements = [
            f'ALTER {_KINDS.get(kind, "TABLE")} "{schema}"."{name}" OWNER TO "{address.user}"'
            for schema, name, kind in rows
        ]
        functions = connection.execute(
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            " WHERE n.nspname = 'public'"
        ).fetchall()
        statements += [f'ALTER FUNCTION {name} OWNER TO "{address.user}"' for (name,) in functions]
        for schema in ("public", "partitions"):
            statements.append(f'ALTER SCHEMA "{schema}" OWNER TO "{address.user}"')
        with connection.transaction():
            for statement in statements:
                connection.execute(statement.encode())


@dataclass
class GitlabServer(RegistryServer):
    """One process of GitLab's registry. `database` is its metadata database, `enabled` its mode."""

    database: DatabaseAddress | None = None
    enabled: bool | str = False  # False | True | "prefer"

    def __post_init__(self) -> None:
        self.binary = self.binary or programs.gitlab_registry()
        super().__post_init__()

    def config(self) -> dict[str, Any]:
        """Return the configuration as a value; the overlay is laid over it."""
        config = super().config()
        config["log"] = {"level": "info", "formatter": "json", "accesslog": {"disabled": True}}
        if self.database is not None and "database" not in config:
            config["database"] = {
                "enabled": self.enabled,
                "host": "127.0.0.1",
                "port": self.database.port,
                "user": self.database.user,
                "password": self.database.password,
                "dbname": self.database.name,
                "sslmode": "disable",
                "pool": dict(POOL),
            }
        return config

    def run(
        self, *arguments: str, timeout: float = 120.0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the program itself on this server's configuration, as an operator without regctl would."""
        return subprocess.run(
            [self.binary, *arguments, str(self.write_config())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=timeout,
            cwd=self.folder,
            env=clean_environment(PGCONNECT_TIMEOUT="5", **environment),
        )

    def migrate(self) -> None:
        """Apply all migrations with the program itself (4 to 17 s: prefer a template database)."""
        done = self.run("database", "migrate", "up")
        assert done.returncode == 0, done.stderr
        assert "OK: applied" in done.stdout, done.stdout


@dataclass
class GitlabSite(SiteUnderTest):
    """A site over one node of GitLab's registry; its metadata database is called `gitlab` in the site."""

    engine: str = "gitlab"
    settings: dict[str, Any] = field(default_factory=dict)  # more keys of the registry, such as auto_migrate

    def description(self) -> dict[str, Any]:
        """The site as data."""
        site = super().description()
        registry = site["registries"]["main"]
        address = getattr(self.server, "database", None)
        if address is not None and "gitlab" not in site.get("databases", {}):
            password = self.folder / "db.password"
            password.write_text(address.password + "\n")
            password.chmod(0o600)
            site.setdefault("databases", {})["gitlab"] = {
                "host": "127.0.0.1",
                "port": address.port,
                "dbname": address.name,
                "user": address.user,
                "password": f"file:{password}",
                "sslmode": "disable",
            }
            registry["database"] = "gitlab"
        registry.update(self.settings)
        return site
