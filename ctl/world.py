"""What a step can reach: the doors by name. `ctl.app` builds the real one, `ctl.testing` a fake one.

Everything is opened on first use, so a command pays only for what it touches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from packaging.version import Version

    from ctl.catalog.store import CatalogStore
    from ctl.config.models import Node, Registry, Site
    from ctl.config.pulp import PulpRegistry
    from ctl.database.base import Database
    from ctl.engines.base import Engine
    from ctl.hosts.base import Host
    from ctl.hosts.services import Service
    from ctl.hosts.ssh import SshShell
    from ctl.http import RegistryClient
    from ctl.http_pulp import PulpClient
    from ctl.secret import Secret
    from ctl.storage.base import Storage


class World(Protocol):
    """The site and its doors."""

    @property
    def site(self) -> Site:
        """The site's description."""
        ...

    @property
    def state_dir(self) -> str:
        """The controller's folder for journals, locks, plans and the embedded database."""
        ...

    def described(self, site: Site) -> World:
        """Return the doors of the same hosts for a site that is described otherwise."""
        ...

    def registry(self, name: str) -> Registry:
        """Return a registry's description; UsageError names the ones there are."""
        ...

    def pulp(self, name: str) -> PulpRegistry:
        """Return a Pulp's description; UsageError names the ones there are."""
        ...

    def pulp_client(self, pulp: str, host: str) -> PulpClient:
        """Return a client for the API of a Pulp's node; ConfigError where the site says no `url`."""
        ...

    def node(self, registry: str, host: str) -> Node:
        """Return the description of a registry's node on a host."""
        ...

    def host(self, name: str) -> Host:
        """Open a host."""
        ...

    def ssh(self, name: str) -> SshShell:
        """Return the connection to a host that is reached over SSH; nothing is opened yet."""
        ...

    def engine(self, registry: str) -> Engine:
        """Return the engine of a registry: pure, knows commands, schema, features and parsers."""
        ...

    def service(self, registry: str, host: str) -> Service:
        """Return the service that runs a node."""
        ...

    def client(self, registry: str, host: str) -> RegistryClient:
        """Return an HTTP client for a node."""
        ...

    def storage(self, registry: str) -> Storage:
        """Open a registry's storage."""
        ...

    def database(self, name: str) -> Database:
        """Return a database by its name in the site; nothing is connected or started yet."""
        ...

    def catalog(self, registry: str) -> CatalogStore:
        """Return the catalog database of a registry; ConfigError if the site names none."""
        ...

    def resolve_secret(self, reference: str) -> Secret:
        """Fetch what a secret reference of the site points to; ConfigError says what stands in the way."""
        ...

    def resources(self, kind: str) -> tuple[str, ...]:
        """Return the folders of a kind ("templates") that installed plugins add to what ships."""
        ...

    def version(self, registry: str, host: str) -> Version:
        """Ask a node's binary for its version."""
        ...
