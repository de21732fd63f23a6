"""GitLab's metadata database: what its program does around it, as `MetadataPrograms`. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ctl.engines.distribution_values import section_of
from ctl.errors import RefusedError

if TYPE_CHECKING:
    from ctl.engines.metadata import (
        Asked,
        ImportOptions,
        ImportParser,
        MigrationLimits,
        MigrationsDone,
        PendingMigrations,
        ProgramFailure,
    )
    from ctl.hosts.base import Command


class GitlabMetadata:
    """The commands `database migrate`, `database import` and `background-migrate`, and their output."""

    def migrate_up_command(
        self, binary: str, config_file: str, limits: MigrationLimits, *, dry_run: bool = False
    ) -> Command:
        """The call that applies pending migrations; dry, it prints their ids and nothing else."""
        from ctl.engines import gitlab_migrations

        return gitlab_migrations.migrate_up_command(binary, config_file, limits, dry_run=dry_run)

    def migrate_down_command(
        self, binary: str, config_file: str, limits: MigrationLimits, *, dry_run: bool = False
    ) -> Command:
        """The call that takes migrations back, without asking."""
        from ctl.engines import gitlab_migrations

        return gitlab_migrations.migrate_down_command(binary, config_file, limits, dry_run=dry_run)

    def parse_plan(self, stdout: str) -> PendingMigrations:
        """Read the ids that `up` or `down` prints before it does anything: the plan, not the deed."""
        from ctl.engines import gitlab_migrations

        return gitlab_migrations.parse_plan(stdout)

    def parse_done(self, stdout: str) -> MigrationsDone | None:
        """Read the `OK:` line (or lines); None where it is missing, whatever the exit code was."""
        from ctl.engines import gitlab_migrations

        return gitlab_migrations.parse_done(stdout)

    def background_command(
        self,
        binary: str,
        config_file: str,
        verb: Literal["run", "pause", "resume", "status"],
        *,
        retries: int | None = None,
    ) -> Command:
        """The call that looks after background migrations. Its `run` may never end: supervise it."""
        from ctl.engines import gitlab_migrations

        return gitlab_migrations.background_command(binary, config_file, verb, retries=retries)

    def import_command(self, binary: str, config_file: str, options: ImportOptions) -> Command:
        """The call that imports, its whole log as JSON on stdout."""
        from ctl.engines import gitlab_import

        return gitlab_import.import_command(binary, config_file, options)

    def import_parser(self) -> ImportParser:
        """Return a parser that takes an import's output piece by piece."""
        from ctl.engines import gitlab_import

        return gitlab_import.import_parser()

    def explain(self, stderr: str) -> ProgramFailure:
        """Say why a call failed, from what it printed on stderr; the cause is in the last line."""
        from ctl.engines import gitlab_migrations

        return gitlab_migrations.explain(stderr)

    def asked_backend(self, config: Mapping[str, Any]) -> Asked:
        """Say which backend a configuration asks for; anything but true and prefer is the filesystem.

        The program takes true and prefer as a bool or a word of small letters; another value stops it.
        """
        asked = section_of(config, "database").get("enabled")
        if asked is True or asked == "true":
            return "database"
        return "prefer" if asked == "prefer" else "filesystem"

    def database_settings(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the `database` section of a configuration; {} where there is none."""
        return section_of(config, "database")

    def database_text(self, data: bytes, section: Mapping[str, Any]) -> bytes:
        """Return a file's bytes with the keys of `section` set below `database` and all else as it was.

        RefusedError unless the new bytes provably mean the old ones plus these keys.
        """
        return self.section_text(data, "database", section)

    def section_text(self, data: bytes, name: str, values: Mapping[str, Any]) -> bytes:
        """Return a file's bytes with keys set below a top-level section, such as `gc`; as `database_text`."""
        from ctl.engines import distribution_yaml, yaml_edit

        before = distribution_yaml.parse(data)
        if not before.readable or before.mistakes:
            first = before.mistakes[0]
            raise RefusedError(f"the configuration is not changed: {first.path} {first.message}".strip())
        changed = yaml_edit.set_keys(data.decode(), name, values).encode()
        after = distribution_yaml.parse(changed)
        wanted = _with(before.data, {name: values})
        if after.mistakes or not after.readable or after.data != wanted:
            raise RefusedError(
                f"the section `{name}` cannot be set without changing something else in the file",
                hint="the file uses YAML anchors or another unusual layout; write the section out in full",
            )
        return changed


def _with(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(old))
    for key, value in new.items():
        below = result.get(key)
        if isinstance(value, Mapping):
            result[key] = _with(below if isinstance(below, Mapping) else {}, value)
        elif value is not None:
            result[key] = copy.deepcopy(value)
    return result
