"""What one part of a site says about another, checked on bare values, so that every mistake shows at once.

The shapes may still be wrong here (the models say so elsewhere); what has not the right shape is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ctl.config.document import Path
from ctl.config.mistakes import did_you_mean
from ctl.config.models import INLINE_SECRET
from ctl.config.secrets import inline_secrets

Wrong = tuple[Path, str]
_OTHER_DRIVERS = frozenset(
    {"filesystem", "inmemory", "azure", "gcs", "s3", "s3aws", "s3goamazon", "swift", "oss"}
)
_SSH_ONLY = (
    "address",
    "port",
    "user",
    "become",
    "identity_file",
    "known_hosts_file",
    "jump",
    "connect_timeout",
    "idle_timeout",
    "state_dir",
)
_EXTERNAL_ONLY = ("host", "port", "dbname", "user", "password", "sslmode", "sslrootcert")


def cross_check(site: Mapping[str, Any]) -> Iterator[Wrong]:
    """Yield (path, what is wrong) for everything that no single value shows."""
    hosts, databases = _mapping(site.get("hosts")), _mapping(site.get("databases"))
    yield from _one_of(("control_database",), site.get("control_database"), databases, "database")
    for name, host in hosts.items():
        yield from _host(("hosts", name), _mapping(host))
        yield from _jumps(str(name), hosts)
    for name, database in databases.items():
        yield from _database(("databases", name), _mapping(database))
    for name, registry in _mapping(site.get("registries")).items():
        yield from _registry(("registries", name), _mapping(registry), hosts, databases)
    yield from _shared_places(_mapping(site.get("registries")))
    yield from _timers(("maintenance",), site, hosts)


def _registry(
    path: Path, registry: Mapping[str, Any], hosts: Mapping[str, Any], databases: Mapping[str, Any]
) -> Iterator[Wrong]:
    yield from _one_of((*path, "database"), registry.get("database"), databases, "database")
    yield from _own_database((*path, "database"), registry, databases)
    storage = _mapping(registry.get("storage"))
    yield from _one_of((*path, "storage", "host"), storage.get("host"), hosts, "host")
    nodes = registry.get("nodes")
    seen: dict[str, int] = {}
    for index, node in enumerate(nodes if isinstance(nodes, list) else []):
        host = _mapping(node).get("host")
        here = (*path, "nodes", index, "host")
        yield from _one_of(here, host, hosts, "host")
        if isinstance(host, str) and host in seen:
            yield here, f"is the host of nodes[{seen[host]}] too: a registry has one node on a host"
        elif isinstance(host, str):
            seen[host] = index
        drain = _mapping(_mapping(node).get("drain")).get("host")
        yield from _one_of((*path, "nodes", index, "drain", "host"), drain, hosts, "host")
    yield from _timers((*path, "maintenance"), registry, hosts)
    yield from _storage_twice((*path, "config", "storage"), storage, _mapping(registry.get("config")))
    for below in inline_secrets(_mapping(registry.get("config"))):
        yield (*path, "config", *below), INLINE_SECRET


def _timers(path: Path, above: Mapping[str, Any], hosts: Mapping[str, Any]) -> Iterator[Wrong]:
    """What maintenance pauses stands on a host of the site, and is named once."""
    timers = _mapping(above.get("maintenance")).get("timers")
    seen: dict[tuple[str, ...], int] = {}
    for index, timer in enumerate(timers if isinstance(timers, list) else []):
        values, here = _mapping(timer), (*path, "timers", index)
        yield from _one_of((*here, "host"), values.get("host"), hosts, "host")
        name = tuple(str(values.get(key)) for key in ("host", "kind", "unit", "path", "name"))
        if seen.setdefault(name, index) != index:
            yield here, f"is timers[{seen[name]}] too: name it once"


def _own_database(path: Path, registry: Mapping[str, Any], databases: Mapping[str, Any]) -> Iterator[Wrong]:
    """GitLab's registry logs in to its database by itself: regctl's private one has no door for it."""
    name = registry.get("database")
    found = _mapping(databases.get(name)) if isinstance(name, str) else {}
    if registry.get("engine") == "gitlab" and found.get("embedded") is True:
        yield path, f"names {name}, which is embedded: GitLab's registry cannot log in to it"


def _storage_twice(path: Path, storage: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Wrong]:
    """Where the images are is said once, under storage; config may add other settings of that driver."""
    for driver, settings in _mapping(config.get("storage")).items():
        if driver in storage and "rootdirectory" in _mapping(settings):
            yield (*path, driver, "rootdirectory"), f"stands under storage: {driver}: already; say it once"
        if driver in _OTHER_DRIVERS - storage.keys():
            yield (*path, driver), "is a storage driver: it belongs under storage, beside config"


def _host(path: Path, host: Mapping[str, Any]) -> Iterator[Wrong]:
    if host.get("connection") == "ssh":
        if "address" not in host:
            yield (*path, "address"), "is missing: a host reached over SSH needs it"
        return
    for key in _SSH_ONLY:
        if key in host:
            yield (*path, key), "is only for a host with connection: ssh"


def _jumps(name: str, hosts: Mapping[str, Any]) -> Iterator[Wrong]:
    """A connection goes through hosts that are reached over SSH themselves, and never in a circle."""
    path, passed, here = ("hosts", name, "jump"), [name], _mapping(hosts[name]).get("jump")
    yield from _one_of(path, here, hosts, "host")
    while isinstance(here, str) and here in hosts:
        if here in passed:
            yield path, f"leads round in a circle: {' -> '.join((*passed, here))}"
            return
        if len(passed) == 1 and _mapping(hosts[here]).get("connection") != "ssh":
            yield path, f"names {here}, which is not reached over SSH: there is nothing to jump through"
        passed.append(here)
        here = _mapping(hosts[here]).get("jump")


def _database(path: Path, database: Mapping[str, Any]) -> Iterator[Wrong]:
    if database.get("embedded") is True:
        for key in _EXTERNAL_ONLY:
            if key in database:
                yield (
                    (*path, key),
                    "is only for a database that is not embedded: remove it, or embedded: true",
                )
        return
    if "host" not in database and "dbname" not in database:
        yield path, "must say either embedded: true, or host, dbname and user"
        return
    for key in ("host", "dbname", "user"):
        if key not in database:
            yield (*path, key), "is missing: a database that is not embedded needs it"


def _shared_places(registries: Mapping[str, Any]) -> Iterator[Wrong]:
    """Two nodes on one host with the same config file or address: one of them is a slip of the pen."""
    seen: dict[tuple[str, str, str], str] = {}
    for name, registry in registries.items():
        nodes = _mapping(registry).get("nodes")
        for index, node in enumerate(nodes if isinstance(nodes, list) else []):
            values = _mapping(node)
            for key in ("config_file", "url"):
                place = (str(values.get("host")), key, str(values.get(key)))
                if key in values and seen.setdefault(place, name) != name:
                    path = ("registries", name, "nodes", index, key)
                    yield path, f"is what registry {seen[place]} uses on the same host"


def _one_of(path: Path, name: Any, known: Mapping[str, Any], kind: str) -> Iterator[Wrong]:
    if isinstance(name, str) and name not in known:
        none = "" if known else f"; the site has no {kind}s"
        yield path, f"names a {kind} {name!r} that is not in the site{did_you_mean(name, list(known))}{none}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
