"""Run the registry's own program as a detached job, follow it, and find it again after a kill -9."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.errors import CommandFailedError
from ctl.report.events import Message
from ctl.steps.registry_program import program

if TYPE_CHECKING:
    from ctl.hosts.base import Command, Host
    from ctl.recipes.model import Target

POLL_SECONDS = 0.2
GRACE = timedelta(seconds=30)


@dataclass(frozen=True)
class Ended:
    """How a job ended. `exit_code` None: nobody knows, because it was killed from outside."""

    exit_code: int | None
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool = False


@dataclass(frozen=True)
class ProgramJob:
    """The jobs that one step of a run starts on one host, one after the other."""

    here: Target
    registry: str
    host_name: str
    step: str  # the step's class
    application: str  # what its sessions in PostgreSQL are called

    @property
    def host(self) -> Host:
        """The host it runs on."""
        return self.here.world.host(self.host_name)

    def ids(self) -> list[str]:
        """Return the ids of all jobs that the step has started, also before a crash."""
        known = self.here.run.notes(self.step).get("jobs", [])
        return [str(one) for one in known] if isinstance(known, list) else []

    def unfinished(self) -> str:
        """Return the job whose end was not looked at yet, "" for none."""
        judged = self.here.run.notes(self.step).get("judged", [])
        left = [one for one in self.ids() if not (isinstance(judged, list) and one in judged)]
        if left and self.host.job(left[-1]).state == "absent":
            return ""  # noted, and killed before it was started
        return left[-1] if left else ""

    def start(self, command: Command) -> str:
        """Start a program; its id is journaled first, so that a regctl killed in between finds it again."""
        jobs = self.ids()
        # A recipe may have the same step twice, each with notes of its own: the number alone is not unique.
        job = f"{self.here.run.id}-{self.step.lower()}-{len(jobs) + 1}-{os.urandom(2).hex()}"
        environment = {**command.env, "PGAPPNAME": self.application}
        call = program(
            self.here.world, self.registry, self.host_name, replace(command, env=environment), timeout=None
        )
        self.here.run.note(jobs=[*jobs, job])
        self.here.run.guard()
        self.host.start(call, job)
        return job

    def follow(
        self,
        job: str,
        timeout: timedelta,
        watch: Callable[[str], bool] = lambda stdout: True,
        *,
        killable: bool = False,
    ) -> Ended:
        """Return when the program has ended and nothing of it is left.

        `watch` sees all of its stdout at every look, and ends it by returning False. On `timeout`, counted
        from this call, it is ended too. A stop by the operator ends it where it is `killable`; otherwise it
        is told and left to finish, because half an index would be left behind.
        """
        began, told = time.monotonic(), False
        timed_out = False
        while self.host.job(job).state == "running":
            if time.monotonic() - began > timeout.total_seconds():
                timed_out = True
                break
            if not watch(self._output(job, "stdout")):
                break
            if self.here.run.stopping() and killable:
                break
            if self.here.run.stopping() and not told:
                told = True
                text = "the program is left to finish: ending it could leave half-built indexes"
                self.here.run.emit(Message(text, "warning"))
            time.sleep(POLL_SECONDS)
        self.host.kill_job(job, GRACE)
        status = self.host.job(job)
        code = status.exit_code if status.state == "exited" else None
        seconds = time.monotonic() - began
        return Ended(code, self._output(job, "stdout"), self._output(job, "stderr"), seconds, timed_out)

    def judged(self, job: str) -> None:
        """Journal that the end of a job was looked at: the next attempt starts a new one."""
        known = self.here.run.notes(self.step).get("judged", [])
        self.here.run.note(judged=[*(known if isinstance(known, list) else []), job])

    def settle(self, patience: timedelta) -> None:
        """Let what still runs finish for a while, then end it; for a run that backs out."""
        job = self.unfinished()
        if job and self.host.job(job).state in ("running", "unknown"):
            self.here.run.emit(Message(f"waiting for the program to end (job {job})", "warning"))
            self.follow(job, patience)
        elif job:
            self.host.kill_job(job, GRACE)

    def forget(self) -> None:
        """Delete what the jobs have printed; they have ended."""
        for job in self.ids():
            if self.host.job(job).state not in ("running", "unknown", "absent"):
                self.host.forget_job(job)

    def _output(self, job: str, stream: str) -> str:
        data = self.host.job_output(job, "stdout" if stream == "stdout" else "stderr")
        return data.decode(errors="replace")


def lost(what: str) -> CommandFailedError:
    """Return the error for a program whose end nobody saw."""
    return CommandFailedError(
        f"{what} was killed from outside; nobody knows how far it came",
        hint="look with `regctl database migrate status`, then run the command again",
    )
