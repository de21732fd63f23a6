"""The words every effect is written in: Step, Scope, Recipe, and the values they exchange.

A step is its arguments: a frozen pydantic model, so that the journal can store it, a YAML recipe can
name it with checked fields, and `run resume` can build it again. `check`, `observe`, `preview` and
`probe` only read; `apply`, `undo` and `leave` write; `verify` measures what the write was for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from ctl.errors import Outcome
from ctl.report.events import Event
from ctl.report.model import Block, Json, Text

if TYPE_CHECKING:
    from ctl.world import World

Before = Mapping[str, Any]  # JSON-able state before a step; journaled with the intent
ProbeAnswer = Literal["pending", "done", "partial", "unknown"]


@dataclass(frozen=True)
class Problem:
    """Something a check or a verify found. A blocking one stops the recipe before its next write."""

    message: str
    hint: str = ""
    blocking: bool = True
    outcome: Outcome = Outcome.REFUSED  # the exit of the whole command when it blocks
    name: str = ""  # of a check that an operator may skip by `--skip NAME`; "" cannot be skipped


@dataclass(frozen=True)
class Preview:
    """What a step would do. `changes` False means that there is nothing to do."""

    title: str
    changes: bool = True
    blocks: tuple[Block, ...] = ()
    data: Mapping[str, Json] = field(default_factory=dict)

    @property
    def titled(self) -> tuple[Block, ...]:
        """The blocks below the title."""
        return (Text(self.title), *self.blocks)


@dataclass(frozen=True)
class StepReport:
    """What a step did: figures for the command's report, and whether anything changed."""

    data: Mapping[str, Json] = field(default_factory=dict)
    changed: bool = True
    warnings: tuple[str, ...] = ()
    not_applicable: str = ""  # why there was nothing for it here: never reported as "ok"


class Run(Protocol):
    """The run that a step is part of."""

    id: str
    epoch: int  # of the lock it holds; 0 in checks and previews
    recipe: str
    seen: dict[tuple[str, ...], Any]  # looks of a check that its preview need not take again

    def emit(self, event: Event) -> None:
        """Tell the operator something."""
        ...

    def stopping(self) -> bool:
        """Say whether the operator asked to stop; an interruptible step then raises at a safe point."""
        ...

    def guard(self) -> None:
        """Raise LockedError unless this run's claim still stands; called before every write."""
        ...

    def note(self, **facts: Json) -> None:
        """Journal facts of the running step at once (fsynced), such as a job id; `notes` brings them back."""
        ...

    def notes(self, step: str) -> Mapping[str, Json]:
        """Return what a step of this run, named by its class, has noted so far (also before a crash)."""
        ...


@dataclass(frozen=True)
class Target:
    """What a step may touch: the doors, through `world`, and the run that it is part of."""

    world: World
    run: Run


