"""Whether preparing beforehand is worth it: what it saves of downtime, and what the next release needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.engines.pulp_releases import serves_unprepared
from ctl.recipes.model import Look, Preview, Target
from ctl.report.model import Text
from ctl.report.units import duration_text

if TYPE_CHECKING:
    from packaging.version import Version

    from ctl.steps.content_survey import HostSurvey


@dataclass(frozen=True)
class Worth:
    """Whether it is needed beforehand, and why (or why not)."""

    needed: bool
    why: str


def worth(
    surveys: Sequence[HostSurvey], minutes: float, *, to: Version | None = None, although_short: bool = False
) -> Worth:
    """Judge all hosts together: their downtimes come one after the other. `minutes` of it are not worth it.

    `to` is the release that comes next. Where it, or the one that runs now, serves nothing that is not
    prepared, preparing is always needed; so it is where nobody can tell how long it takes.
    """
    left = [one for one in surveys if one.doable]
    if any(one.unreachable for one in surveys):
        return Worth(True, "not every host can be asked how long it takes")
    if not left:
        return Worth(True, "nothing is left to do")
    if although_short:
        return Worth(True, "asked for by --although-short")
    broken = [one for one in left if one.container is not None and not serves_unprepared(one.container)]
    if broken:
        hosts = ", ".join(one.host for one in broken)
        return Worth(True, f"{broken[0].container} on {hosts} serves nothing that is not prepared")
    if to is not None and not serves_unprepared(to):
        return Worth(True, f"{to} serves nothing that is not prepared")
    seconds = [one.estimated_seconds for one in left]
    known = [one for one in seconds if one is not None]
    if len(known) < len(left):
        return Worth(True, "nobody can tell how long it takes")
    if sum(known) >= minutes * 60:
        return Worth(True, f"it saves about {duration_text(sum(known))} of downtime")
    hosts = f"{len(left)} host{'s' * (len(left) != 1)}"
    saved = f"it would save about {duration_text(sum(known))} of downtime on {hosts}"
    return Worth(False, f"not needed beforehand: {saved}, less than {minutes:g} minutes")


class NotWorth(Look):
    """What stands in a recipe in place of preparing where that is not needed: it says so, and why."""

    pulp: str
    why: str

    def title(self) -> str:
        """Say that it is not needed."""
        return f"prepare the content of {self.pulp}: {self.why}"

    def preview(self, here: Target) -> Preview:
        """Say what is to be done instead."""
        return Preview(self.title(), changes=False, blocks=(Text(INSTEAD),))


INSTEAD = (
    "It can then be done after the upgrade, with pulls of old images failing meanwhile where the new release "
    "serves nothing that is not prepared. --although-short does it now; --to VERSION says which release "
    "comes next, and one that serves nothing unprepared always needs it."
)
