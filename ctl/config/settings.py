"""A registry's settings as data: defaults, what the site says, and back from a file that stands. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ctl.config.document import Path
from ctl.config.words import same
from ctl.errors import ConfigError

if TYPE_CHECKING:
    from ctl.config.models import Node, Registry

Settings = Mapping[str, Any]
# Every managed file has these, whatever the file before it had: without a drain timeout a stop cuts uploads,
# and without a secret each process makes its own, which breaks uploads behind a balancer.
ALWAYS: tuple[Path, ...] = (("http", "draintimeout"), ("http", "secret"))
# and every one that names a database of the registry's own: without them each statement is a connection
POOL: tuple[Path, ...] = (("database", "pool", "maxidle"), ("database", "pool", "maxopen"))


def compose(
    registry: Registry,
    node: Node,
    defaults: Settings,
    secret_reference: str,
    connection: Settings | None = None,
) -> dict[str, Any]:
    """Return the settings that a registry's file must say; secrets are still references.

    `config` of the site lies over the template's defaults, and null in it takes a default away. The storage
    is the site's, and so is `connection`, the login to the registry's own database. ConfigError if no address
    to listen on can be told.
    """
    laid_over = overlay(_base(registry, node, defaults, connection), registry.config)
    settings = overlay(laid_over, {"storage": _storage(registry)})
    settings.setdefault("version", defaults["version"])
    http = dict(settings.get("http") or {})
    for (_, key), value in zip(ALWAYS, (defaults["http"]["draintimeout"], secret_reference), strict=True):
        if not http.get(key):
            http[key] = value
    settings["http"] = http
    _set_pool(settings, defaults)
    if not http.get("addr"):
        http["addr"] = listen_address(node.url)
    if not http["addr"]:
        raise ConfigError(
            f"where the registry listens cannot be told from {node.url}",
            hint='say it in the site: config: {http: {addr: ":5000"}}',
        )
    return settings


def config_for(
    registry: Registry,
    node: Node,
    defaults: Settings,
    found: Settings,
    connection: Settings | None = None,
) -> dict[str, Any]:
    """Return what to lay over `config` so that the rendered file means what `found` means."""
    wanted = _without_empty(found)
    _set_pool(wanted, defaults)
    config = _difference(_base(registry, node, defaults, connection), wanted)
    _outdo(registry.config, config, wanted)
    http = config.get("http")
    if isinstance(http, dict):
        for _, key in ALWAYS:
            if http.get(key, "") is None:
                del http[key]
        if not http:
            del config["http"]
    return config


def _set_pool(settings: dict[str, Any], defaults: Settings) -> None:
    """Give a `database` section its pool where nothing says one."""
    database, given = settings.get("database"), defaults.get("database")
    if not isinstance(database, Mapping) or not isinstance(given, Mapping):
        return
    pool = dict(database.get("pool") or {})
    for *_, key in POOL:
        if pool.get(str(key)) is None:
            pool[str(key)] = given["pool"][key]
    settings["database"] = {**database, "pool": pool}


def meaning(settings: Settings) -> dict[str, Any]:
    """Return settings in the form in which two files can be compared: empty sections are one thing."""
    return _without_empty(settings)


def differences(before: Settings, after: Settings) -> Iterator[tuple[Path, Any, Any]]:
    """Yield (path, before, after) wherever two files mean something else; a missing value is None."""
    yield from _differences(_without_empty(before), _without_empty(after), ())


def is_contained(before: Settings, after: Settings) -> bool:
    """Say whether `after` says all that `before` says and adds at most what every managed file has."""
    return all(path in (*ALWAYS, *POOL) and old is None for path, old, _ in differences(before, after))


def listen_address(url: str) -> str:
    """Return http.addr for a url on this machine; "" where its host is a name, which may be anybody's."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if host == "localhost":
        host = "127.0.0.1"
    if not host.replace(".", "").isdigit() and ":" not in host:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _base(
    registry: Registry, node: Node, defaults: Settings, connection: Settings | None = None
) -> dict[str, Any]:
    address = listen_address(node.url)
    site: dict[str, Any] = {"database": connection} if connection else {}
    site |= {"storage": _storage(registry), **({"http": {"addr": address}} if address else {})}
    return overlay(defaults, site)


def _storage(registry: Registry) -> dict[str, Any]:
    driver = registry.storage.driver
    return {driver: getattr(registry.storage, driver).model_dump()}


def overlay(base: Settings, over: Settings) -> dict[str, Any]:
    """Return base with over on top: mappings merge, None takes away, everything else replaces."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = overlay(old if isinstance(old, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _difference(base: Settings, wanted: Settings) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for key, value in wanted.items():
        old = base.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and old:
            below = _difference(old, value)
            if below:
                config[key] = below
        elif not same(old, value):
            config[key] = value
    for key in base.keys() - wanted.keys():
        config[key] = None
    return config


def _outdo(before: Settings, config: dict[str, Any], wanted: Settings) -> None:
    """Add to `config` what it takes that nothing of an earlier one, which it lies over, shows through."""
    for key, old in before.items():
        value = wanted.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            below = config.get(key, {})
            if isinstance(below, dict):
                _outdo(old, below, value)
                if below:
                    config[key] = below
        elif key not in config:
            config[key] = value


def _differences(before: Any, after: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _differences(before.get(key), after.get(key), (*path, key))
    elif isinstance(after, Mapping) and before is None and after:
        for key, value in after.items():
            yield from _differences(None, value, (*path, key))
    elif not (same(before, after) or (path == ("version",) and str(before) == str(after))):
        yield path, before, after


def _without_empty(settings: Settings) -> dict[str, Any]:
    """Write `key:` without a value as the registry takes it: no value, or a driver without parameters."""
    cleaned: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            names = key in ("storage", "auth")  # a name alone means something there: inmemory:
            cleaned[key] = {name: {} if below is None and names else below for name, below in value.items()}
            cleaned[key] = _without_empty(cleaned[key])
        elif value is not None:
            cleaned[key] = value
    return cleaned
