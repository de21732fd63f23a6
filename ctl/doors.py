"""The real World: each door of the site, opened when something first reaches for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from difflib import get_close_matches
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from ctl.errors import CommandFailedError, ConfigError, UsageError
from ctl.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

    from ctl.catalog.store import CatalogStore
    from ctl.config.models import Node, Registry, Site, StorageChoice
    from ctl.config.pulp import PulpRegistry
    from ctl.database.base import Database, ProgramResult
    from ctl.engines.base import Engine
    from ctl.hosts.base import Command, Host
    from ctl.hosts.posix import PosixHost
    from ctl.hosts.services import Service
    from ctl.hosts.ssh import SshShell
    from ctl.http import RegistryClient
    from ctl.http_pulp import PulpClient
    from ctl.plugins import Plugins
    from ctl.storage.base import Storage

Made = TypeVar("Made")
SECRET_PROGRAM_TIMEOUT = timedelta(seconds=30)
FAR_STATE_DIR = "/var/lib/regctl"  # of a host reached over SSH


class Doors:
    """The site and its doors. Everything is opened once, on first use, and closed together."""

    def __init__(self, site: Site, state_dir: str, plugins: Plugins, stack: ExitStack) -> None:
        self.site = site
        self.state_dir = state_dir
        self._plugins = plugins
        self._stack = stack
        self._mutex = Lock()
        self._locks: dict[tuple[str, ...], Lock] = {}
        self._opened: dict[tuple[str, ...], Any] = {}
        self.secrets: set[str] = set()  # every secret text that was fetched, to be blotted out of messages

    def described(self, site: Site) -> Doors:
        """Return the doors of the same hosts for a site that is described otherwise."""
        for name in site.hosts:
            self.host(name)  # opens no connection yet, and is shared from here on
        other = Doors(site, self.state_dir, self._plugins, self._stack)
        shared = {key: made for key, made in self._opened.items() if key[0] in ("host", "ssh", "engine")}
        other._opened.update(shared)
        other.secrets = self.secrets
        return other

    def registry(self, name: str) -> Registry:
        """Return a registry's description; UsageError names the ones there are."""
        if name in self.site.pulps:
            raise UsageError(
                f"{name} is a Pulp: it has no configuration, storage or collector that regctl drives",
                hint="for it there are: regctl content, database migrate --registry, upgrade plan, status",
            )
        found: Registry = _pick("registry", name, self.site.registries)
        return found

    def pulp(self, name: str) -> PulpRegistry:
        """Return a Pulp's description; UsageError names the ones there are."""
        found: PulpRegistry = _pick("Pulp", name, self.site.pulps)
        return found

    def pulp_client(self, pulp: str, host: str) -> PulpClient:
        """Return a client for the API of a Pulp's node; ConfigError where the site says no `url`."""
        from ctl.http_pulp import PulpClient

        nodes = {node.host: node for node in self.pulp(pulp).nodes}
        url = _pick(f"node of {pulp} on the host", host, nodes).url
        if url is None:
            raise ConfigError(f"the site says no `url` for {pulp} on {host}")
        return self._once(("pulp-client", pulp, host), lambda: PulpClient(url))

    def node(self, registry: str, host: str) -> Node:
        """Return the description of a registry's node on a host."""
        nodes = {node.host: node for node in self.registry(registry).nodes}
        found: Node = _pick(f"node of {registry} on the host", host, nodes)
        return found

    def host(self, name: str) -> Host:
        """Open a host."""
        described = _pick("host", name, self.site.hosts)
        if described.connection == "local":
            return self._once(("host", name), lambda: self._local_host(name))
        return self._far_door(name)

    def ssh(self, name: str) -> SshShell:
        """Return the connection to a host; nothing is opened yet."""
        return self._once(("ssh", name), lambda: self._ssh(name))

    def engine(self, registry: str) -> Engine:
        """Return the engine of a registry."""
        kind = self.registry(registry).engine
        engine: Engine = self._once(("engine", kind), lambda: self._plugins.find("engine", kind)())
        return engine

    def service(self, registry: str, host: str) -> Service:
        """Return the service that runs a node."""
        from ctl.hosts.services import open_service

        node = self.node(registry, host)
        door = self.host(host)
        return self._once(
            ("service", registry, host),
            lambda: open_service(
                door, registry, node, lambda: self._serve(registry, host), self._folder(host)
            ),
        )

    def client(self, registry: str, host: str) -> RegistryClient:
        """Return an HTTP client for a node."""
        return self._once(("client", registry, host), lambda: self._client(registry, host))

    def storage(self, registry: str) -> Storage:
        """Open a registry's storage."""
        described = self.registry(registry)
        reader = described.storage.host or described.nodes[0].host
        _pick("host", reader, self.site.hosts)
        make = self._storage if self.site.hosts[reader].connection == "local" else self._far_storage
        return self._once(("storage", registry), lambda: make(described.storage, reader))

    def database(self, name: str) -> Database:
        """Return a database by its name in the site; nothing is connected or started yet."""
        from ctl.database import open_database

        described = _pick("database", name, self.site.databases)
        return self._once(
            ("database", name),
            lambda: open_database(
                name,
                described,
                state_dir=self.state_dir,
                run=self._run_program,
                resolve_secret=self.resolve_secret,
            ),
        )

    def catalog(self, registry: str) -> CatalogStore:
        """Return the catalog database of a registry; ConfigError if the site names none."""
        from ctl.catalog.store import CatalogStore

        name = self.registry(registry).database
        if name is None:
            raise ConfigError(
                f"the site names no database for the registry {registry}",
                hint=f"add `database: NAME` to registries.{registry}, one of {_list(self.site.databases)}",
            )
        database = self.database(name)
        return self._once(("catalog", registry), lambda: CatalogStore(database, registry))

    def resources(self, kind: str) -> tuple[str, ...]:
        """Return the folders of a kind ("templates") that installed plugins add to what ships."""
        return self._plugins.folders(kind)

    def version(self, registry: str, host: str) -> Version:
        """Ask a node's binary for its version; CommandFailedError if it does not tell."""
        node = self.node(registry, host)
        engine = self.engine(registry)
        result = self.host(host).run(engine.version_command(node.binary))
        if result.exit_code != 0:
            raise CommandFailedError(
                f"{node.binary} on {host} does not tell its version (exit code {result.exit_code})",
                details=_last_lines(result.stderr or result.stdout),
                hint=f"is `binary` of {registry} a registry's program?",
            )
        return engine.parse_version(result.stdout.decode(errors="replace"))

    def resolve_secret(self, reference: str) -> Secret:
        """Fetch what a secret reference points to; never logged, and blotted out of every message."""
        from ctl.config.secrets import resolve_secret

        secret = resolve_secret(reference, self._secret_program)
        self.secrets.add(secret.reveal())
        return secret

    def _once(self, key: tuple[str, ...], make: Callable[[], Made]) -> Made:
        # A lock for each thing: `status` looks at all at once, and one that hangs must hold up no other.
        with self._mutex:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            if key not in self._opened:
                made = make()
                self._opened[key] = made
                close = getattr(made, "close", None)
                if callable(close):
                    self._stack.callback(close)
            found: Made = self._opened[key]
            return found

    def _local_host(self, name: str) -> Host:
        from ctl.hosts.local import LocalHost

        return LocalHost(name, os.path.join(self.state_dir, "jobs"))

    def _far_door(self, name: str) -> PosixHost:
        return self._once(("host", name), lambda: self._far_host(name))

    def _far_host(self, name: str) -> PosixHost:
        from ctl.hosts.posix import PosixHost

        return PosixHost(
            name, self.ssh(name), f"{self._folder(name)}/jobs", self.site.hosts[name].become or ""
        )

    def _folder(self, host: str) -> str:
        """Return the folder of ours on a host."""
        described = self.site.hosts[host]
        return self.state_dir if described.connection == "local" else described.state_dir or FAR_STATE_DIR

    def _storage(self, described: StorageChoice, _reader: str) -> Storage:
        settings = getattr(described, described.driver).model_dump()
        storage: Storage = self._plugins.find("storage driver", described.driver)(**settings)
        return storage

    def _far_storage(self, described: StorageChoice, reader: str) -> Storage:
        """Open a tree on another host: read by one stream over that host's door."""
        from ctl.storage.far import FarStorage

        if described.driver != "filesystem":
            raise UsageError(
                f"storage by the driver {described.driver} cannot be read through {reader}",
                hint="name a host with `connection: local` as storage.host: this machine reads it then",
            )
        directory: str = getattr(described, described.driver).rootdirectory
        return FarStorage(directory, reader, self._far_door(reader).open_stream)

    def _ssh(self, name: str) -> SshShell:
        from ctl.hosts.known_hosts import way_of
        from ctl.hosts.ssh import SshShell

        described = _pick("host", name, self.site.hosts)
        jump, jump_name = None, described.jump
        if jump_name is not None:
            jump = self._once(("ssh", described.jump), lambda: self._ssh(jump_name))
        return SshShell(way_of(name, described), jump)

    def _serve(self, registry: str, host: str) -> Command:
        from ctl.steps.registry_program import feature_environment

        node = self.node(registry, host)
        version = self.version(registry, host)
        command = self.engine(registry).serve_command(node.binary, node.config_file, version)
        return replace(command, env={**command.env, **feature_environment(self, registry)})

    def _client(self, registry: str, host: str) -> RegistryClient:
        from ctl.http import RegistryClient

        node = self.node(registry, host)
        credentials = self.registry(registry).credentials
        if credentials is None:
            return RegistryClient(node.url, None, None)
        password = self.resolve_secret(credentials.password)
        return RegistryClient(node.url, credentials.username, password)

    def _controller(self) -> Host:
        """Return this machine's door, for what runs where regctl runs."""
        for name, described in self.site.hosts.items():
            if described.connection == "local":
                return self.host(name)
        return self._once(("host", ""), lambda: self._local_host("localhost"))

    def _run_program(self, argv: tuple[str, ...], user: str | None, seconds: float) -> ProgramResult:
        from ctl.database.base import ProgramResult
        from ctl.hosts.base import Command

        command = Command(argv, user=user, timeout=timedelta(seconds=seconds))
        result = self._controller().run(command)
        output = (result.stdout + result.stderr).decode(errors="replace")
        return ProgramResult(result.exit_code, output)

    def _secret_program(self, argv: tuple[str, ...]) -> bytes:
        from ctl.hosts.base import Command

        result = self._controller().run(Command(argv, timeout=SECRET_PROGRAM_TIMEOUT))
        if result.exit_code != 0 or result.timed_out:
            how = "took too long" if result.timed_out else f"ended with exit code {result.exit_code}"
            raise ConfigError(
                f"the program {argv[0]}, which is to print a secret, {how}",
                hint="run it by hand as the same user; its output is not shown here",
            )
        return result.stdout


def _pick(kind: str, name: str, known: Any) -> Any:
    if name in known:
        return known[name]
    near = get_close_matches(name, list(known), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the site has {_list(known)}"
    raise UsageError(f"the site has no {kind} {name!r}", hint=hint)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _last_lines(output: bytes, count: int = 5) -> tuple[str, ...]:
    return tuple(output.decode(errors="replace").splitlines()[-count:])
