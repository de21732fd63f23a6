"""Migrate a metadata database with the program that nodes are led to, while others still run the old one."""

from __future__ import annotations

from collections.abc import Iterator

from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target
from ctl.steps.migrate_metadata import MigrateMetadata
from ctl.steps.target_program import with_program


class MigrateForUpgrade(MigrateMetadata):
    """As MigrateMetadata, with another program of the node than the site says."""

    binary: str  # of the target, on the node's host

    def title(self) -> str:
        """Say in a few words what it does and with what."""
        return f"{super().title()} with {self.binary}"

    def check(self, here: Target) -> Iterator[Problem]:
        """As MigrateMetadata."""
        yield from super().check(self._there(here))

    def observe(self, here: Target) -> Before:
        """As MigrateMetadata."""
        return super().observe(self._there(here))

    def preview(self, here: Target) -> Preview:
        """As MigrateMetadata."""
        return super().preview(self._there(here))

    def apply(self, here: Target, before: Before) -> StepReport:
        """As MigrateMetadata."""
        return super().apply(self._there(here), before)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """As MigrateMetadata."""
        return super().probe(self._there(here), before)

    def settle(self, here: Target, before: Before) -> None:
        """As MigrateMetadata."""
        super().settle(self._there(here), before)

    def verify(self, here: Target) -> Iterator[Problem]:
        """As MigrateMetadata."""
        yield from super().verify(self._there(here))

    def _there(self, here: Target) -> Target:
        return Target(with_program(here.world, self.registry, self.node, self.binary), here.run)
