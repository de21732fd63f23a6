"""Follow the program that prepares a Pulp's content: its lines as they come, across breaks, to its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from ctl.engines.pulp import answers
from ctl.errors import InterruptedRunError
from ctl.report.events import Message, Progress
from ctl.steps.job_following import SHOWN, Following, JobEnd

if TYPE_CHECKING:
    from ctl.hosts.base import Command, JobTail
    from ctl.report.events import EventSink

CHUNK_GRACE = timedelta(minutes=10)  # that the chunk at work gets, once it is the last one, before KILL
LOOK = timedelta(seconds=1)  # between two looks at what it has printed
_PIECE = 256 * 1024  # bytes of output that are read at a time
_KILLED = (None, -9)  # what it leaves where nobody asked it to stop
_STOPPED = (6, -15, -1, -2)  # the signals: where they came before it listened

Ended = Literal["done", "stopped", "locked", "away", "hindered", "killed", "failed", "unknown"]


@dataclass(frozen=True)
class DriverEnd:
    """How one program ended. `facts` are its last figures, those of its last progress where it was killed."""

    how: Ended
    why: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def done(self) -> int:
        """How many manifests it did."""
        return int(self.facts.get("done", 0))

    @property
    def seconds(self) -> float:
        """How long it worked, rests included."""
        return float(self.facts.get("seconds", 0.0))


@dataclass
class Telling:
    """What it prints, told as progress of one host; `before` is what earlier programs did."""

    emit: EventSink
    host: str
    before: int = 0
    last: Mapping[str, Any] = field(default_factory=dict, init=False)  # of the figures
    end: Mapping[str, Any] | None = field(default=None, init=False)
    startup: float = field(default=0.0, init=False)
    _rest: bytes = field(default=b"", init=False)
    _resting: str = field(default="", init=False)

    def feed(self, piece: bytes) -> None:
        """Take what came; a line that is not whole yet waits for the rest of it."""
        whole, _, self._rest = (self._rest + piece).rpartition(b"\n")
        for fact in answers(whole):
            kind = str(fact["regctl"])
            getattr(self, f"_on_{kind}", self._on_other)(fact)

    def _on_other(self, fact: Mapping[str, Any]) -> None:
        """Pass over what another version may say."""

    def _on_begin(self, fact: Mapping[str, Any]) -> None:
        self.startup = float(fact.get("startup", 0.0))

    def _on_progress(self, fact: Mapping[str, Any]) -> None:
        self.last, self._resting = fact, ""
        self._tell(finished=False)

    def _on_resting(self, fact: Mapping[str, Any]) -> None:
        self.last = {**self.last, **{key: fact[key] for key in fact if key not in ("regctl", "why")}}
        why = str(fact.get("why", ""))
        kind = why.split(":")[0].rstrip("0123456789. ")
        if kind != self._resting:
            self._resting = kind
            self.emit(Message(f"[{self.host}] rests: {why}"))

    def _on_end(self, fact: Mapping[str, Any]) -> None:
        self.end = fact
        self.last = fact
        self._tell(finished=True)

    def _tell(self, *, finished: bool) -> None:
        done, failed = int(self.last.get("done", 0)), int(self.last.get("failed", 0))
        left = int(self.last.get("left", 0) if not finished else self.last.get("undone", 0))
        seconds = float(self.last.get("seconds", 0.0))
        rate = done / seconds if done and seconds > 0 else 0.0
        total = self.before + done + failed + left
        eta = left / rate if rate and not finished else None
        task = f"[{self.host}] prepared"
        event = Progress(task, self.before + done + failed, total, "manifests", rate, eta, finished)
        self.emit(event)


@dataclass
class DriverJob(Following):
    """One such program as a job; `telling` hears its lines."""

    telling: Telling = field(kw_only=True)
    offset: int = field(default=0, init=False)
    asked: bool = field(default=False, init=False)  # whether the host has answered since we came
    told: bool = field(default=False, init=False)

    def work(self, command: Command) -> DriverEnd:
        """Begin it, unless it is there already, and return how it ended; told to stop, it ends its chunk.

        InterruptedRunError where it was to stop before anything had begun, UnreachableError likewise.
        """
        self.may_begin = True

        def look(patience: timedelta) -> JobTail:
            if self.here.run.stopping():
                self._stop()
            brief = min(patience, LOOK)
            if self.asked:
                tail = self.host.wait_job(self.job, brief, SHOWN)
            else:
                tail = self.host.run_job(command, self.job, brief, SHOWN)
                self.asked = True
            self._read()
            return tail

        return self._judged(self._follow(look))

    def finish_chunk(self) -> None:
        """Ask it to stop, and return when it has: after the chunk at work."""
        text = f"[{self.host_name}] the manifests at work are finished first; nothing is broken off"
        self.here.run.emit(Message(text))
        self.host.kill_job(self.job, CHUNK_GRACE)

    def _stop(self) -> None:
        if not self.begun:
            raise InterruptedRunError("stopped before anything had begun")
        if not self.told:
            self.finish_chunk()
            self.told = True

    def _read(self) -> None:
        while True:
            piece = self.host.job_output(self.job, "stdout", self.offset, _PIECE)
            self.offset += len(piece)
            self.telling.feed(piece)
            if len(piece) < _PIECE:
                return

    def _judged(self, end: JobEnd) -> DriverEnd:
        found = judged(end, self.telling.end, asked=self.told)
        return replace(found, facts=found.facts or self.telling.last)


def judged(end: JobEnd, said: Mapping[str, Any] | None, *, asked: bool) -> DriverEnd:
    """Say how a program ended, by its last word and its exit code together; `asked`: whether to stop."""

    def found(how: Ended, why: str = "") -> DriverEnd:
        return DriverEnd(how, why, said or {}, end.exit_code, end.stdout, end.stderr)

    if not end.over:
        return found("unknown", end.unknown)
    if said is not None:
        how, why = str(said.get("state", "")), str(said.get("why", ""))
        known: Mapping[str, tuple[int, ...]] = {
            "done": (0, 3), "stopped": (6,), "hindered": (6,), "locked": (5,), "busy": (5,), "away": (7,)
        }  # fmt: skip
        if end.exit_code in known.get(how, ()):
            return found("locked" if how == "busy" else how, why)  # type: ignore[arg-type]
        if end.exit_code not in _KILLED:
            return found("failed", why or f"it said {how or 'nothing'} and left exit code {end.exit_code}")
    if end.exit_code in _STOPPED:
        return found("stopped", "it was told to stop before it had begun")
    if end.exit_code in _KILLED:
        return found("stopped" if asked else "killed", "it was ended by force")
    return found("failed")


def as_json(end: DriverEnd) -> dict[str, Any]:
    """Return what of an end is journaled."""
    found: dict[str, Any] = json.loads(json.dumps({"how": end.how, "why": end.why, **end.facts}))
    return found
