"""What works by itself on a host, at rest for as long as a Pulp's content is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from ctl.config.models import Timer
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Scope, StepReport, Target
from ctl.steps import timers
from ctl.steps.maintenance_record import read_pause
from ctl.steps.pause_timer import PauseTimer, release

if TYPE_CHECKING:
    from ctl.steps.timers import TimerState
    from ctl.world import World


class TimerRests(Scope):
    """Within it a timer starts nothing; afterwards it is as it was found.

    Its record counts who holds it, as that of `maintenance on` does: a timer that rests for somebody else
    too stays at rest.
    """

    pulp: str
    timer: Timer

    retries: ClassVar[int] = 0

    def title(self) -> str:
        """Name the timer."""
        return f"let {self.timer.label} on {self.timer.host} rest"

    def host(self) -> str:
        """The timer's host."""
        return self.timer.host

    def check(self, here: Target) -> Iterator[Problem]:
        """It must be there, and stand in a way that can be told."""
        yield from self._pausing.check(here)

    def observe(self, here: Target) -> Before:
        """Remember how it stands, and whether it rests for this Pulp already."""
        return self._pausing.observe(here)

    def preview(self, here: Target) -> Preview:
        """Say whether it would be paused."""
        found: TimerState = timers.look(here.world.host(self.timer.host), self.timer)
        if found.standing == "running":
            return Preview(f"{self.title()}, and let it work again afterwards")
        return Preview(
            f"{self.timer.label} on {self.timer.host} is stopped already and stays so", changes=False
        )

    def apply(self, here: Target, before: Before) -> StepReport:
        """Pause it, its record first: whatever happens then, the way back is found."""
        return self._pausing.apply(here, before)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Tell by the record and the timer."""
        return self._pausing.probe(here, before)

    def verify(self, here: Target) -> Iterator[Problem]:
        """It must start nothing now."""
        yield from self._pausing.verify(here)

    def leave(self, here: Target, before: Before) -> StepReport:
        """Let it work again, where it did and nobody else holds it."""
        record = read_pause(here.world.state_dir, timers.key_of(self.timer))
        holder = self._pausing.registry
        if record is None or holder not in record.held_by or before["held"]:
            return StepReport(changed=False)
        return release(here, record, holder)

    @property
    def _pausing(self) -> PauseTimer:
        return PauseTimer(registry=f"{self.pulp} (content)", timer=self.timer)


def timer_scopes(world: World, pulp: str, host: str) -> tuple[TimerRests, ...]:
    """Return the scopes for what works by itself on a host: the site's timers there, and the Pulp's own."""
    found = [timer for timer in timers.timers_of(world.site, pulp) if timer.host == host]
    return tuple(TimerRests(pulp=pulp, timer=timer) for timer in found)
