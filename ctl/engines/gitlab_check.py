"""Judge a configuration of GitLab's registry: types by the schema, then what no type shows. Pure.

`fatal` stands where the program refuses to start; everything else it accepts without a word and then does
something else than the file says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from packaging.version import Version

from ctl.engines import gitlab_database, gitlab_storage
from ctl.engines import gitlab_schema as schema
from ctl.engines.base import ConfigMistake
from ctl.engines.distribution_parsers import parse_duration
from ctl.engines.distribution_values import meant, section_of
from ctl.engines.schema_walk import IGNORED, typed
from ctl.engines.shared_rules import auth_mistakes, version_mistakes

_Config = Mapping[str, Any]


def check(config: _Config, version: Version) -> Iterator[ConfigMistake]:
    """Yield every mistake, in the order of the file's sections."""
    yield from version_mistakes(config)
    for name, value in config.items():
        if name not in schema.TOP:
            hint = schema.STRANGERS.get(name) or meant(name, schema.TOP)
            yield ConfigMistake(name, f"unknown section; {IGNORED}", hint)
        elif name not in ("version", "storage", "auth"):
            yield from typed(name, value, schema.TOP[name])
    yield from _too_new(config, version)
    yield from gitlab_storage.check(config)
    yield from gitlab_database.check(config, version)
    there_are = "GitLab's registry has token, none and silly"
    yield from auth_mistakes(config.get("auth"), schema.AUTH, schema.AUTH_REQUIRED, there_are)
    yield from _http(config)
    yield from _redis(config)
    yield from _limiter(config)
    yield from _gc(config)


def _too_new(config: _Config, version: Version) -> Iterator[ConfigMistake]:
    for path, since in schema.SINCE.items():
        *above, last = path.split(".")
        if last in section_of(config, *above) and version < Version(since):
            driver = path.startswith("storage.")
            what = "there is no such driver yet" if driver else IGNORED
            message = f"{version} does not know it: {what}"
            yield ConfigMistake(path, message, f"it came with {since}", fatal=driver)


def _http(config: _Config) -> Iterator[ConfigMistake]:
    http = section_of(config, "http")
    if not http.get("addr"):
        message = "missing: the registry picks a port of its own, on every interface"
        yield ConfigMistake("http.addr", message, "write addr: 127.0.0.1:5000, or whatever is meant")
    if not http.get("draintimeout"):
        yield ConfigMistake(
            "http.draintimeout",
            "missing: a stop cuts uploads in flight",
            "write draintimeout: 60s",
            severity="warning",
        )
    if not http.get("secret"):
        yield ConfigMistake(
            "http.secret",
            "missing: every process takes its own, so uploads break on a restart and behind a balancer",
            "write a long random secret, the same on every node",
            severity="warning",
        )
    debug = section_of(config, "http", "debug").get("addr")
    if isinstance(debug, str) and debug and not debug.startswith(("127.", "localhost:", "[::1]")):
        yield ConfigMistake(
            "http.debug.addr",
            "not on the loopback: whoever reaches it reads metrics, health and profiles",
            "write addr: 127.0.0.1:5001, or let only the monitoring through",
            severity="warning",
        )


def _redis(config: _Config) -> Iterator[ConfigMistake]:
    for name in ("cache", "ratelimiter", "loadbalancing"):
        redis = section_of(config, "redis", name)
        if redis.get("enabled") is True and not redis.get("addr"):
            yield ConfigMistake(
                f"redis.{name}.addr",
                "missing: an enabled connection needs an address",
                "name the server, or the sentinels separated by commas",
                fatal=name != "cache",
            )
    top = section_of(config, "redis")
    if "enabled" in top:
        yield ConfigMistake(
            "redis.enabled",
            "does nothing at the top level: an address there connects always",
            "write it below cache, ratelimiter or loadbalancing",
            severity="warning",
        )


def _limiter(config: _Config) -> Iterator[ConfigMistake]:
    limiter = section_of(config, "rate_limiter")
    if limiter.get("enabled") is not True:
        return
    if section_of(config, "redis", "ratelimiter").get("enabled") is not True:
        message = "needs redis.ratelimiter: the registry does not start without it"
        hint = "add redis: {ratelimiter: {enabled: true, addr: HOST:6379}}"
        yield ConfigMistake("rate_limiter.enabled", message, hint, fatal=True)
    entries = limiter.get("limiters")
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        path, given = f"rate_limiter.limiters[{number}]", entry if isinstance(entry, Mapping) else {}
        if not given.get("name"):
            yield ConfigMistake(f"{path}.name", "missing", "every limiter needs a name", fatal=True)
        limit = section_of(given, "limit")
        for key in ("rate", "burst"):
            value = limit.get(key)
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                hint = f"write {key}: 100"
                yield ConfigMistake(f"{path}.limit.{key}", "must be a number from 1", hint, fatal=True)


def _gc(config: _Config) -> Iterator[ConfigMistake]:
    gc = section_of(config, "gc")
    review = gc.get("reviewafter")
    if review is not None and review != -1:
        good = isinstance(review, str) and parse_duration(review) is not None
        if not good:
            plain = isinstance(review, int | float) and not isinstance(review, bool)
            message = f"{review} without a unit means {review} nanoseconds" if plain else "not a duration"
            hint = "write 24h, or -1 for at once"
            yield ConfigMistake("gc.reviewafter", message, hint, fatal=not plain)
    if gc.get("disabled") is True and _asks_for_database(config):
        yield ConfigMistake(
            "gc.disabled",
            "online garbage collection is off: nothing is ever freed",
            "right after a switch it should be; `regctl registry verify`, then switch it on",
            severity="warning",
        )


def _asks_for_database(config: _Config) -> bool:
    return section_of(config, "database").get("enabled") in (True, "true", "prefer")
