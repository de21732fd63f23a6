"""Run a program on a host as a job of its own: begun once, followed across breaks, ended by its time limit.

The job's id is journaled before it is begun, and claimed over there by whoever begins it. So after a cut
connection or a kill -9 of regctl the same id finds the same job, and nothing is begun twice. What is not
known stays unknown: a program that was ended, or whose end nobody saw, is neither done nor failed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from ctl.errors import CommandFailedError, RegctlError, UnknownEffectError
from ctl.fleet.reach import state_dir
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Json, Text
from ctl.steps.job_following import GRACE, Following, JobEnd, new_job

if TYPE_CHECKING:
    from ctl.hosts.base import Command
    from ctl.secret import Secret

DEFAULT_TIMEOUT = 3600.0  # seconds
_SECRET_WORD = re.compile(r"^--?[a-z0-9-]*(password|passwd|passphrase|secret|token)[a-z0-9-]*(=|$)", re.I)


class RunProgram(Step):
    """Run a program on a host, detached; a non-zero exit code is a failure.

    `stdin_secret` is a reference (`file:/path`) to what the program gets on its standard input. `earlier` is
    the job of an earlier run whose end is not known: where it is still there its end is taken, and nothing
    is begun. `goes_on` says that it may go on where the run backs out: only where no scope is around it.
    """

    host_name: str
    argv: tuple[str, ...] = Field(min_length=1)
    user: str | None = None  # None: as the site says (`become`, else the login user)
    timeout_seconds: float = Field(default=DEFAULT_TIMEOUT, gt=0)
    reconnect_seconds: float = Field(default=120.0, ge=0)  # how long a break of the connection is bridged
    stdin_secret: str | None = None
    earlier: str = ""
    goes_on: bool = False

    retries: ClassVar[int] = 0

    @field_validator("argv")
    @classmethod
    def _callable(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if not argv[0] or any("\0" in word for word in argv):
            raise ValueError("needs a program first, and no NUL byte in any argument")
        return argv

    def title(self) -> str:
        """Say what runs where."""
        return f"run {shown(self.argv, 60)} on {self.host_name}"

    def host(self) -> str:
        """Name the host that it runs on."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """The secret must be there; an argument that looks like one is told of."""
        if any(_SECRET_WORD.match(word) for word in self.argv[1:]):
            yield Problem(
                f"an argument of {self.argv[0]} looks like a secret: everybody on {self.host_name} sees it",
                hint="give it on the program's standard input: --stdin-secret file:/path",
                blocking=False,
            )
        try:
            self._secret(here)
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)

    def preview(self, here: Target) -> Preview:
        """Show the exact call."""
        lines = [shown(self.argv, 2000), f"It is ended after {self.timeout_seconds:g} s."]
        lines += [f"It runs as {self.user}."] if self.user else []
        lines += ["It gets a secret on its standard input."] if self.stdin_secret else []
        data: dict[str, Json] = {"host": self.host_name, "argv": list(self.argv)}
        return Preview(self.title(), blocks=(Text("\n".join(lines)),), data=data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Begin it, or find the job that an earlier attempt began; return when it has ended.

        CommandFailedError for a non-zero exit code, UnknownEffectError where its end is not known.
        """
        notes = self._notes(here)
        ended = notes.get("ended")
        if isinstance(ended, Mapping):  # killed after its end was journaled
            if not ended["rest"]:
                self._following(here, str(ended["job"])).forget()
            return self._judged(dict(ended))
        secret = self._secret(here)
        end = self._adopted(here, notes) or self._run(here, notes, self._command(secret))
        figures = self._figures(here, end, secret)
        if end.over:
            here.run.note(ended=figures)
        if end.over and end.whole and end.exit_code is not None:
            self._following(here, end.job).forget()
        return self._judged(figures)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Always go on: the id in the journal finds what was begun, and begins nothing again."""
        return "partial" if self._notes(here).get("job") else "pending"

    def settle(self, here: Target, before: Before) -> None:
        """End what an interrupted attempt left running; raises where that cannot be proved."""
        if self.goes_on:
            return  # nothing is built on its being over, and its end is still to be had by its id
        job = self._notes(here).get("job")
        if job and not self._notes(here).get("ended"):
            here.world.host(self.host_name).kill_job(str(job), GRACE)

    # -- inside ----------------------------------------------------------------------------------

    def _notes(self, here: Target) -> Mapping[str, Json]:
        return here.run.notes("RunProgram")

    def _run(self, here: Target, notes: Mapping[str, Json], command: Command) -> JobEnd:
        """Run it under an id that is journaled before."""
        if noted := str(notes.get("job", "")):
            following = self._following(here, noted, float(str(notes["began"])), begun=True)
        else:
            following = self._following(here, *new_job(here, self.host_name, "1"))
        here.run.guard()
        return following.run(command)

    def _adopted(self, here: Target, notes: Mapping[str, Json]) -> JobEnd | None:
        """Return the end of an earlier run's job; None where there is none to be had."""
        if not self.earlier or "job" in notes:
            return None
        return self._following(here, self.earlier, Following.clock()).adopt()

    def _following(self, here: Target, job: str, began: float = 0.0, *, begun: bool = False) -> Following:
        return Following(
            here, self.host_name, job, self.timeout_seconds, self.reconnect_seconds, began, begun
        )

    def _secret(self, here: Target) -> Secret | None:
        return here.world.resolve_secret(self.stdin_secret) if self.stdin_secret else None

    def _command(self, secret: Secret | None) -> Command:
        from ctl.hosts.base import Command

        return Command(self.argv, stdin=secret or b"", user=self.user)

    def _figures(self, here: Target, end: JobEnd, secret: Secret | None) -> dict[str, Json]:
        def text(data: bytes) -> str:
            found = data.decode("utf-8", "replace")
            return found.replace(secret.reveal(), "***") if secret and secret.reveal() else found

        return {
            "job": end.job,
            "exit_code": end.exit_code,
            "timed_out": end.timed_out,
            "stdout": text(end.stdout),
            "stderr": text(end.stderr),
            "stdout_bytes": end.stdout_bytes,
            "stderr_bytes": end.stderr_bytes,
            "rest": ""
            if end.whole and end.over
            else f"{state_dir(here.world, self.host_name)}/jobs/{end.job}",
            "unknown": end.unknown,
        }

    def _judged(self, figures: dict[str, Json]) -> StepReport:
        code, where = figures["exit_code"], f"{self.argv[0]} on {self.host_name}"
        if figures["unknown"]:
            raise UnknownEffectError(
                f"{where} {figures['unknown']}: what it did is not known",
                hint=f"look at {self.host_name} before you run it again",
                figures=figures,
            )
        if code != 0:
            last = str(figures["stderr"] or figures["stdout"]).splitlines()[-5:]
            ended = f"signal {-code}" if isinstance(code, int) and code < 0 else f"exit code {code}"
            raise CommandFailedError(f"{where} ended with {ended}", details=tuple(last), figures=figures)
        return StepReport(figures)


def shown(argv: tuple[str, ...], limit: int) -> str:
    """Return argv as one could type it, cut off at a length."""
    text = shlex.join(argv)
    return text if len(text) <= limit else text[: limit - 3] + "..."
