"""Migrate a registry's metadata database on the way of another change, where the site says `auto_migrate`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target
from ctl.report.model import Json, Text
from ctl.steps.metadata_migrations import demand_same_database, migrating_node
from ctl.steps.migrate_metadata import MigrateMetadata

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ctl.world import World


class AutoMigrate(MigrateMetadata):
    """Apply pending pre-deployment migrations before a registry's nodes are restarted; skippable by name.

    The configuration that names the database may be written by an earlier step of the same run: until then
    only the database itself is looked at.
    """

    skip_post_deployment: bool = True
    skipped: bool = False  # asked for by `--skip auto-migrate`; what is pending is still told

    skippable: ClassVar[tuple[str, ...]] = ("auto-migrate", "invalid-indexes")

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"apply pending migrations of {self.registry} (auto_migrate)"

    def check(self, here: Target) -> Iterator[Problem]:
        """As MigrateMetadata; where it is skipped, say what stays pending."""
        if self.skipped:
            yield from self._left_out(here)
        elif not self._ready(here):
            from ctl.steps.database_checks import database_problems
            from ctl.steps.metadata_doors import metadata_database

            database = metadata_database(here.world, self.registry)
            yield from database_problems(here.world, database.name, writing=True)
        else:
            yield from super().check(here)

    def observe(self, here: Target) -> Before:
        """As MigrateMetadata."""
        return {} if self.skipped else super().observe(here)

    def preview(self, here: Target) -> Preview:
        """List what would be applied, as far as it can be told before the configuration is written."""
        if self.skipped:
            return Preview(self.title(), False, (Text("skipped: pending migrations stay pending"),))
        if self._ready(here):
            return super().preview(here)
        text = "what is pending is looked at once the configuration names the database"
        data: dict[str, Json] = {"registry": self.registry, "known": False}
        return Preview(self.title(), True, (Text(text),), data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """As MigrateMetadata; nothing where it is skipped."""
        if self.skipped:
            return StepReport(changed=False, not_applicable="skipped by --skip auto-migrate")
        return super().apply(here, before)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """As MigrateMetadata."""
        return "done" if self.skipped else super().probe(here, before)

    def verify(self, here: Target) -> Iterator[Problem]:
        """As MigrateMetadata; what was skipped proves nothing."""
        return iter(()) if self.skipped else super().verify(here)

    def _ready(self, here: Target) -> bool:
        return names_database(here.world, self.registry, self.node)

    def _left_out(self, here: Target) -> Iterator[Problem]:
        try:
            found = self._look(here)
        except RegctlError as error:
            yield Problem(f"auto_migrate: {error.message}", error.hint, name="auto-migrate")
            return
        if found.up_to_date is not True:
            count = f"{len(found.pending.ids)} " if found.pending and found.complete else ""
            yield Problem(
                f"database {found.database}: {count}pending pre-deployment migration(s) are not applied; a "
                "registry that needs them does not start",
                "run `regctl database migrate up` before the restart",
                name="auto-migrate",
            )


def auto_migrate(
    world: World, registry: str, wanted: Mapping[str, Any], *, node: str = "", skipped: bool = False
) -> AutoMigrate | None:
    """Return the step that `auto_migrate: true` asks for before a registry's nodes load `wanted`.

    None where the site does not ask for it, or the configuration does not use the database. For
    `config apply`, and for every other change that restarts nodes with another program or configuration.
    """
    from ctl.engines.metadata import metadata_of

    described = world.registry(registry)
    known = metadata_of(world.engine(registry))
    if known is None or not getattr(described, "auto_migrate", False) or described.database is None:
        return None
    if known.asked_backend(wanted) == "filesystem":
        return None
    return AutoMigrate(registry=registry, node=node, skipped=skipped)


def names_database(world: World, registry: str, node: str = "") -> bool:
    """Say whether a node's file names the site's database already, so that its program can be asked."""
    try:
        demand_same_database(world, registry, migrating_node(world, registry, node))
    except RegctlError:
        return False
    return True
