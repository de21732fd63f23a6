"""Judge the `storage` section of GitLab's registry. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ctl.engines import distribution_storage
from ctl.engines import gitlab_schema as schema
from ctl.engines.base import ConfigMistake
from ctl.engines.distribution_parsers import parse_duration
from ctl.engines.distribution_values import meant, section_of
from ctl.engines.schema_walk import IGNORED

_Config = Mapping[str, Any]
_UNKNOWN = f"unknown key; {IGNORED}"


def drivers_of(storage: _Config) -> list[str]:
    """Return the storage drivers named in `storage`."""
    return [name for name in storage if name not in schema.STORAGE_EXTRAS]


def check(config: _Config) -> Iterator[ConfigMistake]:
    """Yield every mistake of `storage`."""
    storage = config.get("storage")
    if isinstance(storage, str) and storage:
        storage = {storage: {}}
    if not isinstance(storage, Mapping):
        yield ConfigMistake("storage", "missing", "name a driver, such as filesystem", fatal=True)
        return
    drivers = drivers_of(storage)
    if len(drivers) != 1:
        found = ", ".join(drivers) or "none"
        hint = "" if not drivers else meant(drivers[-1], schema.STORAGE_EXTRAS) or "keep one of them"
        yield ConfigMistake("storage", f"exactly one driver is possible, found {found}", hint, fatal=True)
    for name in drivers:
        yield from _driver(name, storage[name])
    yield from _extras(storage)
    yield from _cache(config, storage)


def _driver(name: str, value: Any) -> Iterator[ConfigMistake]:
    path = f"storage.{name}"
    if name not in schema.DRIVERS:
        hint = meant(name, schema.DRIVERS) or f"it has {', '.join(schema.DRIVERS)}"
        yield ConfigMistake(path, "no such storage driver", hint, fatal=True)
        return
    if value is not None and not isinstance(value, Mapping):
        yield ConfigMistake(path, "a section (a map) was expected", fatal=True)
        return
    given, known = value or {}, schema.DRIVERS[name]
    for key in given:
        if key not in known:
            yield ConfigMistake(f"{path}.{key}", _UNKNOWN, meant(key, known))
    for key in schema.REQUIRED.get(name, ()):
        if not given.get(key):
            yield ConfigMistake(f"{path}.{key}", "missing", "the driver needs it", fatal=True)
    if name == "filesystem":
        yield from distribution_storage.root_directory(given)
    if name in ("s3", "s3aws", "azure"):
        hint = "the settings stay; read the release notes before the change"
        yield ConfigMistake(path, f"deprecated for {name.removesuffix('aws')}_v2", hint, severity="warning")


def _extras(storage: _Config) -> Iterator[ConfigMistake]:
    for name, keys in schema.STORAGE_EXTRAS.items():
        value = storage.get(name)
        if value is None:
            continue
        if not isinstance(value, Mapping):
            yield ConfigMistake(f"storage.{name}", "a section (a map) was expected", fatal=True)
            continue
        for key in value:
            if key not in keys:
                yield ConfigMistake(f"storage.{name}.{key}", _UNKNOWN, meant(key, keys))
        yield from _RULES[name](value)
    if section_of(storage, "delete").get("enabled") is None:
        yield ConfigMistake(
            "storage.delete.enabled",
            "missing: tags, manifests and blobs cannot be deleted (405), by nobody",
            "write delete: {enabled: true}",
            severity="warning",
        )


def _redirect(value: _Config) -> Iterator[ConfigMistake]:
    disable = value.get("disable")
    if disable is not None and not isinstance(disable, bool):
        yield ConfigMistake(
            "storage.redirect.disable", f"{disable!r} is not true or false", "write true", fatal=True
        )
    delay = value.get("expirydelay")
    if delay is not None and (not isinstance(delay, str) or parse_duration(delay) is None):
        message = f"{delay!r} is not a duration"
        yield ConfigMistake("storage.redirect.expirydelay", message, "write 20m", fatal=True)
    exceptions = value.get("exceptions")
    if exceptions is not None and not isinstance(exceptions, list):
        message = f"{exceptions!r} is not a list: {IGNORED}"
        yield ConfigMistake("storage.redirect.exceptions", message, "write one `- value` a line")


def _cache(config: _Config, storage: _Config) -> Iterator[ConfigMistake]:
    cache = section_of(storage, "cache")
    kind = cache.get("blobdescriptor", cache.get("layerinfo"))
    if kind and section_of(config, "database").get("enabled") in (True, "true"):
        yield ConfigMistake(
            "storage.cache.blobdescriptor",
            "not used with the metadata database",
            "take the section out; redis.cache is another thing",
            severity="warning",
        )
    elif kind == "redis" and not section_of(config, "redis").get("addr"):
        message = "missing: the cache is in redis, and the registry does not start without redis.addr"
        yield ConfigMistake("redis.addr", message, "name the redis server", fatal=True)


_RULES = {
    "cache": distribution_storage.cache,
    "delete": distribution_storage.delete,
    "redirect": _redirect,
    "maintenance": distribution_storage.maintenance,
}
