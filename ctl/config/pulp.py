"""What a site says about a Pulp: a server and its content proxies, each run by its own manager and settings.

It stands under `registries:` like every other registry, and is kept apart once it is read: a Pulp has no
configuration that regctl writes, no storage that it reads and no collector that it runs.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ctl.config.fields import AbsolutePath, Argv, Model, Name, NonEmpty, Url, wrong
from ctl.config.models import Credentials, Maintenance


class PulpService(Model):
    """A service of a node."""

    kind: Literal["systemd", "runit"] = "systemd"
    name: NonEmpty


class PulpNode(Model):
    """One Pulp on a host: the server, or a content proxy with a copy of its content."""

    host: Name
    role: Literal["server", "proxy"]
    manager: AbsolutePath  # pulpcore-manager
    settings_file: AbsolutePath  # what PULP_SETTINGS names
    user: NonEmpty = "pulp"  # whom Pulp's services run as
    url: Url | None = None  # where its API answers, as seen from the controller
    services: Annotated[tuple[PulpService, ...], Field(strict=False)] = ()  # in the order they start in
    database_service: PulpService | None = None  # PostgreSQL, where it runs on this host
    reindex: Argv | None = None  # of the server: what tells Katello of the new fields, run on its host
    reindex_user: NonEmpty | None = None  # absent: as the site says for the host

    @model_validator(mode="after")
    def _only_the_server(self) -> PulpNode:
        if self.reindex is not None and self.role != "server":
            raise wrong("has a reindex, which is for role: server: a proxy has no Katello")
        return self


class ContentWork(Model):
    """What preparing content is worth, and how gently it is done unless the command line says otherwise."""

    worth_minutes: Annotated[float, Field(ge=0, strict=False)] = 30.0  # of saved downtime; below: not needed
    chunk: Annotated[int, Field(ge=1, le=1000)] = 200  # manifests in one transaction
    patience_seconds: Annotated[int, Field(ge=0, le=3600)] = 120  # that PostgreSQL may stay away
    keep_folder: AbsolutePath | None = None  # for the copies of rows; absent: below Pulp's own folder


class PulpRegistry(Model):
    """A Pulp with the container plugin: its server and its content proxies."""

    engine: Literal["pulp"]
    credentials: Credentials | None = None  # for its API
    maintenance: Maintenance = Maintenance()  # what rests meanwhile: cleanups of orphans, package updates
    content: ContentWork = ContentWork()
    nodes: Annotated[tuple[PulpNode, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _one_server(self) -> PulpRegistry:
        servers = [node.host for node in self.nodes if node.role == "server"]
        if len(servers) > 1:
            raise wrong(
                f"has {len(servers)} nodes with role: server ({', '.join(servers)}); one is the server"
            )
        return self
