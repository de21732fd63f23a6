"""Judge the `storage` section: a wrong type there is a panic, or silence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from packaging.version import Version

from ctl.engines import distribution_schema as schema
from ctl.engines.base import ConfigMistake
from ctl.engines.distribution_parsers import parse_duration
from ctl.engines.distribution_values import drivers_of, meant

_IGNORED = "unknown key; the registry ignores it without a word"


def check(storage: Any, version: Version) -> Iterator[ConfigMistake]:
    """Yield every mistake of `storage`."""
    if isinstance(storage, str) and storage:
        storage = {storage: {}}  # a driver by its bare name
    if not isinstance(storage, Mapping):
        yield ConfigMistake("storage", "missing", "name a driver, such as filesystem", fatal=True)
        return
    extras = schema.STORAGE_EXTRAS_3 if version.major >= 3 else schema.STORAGE_EXTRAS_2
    drivers = drivers_of(storage, version)
    if len(drivers) != 1:
        found = ", ".join(drivers) or "none"
        hint = "" if not drivers else meant(drivers[-1], extras) or "keep one of them"
        yield ConfigMistake("storage", f"exactly one driver is possible, found {found}", hint, fatal=True)
    for name in drivers:
        yield from _driver(name, storage[name], version)
    for name, keys in extras.items():
        value = storage.get(name)
        if name not in storage or value is None:
            continue
        if not isinstance(value, Mapping):
            yield ConfigMistake(f"storage.{name}", "a section (a map) was expected", fatal=True)
            continue
        for key in value:
            if key not in keys:
                yield ConfigMistake(f"storage.{name}.{key}", _IGNORED, meant(key, keys))
        yield from _RULES[name](value)


def _driver(name: str, value: Any, version: Version) -> Iterator[ConfigMistake]:
    path = f"storage.{name}"
    known = schema.DRIVERS_3 if version.major >= 3 else schema.DRIVERS_2
    if version.major >= 3 and name in schema.REMOVED_DRIVERS_3:
        yield ConfigMistake(
            path, "3.x has this driver no more", "stay on 2.8, or move the storage", fatal=True
        )
    elif name not in known:
        yield ConfigMistake(path, "no such storage driver", meant(name, known), fatal=True)
    elif "ds" in (version.local or "") and name in schema.NOT_IN_DEBIAN:
        hint = "Debian builds filesystem, inmemory, s3 and swift; take the upstream build for this one"
        yield ConfigMistake(path, "Debian's build has not got this driver", hint, fatal=True)
    elif value is not None and not isinstance(value, Mapping):
        yield ConfigMistake(path, "a section (a map) was expected", fatal=True)
    else:
        given = value or {}
        for key in given:
            if key not in known[name]:
                yield ConfigMistake(f"{path}.{key}", _IGNORED, meant(key, known[name]))
        if name == "filesystem":
            yield from root_directory(given)


def root_directory(given: Mapping[str, Any]) -> Iterator[ConfigMistake]:
    """Yield what is wrong with the filesystem driver's directory."""
    path = "storage.filesystem.rootdirectory"
    root = given.get("rootdirectory")
    if root is None:
        hint = "write it out; a wrong guess is an empty registry"
        yield ConfigMistake(path, "missing: the registry takes /var/lib/registry", hint, severity="warning")
    elif not isinstance(root, str):
        yield ConfigMistake(path, f"{root!r} is not a path", "write the directory")
    elif not root.startswith("/"):
        yield ConfigMistake(path, "relative: it depends on where the process is started", "write it from /")


def cache(value: Mapping[str, Any]) -> Iterator[ConfigMistake]:
    """Yield what is wrong with the cache for blob descriptors."""
    key = "blobdescriptor" if "blobdescriptor" in value else "layerinfo"
    kind = value.get(key)
    if kind is not None and kind not in ("redis", "inmemory"):
        message = f"{kind!r} is not a cache; the registry goes without one"
        yield ConfigMistake(f"storage.cache.{key}", message, "write redis or inmemory")
    size = value.get("blobdescriptorsize")
    if size is not None and (isinstance(size, bool) or not str(size).lstrip("-").isdigit()):
        message = f"{size!r} is not a whole number"
        yield ConfigMistake("storage.cache.blobdescriptorsize", message, "write a number", fatal=True)


