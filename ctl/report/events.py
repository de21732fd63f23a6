"""What a command says while it works. Values only; `ctl.report.*` turn them into text or JSON lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ctl.report.model import Block


@dataclass(frozen=True)
class Event:
    """Something happened."""


@dataclass(frozen=True)
class Message(Event):
    """A sentence for the operator. `level` is "info", "warning" or "error"."""

    text: str
    level: str = "info"


@dataclass(frozen=True)
class Progress(Event):
    """How far a long job is. `total` 0 means not known; `eta_seconds` None means no estimate yet."""

    task: str
    done: int
    total: int
    unit: str
    rate: float = 0.0  # units a second
    eta_seconds: float | None = None
    finished: bool = False
    detail: str = ""  # what is at work just now, such as the hosts and their steps


@dataclass(frozen=True)
class StepStarted(Event):
    """A step (or scope) begins. `phase` is "apply", "leave", "verify" or "undo"."""

    run: str
    step: str  # its path in the recipe, e.g. "2.1"
    host: str
    title: str
    phase: str
    host_of_row: str = ""  # where it is part of what is done on one of several hosts


@dataclass(frozen=True)
class StepEnded(Event):
    """A step (or scope) ended. `result` is one of the step results of the design."""

    run: str
    step: str
    host: str
    title: str
    phase: str
    result: str
    seconds: float
    reason: str = ""
    host_of_row: str = ""


@dataclass(frozen=True)
class RowStarted(Event):
    """The work on one of several hosts begins."""

    run: str
    row: str  # its path in the recipe, e.g. "2.r1"
    host: str


@dataclass(frozen=True)
class RowEnded(Event):
    """The work on one of several hosts ended. `result` is one of the step results of the design."""

    run: str
    row: str
    host: str
    result: str
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Retrying(Event):
    """A transient error: the same step is tried again after a wait."""

    step: str
    attempt: int
    wait_seconds: float
    reason: str


@dataclass(frozen=True)
class Output(Event):
    """One line that a driven program printed."""

    host: str
    stream: str
    line: str


@dataclass(frozen=True)
class Planned(Event):
    """What one step is about to do, told before the operator is asked and before the first write."""

    title: str
    blocks: tuple[Block, ...] = ()
    changes: bool = True


EventSink = Callable[[Event], None]
