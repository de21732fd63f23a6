"""The engine `gitlab`: GitLab's container registry. Pure; runs nothing."""

from __future__ import annotations

import re

from packaging.version import Version

from ctl.engines.distribution import Distribution
from ctl.engines.gitlab_metadata import GitlabMetadata
from ctl.engines.metadata import MetadataPrograms
from ctl.errors import ConfigError

_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)\S*-gitlab\S*")


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

    def template(self, version: Version) -> str:
        """Name the template of a version, relative to templates/."""
        return "gitlab/4.yml.j2"
