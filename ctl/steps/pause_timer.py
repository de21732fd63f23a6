"""Pause what works by itself on a host while a registry is under maintenance, and wake it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from ctl.config.models import Timer
from ctl.errors import Outcome, RefusedError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target, Undoable
from ctl.steps import timers
from ctl.steps.maintenance_record import Pause, read_pause, remove_pause, write_pause

if TYPE_CHECKING:
    from ctl.steps.timers import TimerState


class _TimerStep(Step):
    """What the two share: which timer, and for which registry."""

    registry: str
    timer: Timer

    retries: ClassVar[int] = 0

    def host(self) -> str:
        return self.timer.host

    def _name(self) -> str:
        return f"{self.timer.label} on {self.timer.host}"

    def _look(self, here: Target) -> TimerState:
        return timers.look(here.world.host(self.timer.host), self.timer)

    def _record(self, here: Target) -> Pause | None:
        return read_pause(here.world.state_dir, timers.key_of(self.timer))


class PauseTimer(_TimerStep, Undoable):
    """Keep a timer from starting anything, over runs; remember whether it was running before."""

    def title(self) -> str:
        return f"pause {self._name()}"

    def check(self, here: Target) -> Iterator[Problem]:
        found = self._look(here)
        if found.standing in ("running", "stopped"):
            return
        if found.standing == "absent":
            hint = "correct `timers` in the site, or install it"
            yield Problem(f"{self._name()}: {found.detail}", hint, outcome=Outcome.CONFIG)
        elif found.standing == "twice":
            hint = f"compare the two, keep the right one as {self.timer.label}, remove the other"
            yield Problem(f"{self._name()}: {found.detail}", hint)
        else:
            yield Problem(f"{self._name()}: how it stands cannot be told: {found.detail}", "look by hand")

    def observe(self, here: Target) -> Before:
        found, record = self._look(here), self._record(here)
        held = record is not None and self.registry in record.held_by
        return {"standing": found.standing, "facts": dict(found.facts), "held": held}

    def preview(self, here: Target) -> Preview:
        if self._look(here).standing == "running":
            return Preview(self.title())
        record = self._record(here)
        if record is not None and self.registry not in record.held_by:
            return Preview(f"keep {self._name()} paused for {self.registry} too")
        return Preview(f"{self._name()} is stopped already and stays so", changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Write the record first: whatever happens next, `maintenance off` finds the way back."""
        record = self._record(here)
        if record is None:
            found = "running" if before["standing"] == "running" else "stopped"
            since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            record = Pause(self.timer, found, {}, since, before["facts"])  # type: ignore[arg-type]
        if self.registry not in record.held_by:
            here.run.guard()
            held = {**record.held_by, self.registry: here.run.id}
            write_pause(here.world.state_dir, replace(record, held_by=held))
        if self._look(here).standing != "running":
            return StepReport({"found": record.found}, changed=False)
        here.run.guard()
        now = timers.pause(here.world.host(self.timer.host), self.timer)
        busy = f"{now.busy} on {self.timer.host}, which it has started, is still at work"
        return StepReport({"found": record.found}, warnings=(busy,) if now.busy else ())

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Applying again is always safe: a record that is there is kept."""
        record = self._record(here)
        if record is None or self.registry not in record.held_by:
            return "pending"
        return "done" if self._look(here).standing == "stopped" else "partial"

    def verify(self, here: Target) -> Iterator[Problem]:
        found = self._look(here)
        if found.standing != "stopped":
            yield Problem(f"{self._name()} is not paused: {found.detail}", outcome=Outcome.FAILED)

    def undo(self, here: Target, before: Before) -> None:
        record = self._record(here)
        if record is not None and not before["held"]:
            release(here, record, self.registry)


class WakeTimer(_TimerStep):
    """Let a timer work again that maintenance has paused; one that was stopped before stays stopped."""

    def title(self) -> str:
        return f"wake {self._name()}"

    def check(self, here: Target) -> Iterator[Problem]:
        record = self._record(here)
        if record is not None and set(record.held_by) - {self.registry}:
            return
        found = self._look(here)
        if found.standing in ("twice", "unknown"):
            yield Problem(
                f"{self._name()}: {found.detail}",
                f"settle it by hand so that only {self.timer.label} is there, then run this again",
            )
        elif found.standing == "absent" and record is not None and record.found == "running":
            yield Problem(
                f"{self._name()} was running before and is gone ({found.detail}); it cannot be woken",
                "put it back, if it is still wanted",
                blocking=False,
            )

    def observe(self, here: Target) -> Before:
        return {"standing": self._look(here).standing}

    def preview(self, here: Target) -> Preview:
        record = self._record(here)
        if record is None:
            paused = _left_aside(self._look(here))
            return Preview(self.title() if paused else f"{self._name()} is not paused", changes=paused)
        others = sorted(set(record.held_by) - {self.registry})
        if others:
            return Preview(f"{self._name()} stays paused for {', '.join(others)}")
        if record.found == "stopped":
            return Preview(f"{self._name()} was stopped before and stays so")
        return Preview(self.title())

    def apply(self, here: Target, before: Before) -> StepReport:
        record = self._record(here)
        if record is not None:
            return release(here, record, self.registry)
        if not _left_aside(self._look(here)):
            return StepReport(changed=False, not_applicable="it is not paused")
        here.run.guard()
        timers.wake(here.world.host(self.timer.host), self.timer)
        return StepReport()

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Applying again is always safe: what works already is only looked at."""
        return "pending"


def _left_aside(found: TimerState) -> bool:
    """Say whether a cron file lies under the name that only a pause gives it: proof without a record."""
    return found.standing == "stopped" and bool(found.facts)


def release(here: Target, record: Pause, registry: str) -> StepReport:
    """Let go of a timer for a registry; wake it if nobody else holds it and it was running before."""
    state_dir, timer = here.world.state_dir, record.timer
    others: Mapping[str, Any] = {name: run for name, run in record.held_by.items() if name != registry}
    if others:
        here.run.guard()
        write_pause(state_dir, replace(record, held_by=others))
        return StepReport({"stays_paused_for": sorted(others)})
    host, warnings = here.world.host(timer.host), []
    now = timers.look(host, timer)
    if record.found == "running":
        if now.standing == "stopped":
            timers.refuse_changed(timer, record.facts, now)
            here.run.guard()
            timers.wake(host, timer)
        elif now.standing == "running":
            warnings.append(f"{timer.label} on {timer.host} was started by somebody meanwhile")
        elif now.standing == "absent":
            warnings.append(f"{timer.label} on {timer.host} is gone, so it was not started")
        else:
            raise RefusedError(f"{timer.label} on {timer.host}: {now.detail}", hint="settle it by hand")
    elif now.standing == "running":
        warnings.append(f"{timer.label} on {timer.host} was started by somebody meanwhile; it goes on")
    here.run.guard()
    remove_pause(state_dir, record.key)
    return StepReport({"found": record.found}, warnings=tuple(warnings))