class Step(BaseModel):
    """One effect. Subclass it in `ctl/steps/NAME.py`; its fields are its arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interruptible: ClassVar[bool] = False  # whether Ctrl-C may stop it in the middle
    irreversible: ClassVar[bool] = False  # whether nothing can take it back
    retries: ClassVar[int] = 3  # how often a TransientError is tried again
    skippable: ClassVar[tuple[str, ...]] = ()  # names of its problems that `--skip NAME` may pass over

    def __eq__(self, other: object) -> bool:
        """Two are equal if their arguments are: what one has looked at beforehand is none of them."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return type(self).__name__

    def host(self) -> str:
        """Name the host that it acts on, for the journal's key; "" is the controller itself."""
        return ""

    def check(self, here: Target) -> Iterator[Problem]:
        """Say what stands in the way; reads only. Runs before the recipe's first write and before its own."""
        return iter(())

    def observe(self, here: Target) -> Before:
        """Describe the state before, JSON-able; journaled with the intent, for undo, leave and resume."""
        return {}

    def preview(self, here: Target) -> Preview:
        """Say what it would do; reads only."""
        return Preview(self.title())

    def apply(self, here: Target, before: Before) -> StepReport | None:
        """Do it. Doing it again after a crash in the middle must be safe."""
        raise NotImplementedError(type(self).__name__)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Say how far an interrupted apply came; reads only. Resume asks it.

        "pending" promises that nothing of it was done: a run that backs out then takes back what came before.
        """
        return "unknown"

    def settle(self, here: Target, before: Before) -> None:
        """Make sure that nothing of an interrupted apply still runs; raise if that cannot be proved.

        Called instead of `apply` when the scopes around it are to be left after a crash, before any of
        them is. A step that starts detached jobs ends them here.
        """

    def verify(self, here: Target) -> Iterator[Problem]:
        """Measure the post-condition."""
        return iter(())


class Look(Step):
    """A step that is its checks: it stands where something must hold, and changes nothing."""

    def preview(self, here: Target) -> Preview:
        """Nothing would change."""
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Change nothing: the checks have run just before."""
        return StepReport(changed=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Looking again is safe."""
        return "pending"


class Undoable(Step):
    """A step that can be taken back."""

    def undo(self, here: Target, before: Before) -> None:
        """Bring back the state that `observe` saw."""
        raise NotImplementedError(type(self).__name__)


class Scope(Step):
    """An effect that must always be undone: entered by `apply`, left on success, failure and resume."""

    def leave(self, here: Target, before: Before) -> StepReport | None:
        """Bring back what `observe` saw: never open what was closed, never start what was stopped.

        Called again after a crash in its middle, and also when `apply` did not finish; both must be safe.
        """
        raise NotImplementedError(type(self).__name__)


@dataclass(frozen=True)
class Do:
    """A step in a recipe; `because` says why it stands there, for whoever reads the preview."""

    step: Step
    because: str = ""


@dataclass(frozen=True)
class Within:
    """Scopes entered in order, a body, and the scopes left in reverse order, whatever happens."""

    scopes: tuple[Scope, ...]
    body: tuple[Do | Within | Across, ...]
    because: str = ""


@dataclass(frozen=True)
class Row:
    """What happens on one host, in order; its scopes are left before the row ends, whatever happens.

    ValueError where it holds rows itself.
    """

    host: str
    body: tuple[Do | Within, ...]

    def __post_init__(self) -> None:
        if _holds_rows(self.body):
            raise ValueError(f"the row of {self.host} holds rows")


@dataclass(frozen=True)
class Across:
    """Rows of several hosts, side by side; what fails on one host does not touch the others.

    ValueError where two rows have one host, or a limit is negative.
    """

    rows: tuple[Row, ...]
    canary: int = 0  # so many rows alone first; the others only if none of them failed
    at_once: int = 10  # rows side by side after that
    max_fail: int = 0  # more failed or unreachable rows than this: no further row is started
    because: str = ""

    def __post_init__(self) -> None:
        hosts = [row.host for row in self.rows]
        if len(set(hosts)) != len(hosts) or not all(hosts):
            raise ValueError("each row of an Across needs a host of its own")
        if self.canary < 0 or self.max_fail < 0 or self.at_once < 1:
            raise ValueError("canary and max_fail are not negative, and at_once is at least 1")


Item = Do | Within | Across


def _holds_rows(items: tuple[Item, ...]) -> bool:
    return any(isinstance(i, Across) or (isinstance(i, Within) and _holds_rows(i.body)) for i in items)


@dataclass(frozen=True)
class Recipe:
    """An ordered list of steps and scopes."""

    name: str
    items: tuple[Item, ...]
    resources: tuple[str, ...]  # what it locks: "registry/<name>", "database/<name>"
    title: str = ""
    question: str = ""  # asked before the first write; "" where the change needs no confirmation
    decided_by: str = ""  # the class of the step that says whether there is anything to do; "" is any step
    undo_on_failure: bool = False  # take completed Undoable steps back when a later one fails


StepResultWord = Literal[
    "ok",
    "changed",
    "failed",
    "warned",
    "not-applicable",
    "skipped",
    "not-attempted",
    "unreachable",
    "unknown",  # begun, and nobody can tell how it ended
]


@dataclass(frozen=True)
class StepRecord:
    """How one step of a run ended."""

    path: str
    step: str  # the class's name
    title: str
    host: str
    result: StepResultWord
    reason: str = ""
    started_at: str = ""
    ended_at: str = ""
    data: Mapping[str, Json] = field(default_factory=dict)
    phase: Literal["apply", "leave", "undo"] = "apply"


RunWord = Literal["dry-run", "done", "failed", "interrupted", "open"]


@dataclass(frozen=True)
class HostRecord:
    """How the row of one host ended; `seconds` that it took, 0 where it never began."""

    host: str
    result: StepResultWord
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class RunReport:
    """How a run ended. In a dry run `id` is "" and `previews` is all there is."""

    id: str
    recipe: str
    state: RunWord
    outcome: Outcome
    steps: tuple[StepRecord, ...] = ()
    previews: tuple[Preview, ...] = ()
    problems: tuple[Problem, ...] = ()
    hosts: tuple[HostRecord, ...] = ()  # of the rows, where the recipe has any; one for each host

    def data(self, step: str) -> Mapping[str, Json]:
        """Return the figures of the last step of that class, {} if it did not run."""
        found: Mapping[str, Json] = {}
        for record in self.steps:
            if record.step == step:
                found = {**found, **record.data}
        return found
