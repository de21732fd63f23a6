"""The engine `distribution`: the plain container registry, 2.8 and 3.x. Pure; runs nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from ctl.engines.base import CollectionOutput, ConfigMistake, ParsedConfig
from ctl.engines.base import CollectionParser as Parser
from ctl.engines.distribution_parsers import CollectionParser, duration_of, parse_version_line
from ctl.errors import RefusedError
from ctl.hosts.base import Command

if TYPE_CHECKING:
    from ctl.engines.upgrades import Upgrades

_READ_ONLY_PATH = "storage.maintenance.readonly.enabled"
DEFAULT_ROOT = "/var/lib/registry"  # of both versions, where the file names none


class Distribution:
    """Commands, schema, features and parsers of the distribution registry."""

    name = "distribution"

    def version_command(self, binary: str) -> Command:
        """The call that prints the version."""
        return Command((binary, "--version"), timeout=timedelta(seconds=20))

    def parse_version(self, stdout: str) -> Version:
        """Read `<program> <module> <version>`; ConfigError if it is another program's."""
        return parse_version_line(stdout).version

    def version_note(self, stdout: str) -> str:
        """Say how a version was concluded where the build does not tell it; "" where it does."""
        return parse_version_line(stdout).note

    def serve_command(self, binary: str, config_file: str, version: Version) -> Command:
        """The call that serves."""
        return Command((binary, "serve", config_file), env=self._environment(version))

    def collect_command(
        self, binary: str, config_file: str, version: Version, *, dry_run: bool, delete_untagged: bool
    ) -> Command:
        """The call that collects garbage; never quiet, because the summary line is the only proof."""
        options = ["--dry-run"] * dry_run + ["--delete-untagged"] * delete_untagged
        argv = (binary, "garbage-collect", *options, config_file)
        return Command(argv, env=self._environment(version))

    def collection_parser(self) -> Parser:
        """Return a parser that takes the output piece by piece."""
        return CollectionParser()

    def parse_collection(
        self, stdout: str, stderr: str, exit_code: int | None, version: Version
    ) -> CollectionOutput:
        """Read a collector's whole output; demands the summary line and counts what it lists."""
        parser = CollectionParser()
        parser.feed(stdout)
        return parser.finish(stderr, exit_code)

    def features(self, version: Version) -> Mapping[str, bool]:
        """The feature table at a version."""
        from ctl.engines.distribution_features import features

        return features(version)

    def upgrades(self) -> Upgrades:
        """What an upgrade has to know of this engine."""
        from ctl.engines.distribution_upgrade import DistributionUpgrade

        return DistributionUpgrade()

    def parse_config(self, data: bytes) -> ParsedConfig:
        """Read a configuration file's bytes as the registry would; mistakes instead of errors."""
        from ctl.engines import distribution_yaml

        return distribution_yaml.parse(data)

    def check_config(self, config: Mapping[str, Any], version: Version) -> Sequence[ConfigMistake]:
        """Check a parsed file against the schema of a version; every mistake at once."""
        from ctl.engines import distribution_check

        return tuple(distribution_check.check(config, version))

    def check_paths(
        self, config: Mapping[str, Any], kind: Callable[[str], str | None]
    ) -> Sequence[ConfigMistake]:
        """Check the paths that a file names; `kind` says "file", "directory" or None (not there)."""
        from ctl.engines.distribution_paths import check_paths

        return tuple(check_paths(config, kind))

    def is_read_only(self, config: Mapping[str, Any]) -> bool:
        """Say whether the file keeps the registry read-only."""
        from ctl.engines.distribution_values import section_of

        return section_of(config, "storage", "maintenance", "readonly").get("enabled") is True

    def with_read_only(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy with storage.maintenance.readonly.enabled: true and all else as it was."""
        result: dict[str, Any] = copy.deepcopy(dict(config))
        node = result
        for name in ("storage", "maintenance", "readonly"):
            inner = node.get(name)
            if name == "storage" and isinstance(inner, str) and inner:
                inner = {inner: {}}
            node[name] = inner if isinstance(inner, dict) else {}
            node = node[name]
        node["enabled"] = True
        return result

    def read_only_text(self, data: bytes) -> bytes:
        """Return a file's bytes, read-only; comments and layout stay where they can.

        RefusedError unless the new bytes provably mean the old ones plus the one key.
        """
        from ctl.engines import distribution_yaml

        parsed = self.parse_config(data)
        if not parsed.readable or parsed.mistakes:
            first = parsed.mistakes[0]
            raise RefusedError(f"the configuration is not changed: {first.path} {first.message}".strip())
        changed = distribution_yaml.with_read_only(data.decode()).encode()
        after = self.parse_config(changed)
        if after.mistakes or after.data != self.with_read_only(parsed.data):
            raise RefusedError(
                f"{_READ_ONLY_PATH} cannot be set without changing something else in the file",
                hint="the file uses YAML anchors or another unusual layout; write the section out in full",
            )
        return changed

    def overriding_environment(self, environment: Mapping[str, str]) -> Mapping[str, str]:
        """Return {variable: dotted path} of the variables that override the file."""
        return {
            name: ".".join(name.split("_")[1:]).lower()
            for name in environment
            if name.startswith("REGISTRY_") and name != "REGISTRY_CONFIGURATION_PATH"
        }

    def overrides_read_only(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return the variables that take the read-only keys, or the whole storage, away from the file."""
        parts = ("storage", "maintenance", "readonly", "enabled")
        wholes = {".".join(parts[: n + 1]) for n in range(len(parts))}
        return tuple(
            name for name, path in sorted(self.overriding_environment(environment).items()) if path in wholes
        )

    def overrides_storage(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return the variables that change where or what the registry stores."""
        return tuple(
            name
            for name, path in sorted(self.overriding_environment(environment).items())
            if path == "storage" or path.startswith("storage.")
        )

    def drain_timeout(self, config: Mapping[str, Any]) -> timedelta | None:
        """Say how long a stop waits for requests in flight; None if it does not wait."""
        from ctl.engines.distribution_values import section_of

        return duration_of(section_of(config, "http").get("draintimeout")) or None

    def listening_port(self, config: Mapping[str, Any]) -> int | None:
        """Return the port of http.addr; None if the file fixes none."""
        from ctl.engines.distribution_values import section_of

        port = str(section_of(config, "http").get("addr") or "").rpartition(":")[2]
        return int(port) if port.isdigit() and 0 < int(port) < 65536 else None

    def cache_kind(self, config: Mapping[str, Any]) -> str:
        """Say where blob descriptors are cached: "redis" (survives restarts), "inmemory" or ""."""
        from ctl.engines.distribution_values import section_of

        cache = section_of(config, "storage", "cache")
        kind = cache.get("blobdescriptor", cache.get("layerinfo"))
        return str(kind) if kind in ("redis", "inmemory") else ""

    def writes_on_pull(self, config: Mapping[str, Any]) -> bool:
        """Say whether this is a pull-through cache: it stores what it fetches, read-only or not."""
        from ctl.engines.distribution_values import section_of

        return bool(section_of(config, "proxy").get("remoteurl"))

    def storage_settings(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return {driver: parameters}; the filesystem's default root is filled in."""
        from ctl.engines.distribution_values import drivers_of

        storage = config.get("storage")
        if isinstance(storage, str):
            storage = {storage: {}}
        if not isinstance(storage, Mapping):
            return {}
        result = {name: dict(storage[name] or {}) for name in drivers_of(storage)}
        if "filesystem" in result:
            result["filesystem"].setdefault("rootdirectory", DEFAULT_ROOT)
        return result

    def template(self, version: Version) -> str:
        """Name the template of a version, relative to templates/."""
        return f"distribution/{3 if version.major >= 3 else 2}.yml.j2"

    def _environment(self, version: Version) -> dict[str, str]:
        # 3.x sends traces to https://localhost:4318 by default and logs an error every 5 s
        return {"OTEL_TRACES_EXPORTER": "none"} if version.major >= 3 else {}
