"""What a health check is, and what it found, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ctl.steps.content_survey import HostSurvey
    from ctl.views import SiteView
    from ctl.world import World

Word = Literal["ok", "warned", "failed", "not-applicable"]
Result = Literal["ok", "warned", "failed", "not-applicable", "skipped"]
PATIENCE = 12.0  # seconds for each round of questions: longer than `status`, since silence is a failure here
_WORST: tuple[Word, ...] = ("failed", "warned", "ok", "not-applicable")


@dataclass(frozen=True)
class Seen:
    """One thing that a check looked at. `remedy` is shown and never done."""

    where: str
    word: Word
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Checked:
    """How a check came out. A skipped one was evaluated all the same: `would_be` says how it stands."""

    name: str
    result: Result
    seen: tuple[Seen, ...]
    would_be: Word
    errored: bool = False  # the check itself failed, so nothing is known
    reason: str = ""  # why it was skipped
    seconds: float = 0.0

    @property
    def bad(self) -> bool:
        """Whether anything needs attention, skipped or not."""
        return self.would_be in ("warned", "failed")


def worst(seen: Sequence[Seen]) -> Word:
    """Return the word of a whole check; what nothing applies to is not-applicable, never ok."""
    words = {one.word for one in seen}
    return next((word for word in _WORST if word in words), "not-applicable")


class Looker:
    """What the checks look with. The look at the whole site is taken once, and shared."""

    def __init__(self, world: World, names: Sequence[str], site_file: str) -> None:
        self.world = world
        self.registries = tuple(name for name in names if name not in world.site.pulps)
        self.pulps = tuple(name for name in names if name in world.site.pulps)
        self.site_file = site_file
        self._view: SiteView | None = None
        self._surveys: dict[str, tuple[HostSurvey, ...]] | None = None
        self._surveying = Lock()
        self._mutex = Lock()

    @property
    def view(self) -> SiteView:
        """How the site stands, as `regctl status` sees it."""
        from ctl.overview import look

        with self._mutex:
            if self._view is None:
                self._view = look(self.world, [*self.registries, *self.pulps], PATIENCE)
            return self._view

    @property
    def surveys(self) -> dict[str, tuple[HostSurvey, ...]]:
        """How far each Pulp's hosts are, by its name; each host's manager is started once for it."""
        from ctl.steps.content_survey import survey

        with self._surveying:
            if self._surveys is None:
                self._surveys = {name: survey(self.world, name, sample=0, files=False) for name in self.pulps}
            return self._surveys


@dataclass(frozen=True)
class HealthCheck:
    """A check by its name."""

    name: str
    help: str
    look: Callable[[Looker], Iterable[Seen]]
