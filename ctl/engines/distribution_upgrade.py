"""What changes for a configuration of distribution between 2.8 and 3.x, and which versions go together. Pure.

3.x accepts a configuration of 2.8 without a word and then does something else than it says: keys that it
does not know any more are ignored, and a cache in Redis without `redis.addrs` panics at start.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.version import Version

from ctl.engines import distribution_yaml
from ctl.engines.distribution_values import drivers_of, section_of
from ctl.engines.upgrades import Change, Translation
from ctl.errors import RefusedError
from ctl.skew import Skew

_THREE = 3

SKEW = (
    Skew(">=2.8,<3.0.0a1", ">=2.8,<3.0.0a1", True, "one layout of the storage", seen=False),
    Skew(">=3.0.0a1,<4", ">=3.0.0a1,<4", True, "one layout of the storage"),
    Skew(
        ">=2.8,<3.0.0a1",
        ">=3.0.0a1,<4",
        True,
        "one layout of the storage and one http.secret; collect no garbage meanwhile: 2.8's collector "
        "deletes the children of tagged indexes with --delete-untagged, 3.x's keeps them",
        seen=True,
    ),
)

REMOVED = {
    "compatibility": "3.x knows no schema1 images; none may be left in the storage",
    "reporting": "3.x has neither bugsnag nor newrelic: errors are told by logs and traces alone",
}
POOL = {"maxidle": "maxidleconns", "maxactive": "poolsize", "idletimeout": "connmaxidletime"}


class DistributionUpgrade:
    """What an upgrade of distribution needs to know."""

    skew = SKEW

    def translate(self, config: Mapping[str, Any], target: Version) -> Translation:
        """Return the configuration in a version's words; nothing changes where it is in them already."""
        if target.major < _THREE:
            return Translation(dict(config), ())
        settings = copy.deepcopy(dict(config))
        changes = [*_removed(settings), *_redis(settings)]
        return Translation(settings, (*changes, *_other_meaning(settings)))

    def translate_text(self, data: bytes, target: Version) -> bytes:
        """Return a file's bytes in a version's words; comments and layout stay where they can.

        RefusedError unless the new bytes provably mean the translated settings.
        """
        parsed = distribution_yaml.parse(data)
        if not parsed.readable or parsed.mistakes:
            first = parsed.mistakes[0]
            raise RefusedError(f"the configuration is not translated: {first.path} {first.message}".strip())
        wanted = self.translate(parsed.data, target)
        if wanted.settings == parsed.data:
            return data
        changed = _edited(data.decode(), parsed.data, wanted.settings).encode()
        after = distribution_yaml.parse(changed)
        if after.mistakes or after.data != wanted.settings:
            changed = _written_anew(wanted.settings)
            after = distribution_yaml.parse(changed)
        if after.mistakes or after.data != wanted.settings:
            raise RefusedError(
                "the configuration cannot be translated without changing something else in it",
                hint="write a file for 3.x by hand, or have regctl manage it: regctl config adopt",
            )
        return changed

    def by_hand(self, target: Version, service_kind: str) -> Iterator[str]:
        """Say what no configuration file can hold and regctl does not write."""
        if target.major >= _THREE and service_kind != "process":
            yield (
                "OTEL_TRACES_EXPORTER=none in the service's environment: else 3.x logs an error every few "
                "seconds, as nobody takes its traces"
            )

    def trial(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the configuration on a free port of the loopback, over an empty storage in memory."""
        trial = copy.deepcopy(dict(config))
        for name in ("notifications", "health", "proxy", "middleware"):
            trial.pop(name, None)
        storage = trial.get("storage")
        drivers = drivers_of(storage) if isinstance(storage, Mapping) else ()
        kept = {k: v for k, v in storage.items() if k not in drivers} if isinstance(storage, Mapping) else {}
        trial["storage"] = {"inmemory": {}, **kept}
        http = {k: v for k, v in section_of(trial, "http").items() if k not in ("debug", "net", "host")}
        if "letsencrypt" in section_of(trial, "http", "tls"):
            http.pop("tls")  # it would ask for a certificate
        trial["http"] = {**http, "addr": "127.0.0.1:0"}
        return trial

    def drops(self, current: Version, target: Version) -> tuple[str, ...]:
        """Name the kinds of manifests that the one serves and the other does not."""
        return ("schema1",) if current.major < _THREE <= target.major else ()


def _removed(settings: dict[str, Any]) -> Iterator[Change]:
    for name, why in REMOVED.items():
        if name in settings:
            del settings[name]
            yield Change(name, f"removed: {why}")


def _redis(settings: dict[str, Any]) -> Iterator[Change]:
    redis = settings.get("redis")
    if not isinstance(redis, dict):
        return
    address = redis.pop("addr", None)
    if address and not redis.get("addrs"):
        redis["addrs"] = [address]
        yield Change("redis.addr", f"becomes redis.addrs: [{address}]")
    elif address:
        yield Change("redis.addr", "removed: redis.addrs stands there already")
    pool = redis.get("pool")
    if isinstance(pool, Mapping):
        del redis["pool"]
        for old, new in POOL.items():
            if pool.get(old) is not None and redis.get(new) is None:
                redis[new] = pool[old]
                yield Change(f"redis.pool.{old}", f"becomes redis.{new}")
        yield Change("redis.pool", "removed")


def _other_meaning(settings: Mapping[str, Any]) -> Iterator[Change]:
    endpoints = section_of(settings, "notifications").get("endpoints")
    for number, endpoint in enumerate(endpoints if isinstance(endpoints, list) else ()):
        ignore = section_of(endpoint if isinstance(endpoint, Mapping) else {}, "ignore")
        if ignore.get("actions") and not ignore.get("mediatypes"):
            yield Change(
                f"notifications.endpoints[{number}].ignore.actions",
                "takes effect from 3.x on; 2.8 told these actions all the same",
                effect=False,
            )
    prometheus = section_of(settings, "http", "debug", "prometheus")
    if prometheus.get("enabled") is True and section_of(settings, "storage", "cache"):
        yield Change(
            "http.debug.prometheus",
            "the cache's metrics have other names: registry_storage_cache_{requests,hits,errors}_total",
            effect=False,
        )


def _edited(text: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Edit the text: first what is added, then what goes, so that no section stands empty meanwhile."""
    from ctl.engines.yaml_edit import remove_key, set_keys

    redis_old, redis_new = section_of(old, "redis"), section_of(new, "redis")
    added = {key: value for key, value in redis_new.items() if key not in redis_old}
    if added:
        text = set_keys(text, "redis", added)
    for key in redis_old:
        if key not in redis_new:
            text = remove_key(text, ("redis", key))
    for key in old:
        if key not in new:
            text = remove_key(text, (key,))
    return text


def _written_anew(settings: Mapping[str, Any]) -> bytes:
    import yaml

    note = "# Written anew by regctl upgrade: the layout of the file before it allowed no smaller change.\n"
    body: str = yaml.safe_dump(dict(settings), sort_keys=False, width=1000, allow_unicode=True)
    return (note + body).encode()
