"""How preparing content ended where it did not come to its end, as errors that say what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ctl.engines.pulp import explained
from ctl.errors import CommandFailedError, Outcome, UnknownEffectError

if TYPE_CHECKING:
    from ctl.steps.content_job import DriverEnd


class PreparationError(CommandFailedError):
    """Preparing did not come to its end; `outcome` says how the command ends, `figures` how far it came."""

    def __init__(
        self, message: str, outcome: Outcome, *, hint: str = "", figures: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, hint=hint, figures=figures)
        self.outcome = outcome


def error_of(where: str, end: DriverEnd, figures: Mapping[str, Any], pulp: str) -> CommandFailedError:
    """Return the error for a program that did not come to its end: how far it came, and what to do next."""
    done = figures["done"]
    so_far = f"{done} manifest{'s' * (done != 1)} done, nothing is half-done"
    again = "mend that and run the same command: it goes on from there"
    if end.how == "unknown":
        return UnknownEffectError(
            f"{where}: it {end.why}; it goes on there, and loses nothing",
            hint=f"regctl content status {pulp} tells when it is over",
            figures=figures,
        )
    if end.how == "stopped":
        hint = "the same command goes on from there"
        return PreparationError(
            f"{where} was stopped: {so_far}", Outcome.INTERRUPTED, hint=hint, figures=figures
        )
    if end.how == "locked":
        why = end.why or "a cleanup of orphans is at work there"
        hint = f"wait for it: regctl content status {pulp}"
        return PreparationError(f"{where}: {why}", Outcome.LOCKED, hint=hint, figures=figures)
    if end.how == "hindered":
        text = f"{where}: its whole command would break what stands in its way: {end.why}"
        hint = f"regctl content verify {pulp} names them, and what to do about each"
        return PreparationError(text, Outcome.REFUSED, hint=hint, figures=figures)
    if end.how == "away":
        text = f"{where}: its PostgreSQL stayed away for too long ({end.why}); {so_far}"
        hint = f"start it, look at its log and its disk; {again}"
        return PreparationError(text, Outcome.UNREACHABLE, hint=hint, figures=figures)
    if end.how == "killed":
        text = f"{where}: it was ended by force {figures['jobs']} times; {so_far}"
        hint = "look for who ends it, perhaps the kernel for want of memory: a smaller --chunk takes less"
        return PreparationError(text, Outcome.FAILED, hint=hint, figures=figures)
    found = explained(where, end.exit_code, end.stdout, end.stderr)
    text = f"{where}: {end.why}" if end.why else found.message
    away = "PostgreSQL" in (found.hint or "")
    outcome = Outcome.UNREACHABLE if away else Outcome.FAILED
    return PreparationError(f"{text}; {so_far}", outcome, hint=found.hint or again, figures=figures)
