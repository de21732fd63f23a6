"""Judge a distribution configuration: types by the schema, then the traps that no type shows. Pure.

`fatal` stands where the binary refuses to start or panics; everything else it accepts without a word and
then does something else than the file says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from packaging.version import Version

from ctl.engines import distribution_schema as schema
from ctl.engines import distribution_storage
from ctl.engines.base import ConfigMistake
from ctl.engines.distribution_schema import Kind
from ctl.engines.distribution_values import meant, section_of
from ctl.engines.schema_walk import IGNORED, typed
from ctl.engines.shared_rules import auth_mistakes, version_mistakes

_Config = Mapping[str, Any]


def check(config: _Config, version: Version) -> Iterator[ConfigMistake]:
    """Yield every mistake, in the order of the file's sections."""
    top = schema.TOP_3 if version.major >= 3 else schema.TOP_2
    yield from version_mistakes(config)
    for name, value in config.items():
        if name not in top:
            yield _unknown_section(name, top, version)
        elif name not in ("version", "storage", "auth"):
            yield from typed(name, value, top[name])
    yield from distribution_storage.check(config.get("storage"), version)
    known = schema.AUTH_3 if version.major >= 3 else schema.AUTH_2
    yield from auth_mistakes(config.get("auth"), known, schema.AUTH_REQUIRED)
    yield from _http(config)
    yield from _redis(config, version)
    yield from _notifications(config, version)


def _unknown_section(name: str, top: Mapping[str, Kind], version: Version) -> ConfigMistake:
    known_elsewhere = {
        **schema.STRANGERS,
        **(schema.REMOVED_3 if version.major >= 3 else schema.ONLY_3),
    }
    hint = known_elsewhere.get(name) or meant(name, top)
    return ConfigMistake(name, f"unknown section; {IGNORED}", hint)


def _http(config: _Config) -> Iterator[ConfigMistake]:
    http = section_of(config, "http")
    if not http.get("addr"):
        message = "missing: the registry picks a free port, on every interface"
        yield ConfigMistake("http.addr", message, "write addr: 127.0.0.1:5000, or whatever is meant")
    if not http.get("draintimeout"):
        yield ConfigMistake(
            "http.draintimeout",
            "missing: a stop breaks uploads in flight, and may leave an empty manifest behind",
            "write draintimeout: 30s",
            severity="warning",
        )
    if not http.get("secret") and not section_of(config, "proxy").get("remoteurl"):
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
            "not on the loopback: /debug shows profiles, and the redis password in clear",
            "write addr: 127.0.0.1:5001",
            severity="warning",
        )


def _redis(config: _Config, version: Version) -> Iterator[ConfigMistake]:
    redis = section_of(config, "redis")
    cache = section_of(config, "storage", "cache")
    cached = cache.get("blobdescriptor", cache.get("layerinfo")) == "redis"
    ours, other = ("addrs", "addr") if version.major >= 3 else ("addr", "addrs")
    if other in redis:
        want = "a list, redis.addrs" if version.major >= 3 else "one address, redis.addr"
        yield ConfigMistake(f"redis.{other}", f"this version wants {want}", f"rename it to {ours}")
    if cached and not redis.get(ours):
        message = f"missing: the cache is in redis, and without redis.{ours} the registry panics at start"
        yield ConfigMistake(f"redis.{ours}", message, "name the redis server", fatal=True)
    if redis.get(ours):
        missing = [n for n in ("dialtimeout", "readtimeout", "writetimeout") if not redis.get(n)]
        if missing and version.major < 3:
            message = f"no {', '.join(missing)}: a redis that hangs makes every request hang"
            yield ConfigMistake("redis", message, "write small ones, such as 500ms", severity="warning")


def _notifications(config: _Config, version: Version) -> Iterator[ConfigMistake]:
    endpoints = section_of(config, "notifications").get("endpoints")
    for number, endpoint in enumerate(endpoints if isinstance(endpoints, list) else ()):
        ignore = section_of(endpoint if isinstance(endpoint, Mapping) else {}, "ignore")
        if version.major < 3 and ignore.get("actions") and not ignore.get("mediatypes"):
            yield ConfigMistake(
                f"notifications.endpoints[{number}].ignore.actions",
                "2.8 ignores no action unless a media type is ignored too",
                "add mediatypes: [application/x-none]",
                severity="warning",
            )
