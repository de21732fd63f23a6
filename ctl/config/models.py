"""The site as checked values. Names are fixed by the contract for scripts; see docs/reference/site.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """What every part of a site is: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Host(Model):
    """A machine: this one, or one reached over SSH."""

    connection: Literal["local", "ssh"] = "local"
    labels: dict[str, str] = Field(default_factory=dict)


class Database(Model):
    """A PostgreSQL database: embedded below state_dir, or somebody's by its address."""

    embedded: bool = False
    host: str | None = None
    port: int = 5432
    dbname: str | None = None
    user: str | None = None
    password: str | None = None  # a secret reference: env:NAME, file:/path or command:argv
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "verify-full"


class Credentials(Model):
    """What probes and the API use; absent means anonymous."""

    username: str
    password: str  # a secret reference


class FilesystemStorage(Model):
    """A registry's storage in a local directory."""

    rootdirectory: str


class Storage(Model):
    """Exactly one driver; `host` names the host that reads it, the first node's unless given."""

    filesystem: FilesystemStorage
    host: str | None = None


class Service(Model):
    """Who runs the registry's process."""

    kind: Literal["systemd", "process"] = "systemd"
    name: str


class Node(Model):
    """One running instance of a registry on a host."""

    host: str
    binary: str
    config_file: str  # what the service really loads
    url: str
    service: Service
    user: str | None = None
    environment_file: str | None = None


class Registry(Model):
    """A named registry."""

    engine: Literal["distribution"]
    database: str | None = None
    credentials: Credentials | None = None
    storage: Storage
    config: dict[str, Any] = Field(default_factory=dict)  # in the registry's own words, over the template
    nodes: Annotated[tuple[Node, ...], Field(min_length=1)]


class Site(Model):
    """All that one regctl governs."""

    version: Literal[1]
    state_dir: str = "/var/lib/regctl"
    control_database: str | None = None
    hosts: dict[str, Host]
    databases: dict[str, Database] = Field(default_factory=dict)
    registries: dict[str, Registry]
