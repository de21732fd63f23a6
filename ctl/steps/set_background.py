"""Pause GitLab's background migrations, or let them go on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar, Literal

from ctl.errors import CommandFailedError, Outcome
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Json, Text
from ctl.steps.background_migrations import look_at_background, metadata_name
from ctl.steps.metadata_migrations import migrating_node

_TIMEOUT = timedelta(minutes=1)


class SetBackgroundMigrations(Step):
    """Pause every active background migration, or resume every paused one, by the registry's program."""

    registry: str
    verb: Literal["pause", "resume"]
    node: str = ""

    retries: ClassVar[int] = 1

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"{self.verb} the background migrations of {self.registry}"

    def host(self) -> str:
        """The node whose program is called, where it was named."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """The database must be ours to change."""
        from ctl.steps.database_checks import database_problems

        if self._affected(here):
            yield from database_problems(here.world, metadata_name(here, self.registry), writing=True)

    def observe(self, here: Target) -> Before:
        """Note which are affected."""
        return {"database": metadata_name(here, self.registry), "affected": self._affected(here)}

    def preview(self, here: Target) -> Preview:
        """Say how many there are."""
        found, database = self._affected(here), metadata_name(here, self.registry)
        data: dict[str, Json] = {"database": database, "registry": self.registry, "affected": list(found)}
        text = f"database {database}: {len(found)} background migration(s) to {self.verb}"
        return Preview(self.title(), bool(found), (Text(text),), data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Call the program; its words prove nothing, the table does."""
        from ctl.steps.metadata_doors import programs
        from ctl.steps.registry_program import run_program

        node, known = (
            migrating_node(here.world, self.registry, self.node),
            programs(here.world, self.registry),
        )
        here.run.guard()
        command = known.background_command(node.binary, node.config_file, self.verb)
        result = run_program(here, self.registry, node.host, command, _TIMEOUT)
        if result.exit_code != 0:
            failure = known.explain(result.stderr.decode(errors="replace"))
            raise CommandFailedError(
                f"{self.title()}: {failure.message}", hint=failure.hint, details=(failure.last_line,)
            )
        data: dict[str, Json] = {
            "database": before["database"],
            "registry": self.registry,
            "affected": list(before["affected"]),
        }
        return StepReport(data, changed=bool(before["affected"]))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Calling it again is safe."""
        return "pending" if self._affected(here) else "done"

    def verify(self, here: Target) -> Iterator[Problem]:
        """None may be left in the state that was to end."""
        left = self._affected(here)
        if left:
            yield Problem(f"not {self.verb}d: {', '.join(left)}", outcome=Outcome.FAILED)

    def _affected(self, here: Target) -> list[str]:
        states = ("active", "running") if self.verb == "pause" else ("paused",)
        return [one.name for one in look_at_background(here, self.registry) if one.status in states]
