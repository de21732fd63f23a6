"""Ask the pre-flight before an import: problems for a recipe's checks, and the figures for its report.

`preflight_problems(world, registry, quarantine=...)` yields a blocking Problem where the import would stop
and a warning where it would drop or alter something. It reads the tree once (a second or two for 10,000
tags); `read_preflight(world, registry)` is the same reading with everything it found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ctl.catalog.preflight import Counts, Preflight
from ctl.catalog.preflight_words import Effect, PreflightFinding
from ctl.recipes.model import Problem
from ctl.steps.preflight_access import closed_to_its_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctl.world import World

SHOWN = 5  # findings that a problem names


@dataclass
class PreflightResult:
    """Everything that one reading found. `seconds` is how long it took."""

    counts: Counts
    findings: list[PreflightFinding] = field(default_factory=list)
    seconds: float = 0.0

    def of(self, effect: Effect) -> list[PreflightFinding]:
        """Return the findings of an effect."""
        return [one for one in self.findings if one.effect is effect]

    def moves(self) -> list[PreflightFinding]:
        """Return the findings that a quarantine acts on, one for each path that it moves."""
        first: dict[str, PreflightFinding] = {}
        for one in self.findings:
            if one.move:
                first.setdefault(one.move, one)
        return list(first.values())

    def stops(self) -> bool:
        """Say whether the import would stop with an error."""
        return any(one.effect is Effect.ABORT for one in self.findings)


def read_preflight(
    world: World,
    registry: str,
    progress: Callable[[int, int], object] = lambda done, total: None,
    only: Collection[str] | None = None,
) -> PreflightResult:
    """Read a registry's tree, or some of its repositories; UnreachableError where it is not there."""
    import time

    started = time.monotonic()
    reading = Preflight(world.storage(registry), progress=progress, only=only)
    findings = list(reading.findings())
    if only is None:
        known = {one.path for one in findings if one.kind == "unreadable"}
        closed = [one for one in closed_to_its_user(world, registry) if one.path not in known]
        findings += closed
        reading.counts.effects[Effect.ABORT] += len(closed)
    return PreflightResult(reading.counts, findings, time.monotonic() - started)


def preflight_problems(world: World, registry: str, *, quarantine: bool = False) -> Iterator[Problem]:
    """Yield what stands in the way of an import of a registry's tree.

    Blocking where the import would stop; with `quarantine` only what no quarantine moves. What would be
    dropped or altered is a warning, with the command that names it all.
    """
    yield from result_problems(read_preflight(world, registry), registry, quarantine=quarantine)


def result_problems(result: PreflightResult, registry: str, *, quarantine: bool = False) -> Iterator[Problem]:
    """Yield the problems of a reading that was made already."""
    stopping = [one for one in result.of(Effect.ABORT) if not (quarantine and one.move)]
    command = f"regctl registry preflight {registry}"
    if stopping:
        movable = all(one.move for one in stopping)
        yield Problem(
            f"the import of {registry} would stop at {_some(stopping)}",
            hint=f"`{command}` names all of it; --quarantine-bad-entries moves it aside, with undo"
            if movable
            else f"`{command}` names all of it and what to do; not all of this is moved by a quarantine",
        )
    lost = result.of(Effect.DROP) + result.of(Effect.ALTER)
    if lost:
        yield Problem(
            f"the import of {registry} would drop or break {len(lost)} entries, {_some(lost)}",
            hint=f"`{command}` names each and says why",
            blocking=False,
        )


def _some(findings: list[PreflightFinding]) -> str:
    shown = [f"{one.path} ({one.kind})" for one in findings[:SHOWN]]
    more = f" and {len(findings) - SHOWN} more" if len(findings) > SHOWN else ""
    return ", ".join(shown) + more