def delete(value: Mapping[str, Any]) -> Iterator[ConfigMistake]:
    """Yield what is wrong with `storage.delete`."""
    enabled = value.get("enabled")
    if enabled is not None and not isinstance(enabled, bool):
        message = f"{enabled!r} is not true or false: deleting stays off without a word"
        yield ConfigMistake("storage.delete.enabled", message, "write true, without quotes")


def _redirect(value: Mapping[str, Any]) -> Iterator[ConfigMistake]:
    if not isinstance(value.get("disable"), bool):
        message = "true or false was expected: the registry panics at start"
        yield ConfigMistake("storage.redirect.disable", message, "write disable: true", fatal=True)


def _tag(value: Mapping[str, Any]) -> Iterator[ConfigMistake]:
    limit = value.get("concurrencylimit")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        message = f"{limit!r} is not a number from 0: the registry panics at start"
        yield ConfigMistake("storage.tag.concurrencylimit", message, "write a number", fatal=True)


def maintenance(value: Mapping[str, Any]) -> Iterator[ConfigMistake]:
    """Yield what is wrong with read-only mode and the purging of uploads."""
    if "readonly" in value:
        read_only = value["readonly"]
        path = "storage.maintenance.readonly"
        if not isinstance(read_only, Mapping):
            message = "a map was expected: the registry panics at start"
            yield ConfigMistake(
                path, message, "write it in two lines: readonly: and enabled: true", fatal=True
            )
        else:
            enabled = read_only.get("enabled")
            if "enabled" in read_only and not isinstance(enabled, bool):
                message = f"{enabled!r} is not true or false: the registry panics at start"
                yield ConfigMistake(f"{path}.enabled", message, "write true, without quotes", fatal=True)
            yield from _strangers(path, read_only, ("enabled",))
    if "uploadpurging" in value:
        yield from _purging(value["uploadpurging"])


def _purging(value: Any) -> Iterator[ConfigMistake]:
    path = "storage.maintenance.uploadpurging"
    if not isinstance(value, Mapping):
        hint = "it needs age, interval and dryrun; to switch it off: enabled: false"
        yield ConfigMistake(path, "a map was expected: the registry panics at start", hint, fatal=True)
        return
    yield from _strangers(path, value, ("enabled", "age", "interval", "dryrun"))
    enabled = value.get("enabled")
    if enabled is False:
        return
    if enabled is not None and not isinstance(enabled, bool):
        message = f"{enabled!r} is not true or false: purging stays on"
        yield ConfigMistake(f"{path}.enabled", message, "write false, without quotes")
    for name, example in (("age", "168h"), ("interval", "24h")):
        duration = value.get(name)
        if not isinstance(duration, str) or parse_duration(duration) is None:
            said = "missing" if name not in value else f"{duration!r} is not a duration in quotes or units"
            message = f"{said}: the registry panics at start"
            yield ConfigMistake(f"{path}.{name}", message, f"write {name}: {example}", fatal=True)
    if not isinstance(value.get("dryrun"), bool):
        said = "missing" if "dryrun" not in value else f"{value['dryrun']!r} is not true or false"
        message = f"{said}: the registry panics at start"
        yield ConfigMistake(f"{path}.dryrun", message, "write dryrun: false", fatal=True)


def _strangers(path: str, value: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[ConfigMistake]:
    for key in value:
        if key not in keys:
            yield ConfigMistake(f"{path}.{key}", _IGNORED, meant(key, keys))


_RULES = {
    "cache": cache,
    "delete": delete,
    "redirect": _redirect,
    "tag": _tag,
    "maintenance": maintenance,
}
