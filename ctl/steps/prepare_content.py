"""Prepare the old content of one Pulp: a detached job there, in small transactions, proved at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from ctl.engines.pulp import question
from ctl.errors import InterruptedRunError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.events import Message
from ctl.report.model import Json, Text
from ctl.report.units import duration_text
from ctl.steps.content_ended import error_of
from ctl.steps.content_job import CHUNK_GRACE, DriverEnd, DriverJob, Telling, as_json
from ctl.steps.content_left import estimate, hindrances, left_figures, left_told, nothing_to_do
from ctl.steps.content_survey import HostSurvey, survey
from ctl.steps.job_following import Following, new_job
from ctl.steps.pulp_doors import pulp_node
from ctl.steps.pulp_services import database_is_stopped

if TYPE_CHECKING:
    from ctl.hosts.base import Command
    from ctl.world import World

_FOREVER = 10 * 365 * 86400.0  # seconds: what it works at may take days, and stopping it early is safe
_CLASS = "PrepareContent"


class PrepareContent(Step):
    """Do what is left on one host, by chunks in small transactions; or by Pulp's whole command in one.

    The job's id is journaled before it begins, so that it is followed across broken connections, found again
    after a kill -9 of regctl, and never begun twice. A stop lets the chunk at work end. `rate` is in
    manifests a second and `load` a load average; 0 means no limit.
    """

    pulp: str
    host_name: str
    way: Literal["chunks", "whole"] = "chunks"
    chunk: int = Field(default=200, ge=1, le=1000)
    rate: float = Field(default=0.0, ge=0)
    load: float = Field(default=0.0, ge=0)
    patience_seconds: int = Field(default=120, ge=0)  # that PostgreSQL may stay away
    reconnect_seconds: float = Field(default=600.0, ge=0)  # how long a break of the connection is bridged
    deaths: int = Field(default=3, ge=0)  # how often one that was ended by force is begun again

    interruptible: ClassVar[bool] = True
    retries: ClassVar[int] = 0

    _looked: HostSurvey | None = PrivateAttr(None)
    _earlier: str = PrivateAttr("")

    def surveyed(self, one: HostSurvey | None, earlier: str = "") -> Self:
        """Have checks and preview use what is known already; no argument, so in no journal.

        `earlier` is a job that an earlier run began. Where it is still at work it is followed, with its own
        limits, and nothing is begun beside it.
        """
        self._looked, self._earlier = one, earlier
        return self

    def title(self) -> str:
        """Say what is prepared where."""
        return f"prepare the content of {self.pulp} on {self.host_name}"

    def host(self) -> str:
        """Name the host that it works on."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """Say what stands in the way; within the run the program itself looks, and loses nothing."""
        if not here.run.id and not self._waits(here):
            one = self._look(here.world)
            if one.preparing and self._goes_on(here):
                one = replace(one, preparing=False)  # it is ours: it is followed
            yield from hindrances(one, self.way)

    def observe(self, here: Target) -> Before:
        """Note how much there was to do."""
        one = self._looked
        return {} if one is None else {"remaining": one.remaining, "doable": one.doable, "total": one.total}

    def preview(self, here: Target) -> Preview:
        """Say how much would be done there, how, and for how long."""
        one = self._look(here.world)
        if one.unreachable and self._waits(here):
            text = "How much is left can only be told once its PostgreSQL runs, which is started for it."
            return Preview(self.title(), blocks=(Text(text),), data={"role": one.role})
        data: dict[str, Json] = {
            "role": one.role,
            "remaining": one.remaining,
            "doable": one.doable,
            "broken": one.broken,
            "skipped": one.skipped,
            "way": self.way,
            "estimated_seconds": estimate(one, self.rate),
        }
        if not one.doable:
            why = nothing_to_do(one)
            return Preview(f"{self.pulp} on {self.host_name}: {why}", changes=False, data=data)
        return Preview(self.title(), blocks=(Text(self._told(one)),), data=data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Begin it, or find what an earlier attempt began; prove by a fresh survey what is left.

        PreparationError where it did not come to its end: what was done stays done, and the same command
        goes on from there.
        """
        notes = here.run.notes(_CLASS)
        ended = notes.get("ended")
        if not isinstance(ended, Mapping):
            if "job" not in notes and not (one := self._look(here.world, again=True)).doable:
                return StepReport(self._nothing(one), changed=False, not_applicable=nothing_to_do(one))
            ended = self._drive(here, dict(notes))
            here.run.note(ended=ended)
        self._forget(here)
        return self._proved(here, dict(ended))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Always go on: the id in the journal finds what was begun, and what is done is not done again."""
        return "partial" if here.run.notes(_CLASS).get("job") else "pending"

    def settle(self, here: Target, before: Before) -> None:
        """Let what an interrupted attempt left running end its chunk; raises where that cannot be proved."""
        notes = here.run.notes(_CLASS)
        job = str(notes.get("job", ""))
        if not job or notes.get("ended"):
            return
        host = here.world.host(self.host_name)
        if host.job(job).state == "running":
            here.run.emit(Message(f"[{self.host_name}] the manifests at work are finished first"))
        host.kill_job(job, CHUNK_GRACE)

    # -- the job ---------------------------------------------------------------------------------

    def _drive(self, here: Target, notes: dict[str, Json]) -> dict[str, Any]:
        """Follow the job, begin another one where it was ended by force; return the figures of its end."""
        killed, done, seconds = 0, 0, 0.0
        job, began = str(notes.get("job", "")), float(str(notes.get("began", 0.0)))
        if not job and self._goes_on(here):
            job, began = self._earlier, Following.clock()
            here.run.note(job=job, began=began, host=self.host_name, pulp=self.pulp)
            here.run.emit(Message(f"[{self.host_name}] what an earlier run began is still at work: followed"))
        taken_up = bool(job)
        while True:
            if not job:
                job, began = new_job(here, self.host_name, "content", host=self.host_name, pulp=self.pulp)
            ended_before = taken_up and here.world.host(self.host_name).job(job).state in ("exited", "lost")
            end = self._follow(here, job, began, done, begun=taken_up)
            done, seconds = done + end.done, seconds + end.seconds
            figures = {**self._figures(end), "done": done, "seconds": round(seconds, 3), "jobs": killed + 1}
            if end.how == "done":
                return figures
            if ended_before:
                pass  # whatever ended it was before us: that is what going on is for
            elif end.how == "killed" and killed < self.deaths and not here.run.stopping():
                killed += 1
                text = f"[{self.host_name}] it was ended by force after {done} manifests; it is begun again"
                here.run.emit(Message(text, "warning"))
            else:
                raise error_of(f"{self.pulp} on {self.host_name}", end, figures, self.pulp)
            if here.run.stopping():
                raise InterruptedRunError(f"stopped before it was begun again on {self.host_name}")
            job, taken_up = "", False

    def _goes_on(self, here: Target) -> bool:
        return bool(self._earlier) and here.world.host(self.host_name).job(self._earlier).state == "running"

    def _follow(self, here: Target, job: str, began: float, before: int, *, begun: bool) -> DriverEnd:
        here.run.guard()
        telling = Telling(here.run.emit, self.host_name, before)
        following = DriverJob(
            here, self.host_name, job, _FOREVER, self.reconnect_seconds, began, begun, telling=telling
        )
        return following.work(self._command(here.world))

    def _command(self, world: World) -> Command:
        request = {
            "chunk": self.chunk,
            "rate": self.rate,
            "load": self.load,
            "patience": self.patience_seconds,
        }
        name = "whole" if self.way == "whole" else "prepare"
        return question(pulp_node(world, self.pulp, self.host_name), name, request)

    def _forget(self, here: Target) -> None:
        job = str(here.run.notes(_CLASS).get("job", ""))
        if job:
            Following(here, self.host_name, job, _FOREVER, 0.0).forget()

    def _figures(self, end: DriverEnd) -> dict[str, Any]:
        return {**as_json(end), "host": self.host_name, "way": self.way}

    # -- what it came to -------------------------------------------------------------------------

    def _waits(self, here: Target) -> bool:
        """Say whether nothing can be told before the PostgreSQL of this host is started, within the run."""
        one = self._looked
        return (one is None or bool(one.unreachable)) and database_is_stopped(here, self.pulp, self.host_name)

    def _look(self, world: World, *, again: bool = False) -> HostSurvey:
        if self._looked is None or (again and self._looked.unreachable):
            self._looked = survey(world, self.pulp, (self.host_name,))[0]
        return self._looked

    def _told(self, one: HostSurvey) -> str:
        words = [f"{one.doable:,} of {one.total:,} manifests"]
        if self.way == "whole":
            words.append(
                "by Pulp's whole command in one transaction, as its release has no parts of it to be called"
            )
        else:
            words.append(f"{self.chunk} in a transaction")
        words += [f"at most {self.rate:g} a second"] if self.rate else []
        words += [f"resting while the load is above {self.load:g}"] if self.load else []
        seconds = estimate(one, self.rate)
        words += [f"about {duration_text(seconds)}"] if seconds else []
        return ", ".join(words)

    def _nothing(self, one: HostSurvey) -> dict[str, Json]:
        return {"host": self.host_name, "done": 0, **left_figures(one), "seconds": 0.0}

    def _proved(self, here: Target, ended: dict[str, Any]) -> StepReport:
        """Ask the host what is left now, and say why."""
        one = survey(here.world, self.pulp, (self.host_name,), sample=0)[0]
        seconds = float(ended.get("seconds", 0.0))
        figures: dict[str, Json] = {
            **{key: ended.get(key) for key in ("host", "way", "done", "jobs", "leftovers", "cache")},
            "seconds": seconds,
            "worked_seconds": ended.get("worked", seconds),
            "rate_per_second": round(ended["done"] / seconds, 1) if seconds else 0.0,
            **left_figures(one),
        }
        warnings = []
        if one.unreachable:
            warnings.append(f"done by its own word, and it could not be proved: {one.unreachable}")
        elif one.remaining:
            warnings.append(left_told(one.remaining, ended.get("leftovers") or []))
        if ended.get("cache"):
            warnings.append(f"Pulp's cache could not be emptied: {ended['cache']}")
        return StepReport(figures, changed=bool(ended["done"]), warnings=tuple(warnings))
