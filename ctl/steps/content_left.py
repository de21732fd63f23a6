"""What a survey of one host says about preparing it: what stands in the way, what is left and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ctl.errors import Outcome
from ctl.recipes.model import Problem

if TYPE_CHECKING:
    from ctl.report.model import Json
    from ctl.steps.content_survey import HostSurvey

NAMED = 5  # manifests that are left and named in one line; the report has them all


def hindrances(one: HostSurvey, way: str) -> Iterator[Problem]:
    """Say what of a host's survey stands in the way of preparing it; pure."""
    where = one.host
    if one.unreachable:
        hint = "mend that first; the others can be prepared without it by --host, or by --max-fail"
        yield Problem(f"{where}: {one.unreachable}", hint, outcome=Outcome.UNREACHABLE)
        return
    if one.remaining is None or (one.pending and one.doable):
        hint = "regctl database migrate plan --registry NAME shows what is pending; do that first"
        yield Problem(f"{where}: its database is older than its code", hint)
        return
    if not one.doable:
        return
    if one.mode == "none":
        yield Problem(
            f"{where}: its release {one.container} has no command for old content",
            hint="lead it to 2.20 or later first (2.24 is known to do well): regctl upgrade plan",
        )
    if one.preparing:
        yield Problem(
            f"{where}: it is being prepared now, by somebody else",
            hint="wait for it; what this regctl began is ended by --abort",
            outcome=Outcome.LOCKED,
        )
    if way == "whole" and one.hindered:
        reasons = ", ".join(f"{count} {why}" for why, count in sorted(one.hindered.items()))
        yield Problem(
            f"{where}: only its whole command can prepare it, and that may lose content where some of it "
            f"stands in its way: {reasons}",
            hint="regctl content verify names them, and what to do about each",
        )
    if one.cleanups:
        yield Problem(f"{where}: a cleanup of orphans waits or works: it begins after that", blocking=False)


def nothing_to_do(one: HostSurvey) -> str:
    """Say why nothing is to be done on a host."""
    if one.remaining:
        return f"nothing can be done: {left_told(one.remaining, [], one.hindered)}"
    return "nothing is left to do"


def left_told(remaining: int, left: Any, reasons: Mapping[str, int] | None = None) -> str:
    """Say how many manifests are left, why, and the first of them by name."""
    counts = dict(reasons or {})
    if not counts:
        for one in left:
            why = str(one["why"])
            counts[why] = counts.get(why, 0) + 1
    told = [f"{count} {why}" for why, count in sorted(counts.items())][:NAMED]
    names = [str(one["digest"]) for one in left][:NAMED]
    text = f"{remaining} manifest{'s are' if remaining != 1 else ' is'} left"
    text += f" ({'; '.join(told)})" if told else ""
    text += f": {', '.join(names)}" if names else ""
    return text + (" and others" if len(left) > NAMED else "")


def left_figures(one: HostSurvey) -> dict[str, Json]:
    """Return what a survey says is left, for reports."""
    return {
        "remaining": one.remaining,
        "broken": one.broken,
        "skipped": one.skipped,
        "hindered": dict(one.hindered),
        "pre_migrations": dict(one.named),
    }


def estimate(one: HostSurvey, rate: float) -> float | None:
    """Return how many seconds preparing a host takes; a limit of the rate makes it longer."""
    seconds = one.estimated_seconds
    if seconds is None or not rate:
        return seconds
    return round(max(seconds, one.startup + one.doable / rate), 1) if one.doable else 0.0
