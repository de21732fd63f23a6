"""Bring the schema of a Pulp's host up to date with its own manager, and prove it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ctl.engines.pulp import manager_command
from ctl.engines.pulp_migrations import content_follows, explained_failure, migrate_words
from ctl.errors import (
    CommandFailedError,
    LockedError,
    Outcome,
    RefusedError,
    RegctlError,
    UnknownEffectError,
)
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.events import Message
from ctl.report.model import Block, Json, Table, Text
from ctl.steps.job_following import GRACE, Following, new_job
from ctl.steps.pulp_doors import pulp_node
from ctl.steps.pulp_schema import (
    SESSION,
    HostSchema,
    already_migrating,
    api_answers,
    busy,
    few,
    look,
    problems,
    running_services,
)

if TYPE_CHECKING:
    from ctl.steps.job_following import JobEnd

_NAME = "MigratePulp"
_ERRORS: Mapping[Outcome, type[RegctlError]] = {Outcome.LOCKED: LockedError}
_SETTLING = timedelta(minutes=1)  # that a job may go on for where its run backs out


class MigratePulp(Step):
    """Run `pulpcore-manager migrate` on a host, detached; proved by its exit code and an empty plan.

    Nothing takes it back: what Pulp's migrations have changed only a backup brings back. Killed in its
    middle, the job is found again by its id; a single migration is all there or not at all.
    """

    pulp: str
    host_name: str
    timeout_seconds: float = Field(default=7200.0, gt=0)  # of the program; what it applied until then stays
    reconnect_seconds: float = Field(default=120.0, ge=0)  # how long a break of the connection is bridged

    irreversible: ClassVar[bool] = True
    retries: ClassVar[int] = 0

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"migrate the schema of {self.pulp} on {self.host_name}"

    def host(self) -> str:
        """Name the host that it works on."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """Its history must be known to the installed code, and nothing older may be at work on it."""
        if not here.run.id:  # just before its own write `observe` asks the same
            yield from self._hindrances(here, self._look(here))

    def observe(self, here: Target) -> Before:
        """Note what is pending, so that what this run applied can be told."""
        found = self._look(here)
        for problem in self._hindrances(here, found):
            raise _ERRORS.get(problem.outcome, RefusedError)(problem.message, hint=problem.hint)
        return {"pending": list(found.pending), "newest": dict(found.newest)}

    def _hindrances(self, here: Target, found: HostSchema) -> Iterator[Problem]:
        stands = list(problems(found))
        yield from stands
        if stands or not found.pending:
            return
        yield from busy(found)
        yield from api_answers(here.world, found)
        yield from running_services(here, found)
        yield from already_migrating(here.world, pulp_node(here.world, self.pulp, self.host_name))

    def preview(self, here: Target) -> Preview:
        """List what would be applied, in order."""
        found = self._look(here)
        data, blocks = described(found)
        return Preview(self.title(), bool(found.pending), blocks, data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Let the manager work as a job of its own; return when it has ended and its work is proved."""
        pending = [str(one) for one in before["pending"]]
        notes = self._notes(here)
        if not pending and not notes.get("job"):
            data: dict[str, Json] = {**self._named(), "applied": []}
            return StepReport(data, changed=False, not_applicable="nothing is pending")
        ended = notes.get("ended")
        figures = dict(ended) if isinstance(ended, Mapping) else self._run(here, notes)
        if figures["unknown"] or figures["exit_code"] != 0:
            self._failed(here, pending, figures)
        follows = content_follows(pending)
        if follows:
            text = f"{self.host_name}: it brings fields of the content: regctl content status {self.pulp}"
            here.run.emit(Message(text))
        # That nothing of it is left is what `verify` proves.
        return StepReport({**self._named(), "applied": list(pending), "content_follows": follows, **figures})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Go on: the id in the journal finds what was begun, and begins nothing again."""
        return "partial" if self._notes(here).get("job") else "pending"

    def settle(self, here: Target, before: Before) -> None:
        """Give a job that still works its time to end, then end it."""
        notes = self._notes(here)
        if notes.get("job") and not notes.get("ended"):
            host, job = here.world.host(self.host_name), str(notes["job"])
            here.run.emit(Message(f"waiting for the migrations on {self.host_name} to end", "warning"))
            host.wait_job(job, _SETTLING, 0)
            host.kill_job(job, GRACE)

    def verify(self, here: Target) -> Iterator[Problem]:
        """Nothing may be pending any more."""
        found = self._look(here)
        for problem in problems(found):
            yield Problem(problem.message, problem.hint, outcome=Outcome.FAILED)
        if found.pending:
            yield Problem(
                f"{found.name}: `migrate` said that it is done, and this is pending: {few(found.pending)}",
                "is there a second database, or a second installation? See `manager` and `settings_file`",
                outcome=Outcome.FAILED,
            )

    # -- inside ----------------------------------------------------------------------------------

    def _look(self, here: Target) -> HostSchema:
        return look(here.world, self.pulp, self.host_name)

    def _notes(self, here: Target) -> Mapping[str, Json]:
        return here.run.notes(_NAME)

    def _named(self) -> dict[str, Json]:
        return {
            "database": f"{self.pulp}/{self.host_name}",
            "registry": self.pulp,
            "host": self.host_name,
        }

    def _run(self, here: Target, notes: Mapping[str, Json]) -> dict[str, Json]:
        """Run it under an id that is journaled before, and journal how it ended."""
        node = pulp_node(here.world, self.pulp, self.host_name)
        if noted := str(notes.get("job", "")):
            following = self._following(here, noted, float(str(notes["began"])), begun=True)
        else:
            following = self._following(here, *new_job(here, self.host_name, "migrate"))
        here.run.guard()
        command = manager_command(node, *migrate_words())
        # Its sessions are told from others by their name: what is ended here may wait on in PostgreSQL.
        end = following.run(replace(command, env={**command.env, "PGAPPNAME": SESSION}))
        figures = _figures(end)
        if end.over:
            here.run.note(ended=figures)
            following.forget()
        return figures

    def _following(self, here: Target, job: str, began: float = 0.0, *, begun: bool = False) -> Following:
        return Following(
            here, self.host_name, job, self.timeout_seconds, self.reconnect_seconds, began, begun
        )

    def _failed(self, here: Target, pending: Sequence[str], figures: Mapping[str, Json]) -> None:
        """Raise with why it did not end well, and with what is applied all the same."""
        where = f"{self.pulp} on {self.host_name}"
        try:
            left = self._look(here).pending
        except RegctlError as error:
            raise UnknownEffectError(
                f"{where}: `migrate` {figures['unknown'] or 'failed'}; what it applied until then stays",
                hint=f"what is left is not known ({error.message}): `database migrate status` asks again",
                figures={**self._named(), **figures},
            ) from error
        applied = [one for one in pending if one not in left]
        known = {**self._named(), **figures, "applied": applied, "pending": list(left)}
        stays = f"{len(applied)} of {len(pending)} migrations were applied, and stay"
        if figures["unknown"]:
            still = "" if figures["over"] else "; it may still be at work"
            kind = CommandFailedError if figures["over"] else UnknownEffectError
            message = f"{where}: `migrate` {figures['unknown']}; {stays}{still}"
            raise kind(message, hint="run it again, with a longer --timeout if that ended it", figures=known)
        code = figures["exit_code"]
        stdout, stderr = str(figures["stdout"]), str(figures["stderr"])
        failure = explained_failure(stdout, stderr, code if isinstance(code, int) else 1)
        details = tuple(line for line in stderr.splitlines() if line.strip())[-4:]
        message = f"{where}: {failure.message}; {stays}"
        raise CommandFailedError(message, hint=failure.hint, details=details, figures=known)


def _figures(end: JobEnd) -> dict[str, Json]:
    return {
        "job": end.job,
        "exit_code": end.exit_code,
        "stdout": end.stdout.decode(errors="replace"),
        "stderr": end.stderr.decode(errors="replace"),
        "unknown": end.unknown,
        "over": end.over,
    }


def described(found: HostSchema) -> tuple[dict[str, Json], tuple[Block, ...]]:
    """Return what would be applied on a host, for machines and for people."""
    data: dict[str, Json] = {
        "database": found.name,
        "registry": found.registry,
        "host": found.host,
        "versions": dict(found.versions),
        "version": found.version or None,
        "pending": list(found.pending),
        "up_to_date": found.up_to_date,
    }
    what = f"{found.name} (container {found.versions.get('container')}, core {found.versions.get('core')})"
    if not found.pending:
        return data, (Text(f"{what}: nothing is pending"),)
    rows = tuple((one,) for one in found.pending)
    title = f"{what}: {len(found.pending)} migration(s) pending"
    return data, (Text(title), Table(("migration",), rows))
