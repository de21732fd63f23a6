"""Judge the `database` section of GitLab's registry, and the environment that it is read with. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.version import Version

from ctl.engines import gitlab_schema as schema
from ctl.engines.base import ConfigMistake
from ctl.engines.distribution_parsers import parse_duration
from ctl.engines.distribution_values import meant, section_of

_Config = Mapping[str, Any]
_WORDS = ("host", "user", "password", "dbname", "sslmode", "sslcert", "sslkey", "sslrootcert", "primary")
# The program joins the settings with spaces and writes `\ ` for one of theirs; its driver takes the two for
# what they are. A backslash is taken for the sign before a special one.
_UNSPEAKABLE = re.compile(r"\s|\\(?:[\\']|\Z)")
POOL = {"maxidle": 25, "maxopen": 25, "maxlifetime": "5m", "maxidletime": "10m"}
LOCKFILES_FLAG = "REGISTRY_FF_ENFORCE_LOCKFILES"


def asked(config: _Config) -> str:
    """Return "true", "false" or "prefer": what `database.enabled` asks for; "" for another value."""
    value = section_of(config, "database").get("enabled", False)
    word = str(value).lower() if isinstance(value, bool) else value
    return word if word in ("true", "false", "prefer") else ""


def unspeakable(value: object) -> bool:
    """Say whether the program cannot hand a database setting to its driver as it is."""
    return isinstance(value, str) and bool(_UNSPEAKABLE.search(value))


def check(config: _Config, version: Version) -> Iterator[ConfigMistake]:
    """Yield every mistake of `database`, and of what other sections must say for it."""
    database = section_of(config, "database")
    if not database:
        return
    yield from _enabled(config, version)
    yield from _address(database, asked(config) != "false")
    if asked(config) != "false" or database.get("host"):
        yield from _pool(database)
    yield from _load_balancing(config)
    yield from _metrics(config)
    background = section_of(database, "backgroundmigrations")
    retries = background.get("maxjobretries")
    if background.get("enabled") is True and isinstance(retries, int) and not retries:
        hint = "write the number that is meant"
        path = "database.backgroundmigrations.maxjobretries"
        yield ConfigMistake(path, "0 is taken as 5", hint, severity="warning")


def check_environment(config: _Config, environment: Mapping[str, str]) -> Iterator[ConfigMistake]:
    """Yield what the environment makes wrong: a mode that needs a flag, and flags that are no flags."""
    if asked(config) == "prefer" and environment.get(LOCKFILES_FLAG) != "true":
        yield ConfigMistake(
            "database.enabled",
            f"prefer without {LOCKFILES_FLAG}=true is true: images that were never imported seem gone",
            "set features: {enforce_lockfiles: true} of the registry, or write true or false",
        )
    for name, value in sorted(environment.items()):
        if name.startswith("REGISTRY_FF_") and value not in ("true", "false"):
            message = f"{name} is neither true nor false (in small letters), so it counts for nothing"
            yield ConfigMistake("", message, f"write {name}=true or {name}=false")


def _enabled(config: _Config, version: Version) -> Iterator[ConfigMistake]:
    word = asked(config)
    if not word:
        value = section_of(config, "database").get("enabled")
        message = f"{value!r} is none of false, true, prefer"
        hint = meant(str(value), ("false", "true", "prefer")) or "write true, false or prefer"
        yield ConfigMistake("database.enabled", message, hint, fatal=True)
    elif word == "prefer" and version < Version(schema.PREFER_SINCE):
        message = f"{version} knows true and false; prefer came with {schema.PREFER_SINCE}"
        yield ConfigMistake("database.enabled", message, "write true or false", fatal=True)


def _address(database: _Config, needed: bool) -> Iterator[ConfigMistake]:
    for key in ("host", "user", "dbname"):
        if needed and not database.get(key):
            yield ConfigMistake(
                f"database.{key}", "missing", "name the database, or write enabled: false", fatal=True
            )
    for key in _WORDS:
        if unspeakable(database.get(key)):
            yield ConfigMistake(
                f"database.{key}",
                "holds a space or a backslash where the registry's program spoils it: it cannot log in",
                "choose a value without either" + (": ALTER ROLE ... PASSWORD" if key == "password" else ""),
                fatal=needed,
            )
    if needed and not database.get("connecttimeout"):
        yield ConfigMistake(
            "database.connecttimeout",
            "missing: a server that does not answer makes the registry wait for ever",
            "write connecttimeout: 5s",
            severity="warning",
        )


def _pool(database: _Config) -> Iterator[ConfigMistake]:
    pool = section_of(database, "pool")
    idle, most = pool.get("maxidle"), pool.get("maxopen")
    if not idle:
        yield ConfigMistake(
            "database.pool.maxidle",
            "missing or 0: the registry connects anew for every statement (an import of 1,000 tags took "
            "203 s instead of 15 s)",
            f"write pool: {{maxidle: {POOL['maxidle']}, maxopen: {POOL['maxopen']}}}",
            severity="warning",
        )
    elif isinstance(idle, int) and isinstance(most, int) and 0 < most < idle:
        message = f"{most} is less than maxidle, {idle}: no more than {most} are kept"
        yield ConfigMistake("database.pool.maxopen", message, "raise it", severity="warning")


def _load_balancing(config: _Config) -> Iterator[ConfigMistake]:
    balancing = section_of(config, "database", "loadbalancing")
    if balancing.get("enabled") is not True:
        return
    if section_of(config, "redis", "loadbalancing").get("enabled") is not True:
        message = "needs redis.loadbalancing, where the registry notes how far each replica must be"
        hint = "add redis: {loadbalancing: {enabled: true, addr: HOST:6379}}"
        yield ConfigMistake("database.loadbalancing.enabled", message, hint)
    if not balancing.get("record") and not balancing.get("hosts"):
        message = "names no replica: set record, or hosts"
        yield ConfigMistake("database.loadbalancing", message, "add hosts: [replica1, replica2]")
    elif balancing.get("record") and balancing.get("hosts"):
        message = "ignored, because record is set"
        yield ConfigMistake("database.loadbalancing.hosts", message, "keep one of them", severity="warning")


def _metrics(config: _Config) -> Iterator[ConfigMistake]:
    metrics = section_of(config, "database", "metrics")
    if metrics.get("enabled") is not True:
        return
    if section_of(config, "redis", "cache").get("enabled") is not True:
        message = "needs redis.cache: the registry does not start without it"
        hint = "add redis: {cache: {enabled: true, addr: HOST:6379}}"
        yield ConfigMistake("database.metrics.enabled", message, hint, fatal=True)
    interval = parse_duration(str(metrics.get("interval") or "10s"))
    lease = parse_duration(str(metrics.get("leaseduration") or "30s"))
    if interval is not None and lease is not None and lease <= interval:
        message = "must be longer than interval"
        yield ConfigMistake("database.metrics.leaseduration", message, "write leaseduration: 30s", fatal=True)
