"""The engine `gitlab`: GitLab's container registry. Pure; runs nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from ctl.engines.base import CollectionOutput, ConfigMistake
from ctl.engines.base import CollectionParser as Parser
from ctl.engines.distribution import Distribution
from ctl.engines.distribution_values import section_of
from ctl.engines.features import Feature
from ctl.engines.gitlab_metadata import GitlabMetadata
from ctl.engines.metadata import MetadataPrograms
from ctl.errors import ConfigError
from ctl.hosts.base import Command

if TYPE_CHECKING:
    from ctl.engines.upgrades import Upgrades

_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)\S*-gitlab\S*")
# The collector's own words are the only proof of what it did: nothing in the file may hide or reshape them.
_WHOLE_LOG = {
    "REGISTRY_LOG_LEVEL": "info",
    "REGISTRY_LOG_FORMATTER": "json",
    "REGISTRY_LOG_OUTPUT": "stdout",
}
_FILES: tuple[tuple[str, ...], ...] = (
    ("database", "sslrootcert"),
    ("database", "sslcert"),
    ("database", "sslkey"),
    ("auth", "token", "rootcertbundle"),
    ("http", "debug", "tls", "certificate"),
    ("http", "debug", "tls", "key"),
    ("storage", "gcs", "keyfile"),
)


class Gitlab(Distribution):
    """Commands, schema, features and parsers of GitLab's registry.

    It is a fork of distribution 2 and shares its storage tree, its read-only key and its write probe.
    """

    name = "gitlab"
    metadata: MetadataPrograms = GitlabMetadata()

    def parse_version(self, stdout: str) -> Version:
        """Read `<program> <module> v4.32.0-gitlab`; ConfigError if it is another program's."""
        words = stdout.split()
        found = _VERSION.fullmatch(words[-1]) if words else None
        if found is None:
            raise ConfigError(
                f"not GitLab's registry: --version printed {stdout.strip()[:120]!r}",
                hint="name the program that GitLab ships in `binary`; a plain one is `engine: distribution`",
            )
        return Version(found.group(1))

    def upgrades(self) -> Upgrades:
        """What an upgrade has to know of this engine."""
        from ctl.engines.gitlab_upgrade import GitlabUpgrade

        return GitlabUpgrade()

    def serve_command(self, binary: str, config_file: str, version: Version) -> Command:
        """The call that serves; the feature flags come from the site, see `feature_environment`."""
        return Command((binary, "serve", config_file))

    def feature_environment(self, features: Mapping[str, bool]) -> dict[str, str]:
        """Return the variables that carry the site's feature flags."""
        from ctl.engines.gitlab_environment import feature_environment

        return feature_environment(features)

    def variable_of(self, path: tuple[str | int, ...]) -> str | None:
        """Return the environment variable that overrides a setting; None where there is none."""
        from ctl.engines.gitlab_environment import variable_of

        return variable_of(path)

    def collect_command(
        self, binary: str, config_file: str, version: Version, *, dry_run: bool, delete_untagged: bool
    ) -> Command:
        """The call that collects garbage, its log whole and on stdout whatever the file says."""
        options = ["--dry-run"] * dry_run + ["--delete-untagged"] * delete_untagged
        return Command((binary, "garbage-collect", *options, config_file), env=dict(_WHOLE_LOG))

    def collection_parser(self) -> Parser:
        """Return a parser that takes the output piece by piece."""
        from ctl.engines.gitlab_parsers import CollectionParser

        return CollectionParser()

    def parse_collection(
        self, stdout: str, stderr: str, exit_code: int | None, version: Version
    ) -> CollectionOutput:
        """Read a collector's whole output; demands the closing record, and all that it counts."""
        parser = self.collection_parser()
        parser.feed(stdout)
        return parser.finish(stderr, exit_code)

    def features(self, version: Version) -> Mapping[str, bool]:
        """The feature table at a version."""
        from ctl.engines.gitlab_features import features

        return features(version)

    def feature_table(self) -> Sequence[Feature]:
        """The whole table: every version and both kinds of metadata."""
        from ctl.engines.gitlab_features import TABLE

        return TABLE

    def check_config(self, config: Mapping[str, Any], version: Version) -> Sequence[ConfigMistake]:
        """Check a parsed file against the schema of a version; every mistake at once."""
        from ctl.engines import gitlab_check

        return tuple(gitlab_check.check(config, version))

    def check_environment(
        self, config: Mapping[str, Any], environment: Mapping[str, str]
    ) -> Sequence[ConfigMistake]:
        """Check a file together with the environment that it is read with."""
        from ctl.engines import gitlab_database

        return tuple(gitlab_database.check_environment(config, environment))

    def check_paths(
        self, config: Mapping[str, Any], kind: Callable[[str], str | None]
    ) -> Sequence[ConfigMistake]:
        """Check the paths that a file names; `kind` says "file", "directory" or None (not there)."""
        return (*super().check_paths(config, kind), *_named_files(config, kind))

    def overriding_environment(self, environment: Mapping[str, str]) -> Mapping[str, str]:
        """Return {variable: dotted path} of the variables that override the file."""
        from ctl.engines.gitlab_environment import overriding

        return overriding(environment)

    def drain_timeout(self, config: Mapping[str, Any]) -> timedelta | None:
        """Say how long a stop waits: for requests, then for the database's connections."""
        http = super().drain_timeout(config)
        if self.metadata.asked_backend(config) == "filesystem":
            return http
        database = super().drain_timeout({"http": section_of(config, "database")})
        return (http or timedelta()) + (database or timedelta()) or None

    def cache_kind(self, config: Mapping[str, Any]) -> str:
        """Say where blob descriptors are cached; nowhere with the metadata database."""
        if self.metadata.asked_backend(config) == "database":
            return ""
        return super().cache_kind(config)

    def writes_on_pull(self, config: Mapping[str, Any]) -> bool:
        """Say whether this is a pull-through cache: it never is one."""
        return False

    def template(self, version: Version) -> str:
        """Name the template of a version, relative to templates/."""
        return "gitlab/4.yml.j2"


def _named_files(config: Mapping[str, Any], kind: Callable[[str], str | None]) -> Iterator[ConfigMistake]:
    for path in _FILES:
        value = section_of(config, *path[:-1]).get(path[-1])
        if isinstance(value, str) and value and kind(value) != "file":
            message = f"{value} is {kind(value) or 'not there'}, not a file"
            yield ConfigMistake(
                ".".join(path), message, "name a file that the registry's user may read", fatal=True
            )
