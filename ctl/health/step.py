"""Health checks as a step of a recipe: what failed blocks, what warned is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from ctl.config.mistakes import did_you_mean
from ctl.errors import Outcome
from ctl.health.checks import NAMES, evaluate, named
from ctl.health.model import Looker
from ctl.recipes.model import Look, Problem, Target


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in NAMES:
            raise ValueError(f"there is no health check {name!r}{did_you_mean(name, NAMES)}")
    return names


class CheckHealth(Look):
    """Look by health checks, all or those that are named: one that failed blocks, one that warned is told.

    Each can be passed over by its name (`--skip`), with a reason.
    """

    registry: str = ""  # all of the site unless named
    checks: Annotated[tuple[str, ...], AfterValidator(_known)] = ()
    site: str = ""  # the site file, for what stands beside it

    skippable: ClassVar[tuple[str, ...]] = NAMES

    def title(self) -> str:
        """Name the checks."""
        what = ", ".join(self.checks) if self.checks else "all health checks"
        return f"look at {self.registry or 'all registries'}: {what}"

    def check(self, here: Target) -> Iterator[Problem]:
        """Look; each thing that needs attention is a problem with its remedy."""
        site = here.world.site
        names = [self.registry] if self.registry else [*sorted(site.registries), *sorted(site.pulps)]
        for one in evaluate(Looker(here.world, names, self.site), named(self.checks)):
            for seen in one.seen:
                if seen.word in ("warned", "failed"):
                    yield Problem(
                        f"{one.name}: {seen.where}: {seen.message}",
                        seen.remedy,
                        blocking=seen.word == "failed",
                        outcome=Outcome.FAILED,
                        name=one.name if seen.word == "failed" else "",
                    )
