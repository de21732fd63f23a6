"""Apply the pending migrations of GitLab's metadata database with the registry's own program."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from ctl.engines.metadata import MigrationLimits
from ctl.errors import CommandFailedError, Outcome, RefusedError, RegctlError, TransientError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.events import Message, Progress
from ctl.report.model import Block, Json, Table, Text
from ctl.steps.metadata_migrations import (
    MetadataMigrations,
    index_problems,
    look_at_migrations,
    migrating_node,
    migration_problems,
    newer_programs,
    unconfigured,
)

if TYPE_CHECKING:
    from ctl.database.base import Session
    from ctl.engines.metadata import ProgramFailure
    from ctl.hosts.base import Command
    from ctl.steps.program_job import Ended, ProgramJob

_COUNT_EVERY = 1.0  # seconds between two looks at the bookkeeping while the program works
_AGAIN = frozenset({"concurrent", "unreachable", "refused", "too-many-connections"})


class MigrateMetadata(Step):
    """Apply pending migrations; proved by the program's OK line, an empty plan, and no unusable index.

    Safe to do again: what is applied stays, and a program that a killed regctl left behind is found.
    """

    registry: str
    node: str = ""  # whose program migrates; the first one unless given
    limit: int | None = None  # pre-deployment migrations; alone, it leaves the other kind untouched
    post_limit: int | None = None  # post-deployment migrations; likewise
    skip_post_deployment: bool = False
    wait_seconds: int = 600  # for another controller at work on the same database
    timeout_seconds: int = 7200  # of the program; index builds on large tables take their time
    deferred: bool = False  # an earlier step of the recipe makes what it needs: looked at when its turn comes

    skippable: ClassVar[tuple[str, ...]] = ("invalid-indexes",)

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        kind = "pre-deployment migrations" if self.skip_post_deployment else "metadata database"
        return f"migrate the {kind} of {self.registry} up"

    def host(self) -> str:
        """The node whose program works, where it was named."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """The database must be ours to change, known to this program, and without half-built indexes."""
        from ctl.steps.database_checks import database_problems

        if self.deferred and not here.run.id:
            return
        found = self._look(here)
        if found.unconfigured:
            error = unconfigured(self.registry, migrating_node(here.world, self.registry, self.node))
            yield Problem(error.message, error.hint, outcome=error.outcome)
            return
        yield from migration_problems(found)
        yield from index_problems(found.state, found.database)
        yield from newer_programs(here.world, self.registry, found.host)
        if found.up_to_date is not True:
            yield from database_problems(here.world, found.database, writing=True)

    def observe(self, here: Target) -> Before:
        """Note what is applied, so that what this run added can be told."""
        found = self._look(here)
        return {"database": found.database, "applied": list(found.state.ids)}

    def preview(self, here: Target) -> Preview:
        """List what would be applied, as far as the program may be asked."""
        try:
            found = self._look(here)
        except RegctlError as error:
            if not self.deferred:
                raise
            return Preview(self.title(), True, (Text(f"what is pending is not known yet: {error.message}"),))
        data, blocks = described(found)
        return Preview(self.title(), found.up_to_date is not True, blocks, data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Wait for the database's lock, look again, let the program work, and count what it applied."""
        from ctl.steps.metadata_lock import application_name, metadata_lock

        database, own = str(before["database"]), application_name(here.run.id)
        job = self._job(here, own)
        with metadata_lock(here, database, wait=timedelta(seconds=self.wait_seconds), own=own) as session:
            running = job.unfinished()
            if not running:
                found = self._look(here)
                if found.up_to_date:
                    here.run.emit(Message(f"database {database}: nothing is pending (any more)"))
                    return self._report(database, session, before)
                self._demand_sound(found)
                running = job.start(self._command(here))
            ended = job.follow(running, timedelta(seconds=self.timeout_seconds), self._watch(here, session))
            job.judged(running)
            self._demand_done(here, session, ended, own)
            job.forget()
            return self._report(database, session, before, ended)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """A program that is still there is followed; else the bookkeeping says what is left."""
        if self._job(here, "").unfinished():
            return "partial"
        return "done" if self._look(here).up_to_date else "pending"

    def settle(self, here: Target, before: Before) -> None:
        """Give a program that still works a minute to end by itself."""
        self._job(here, "").settle(timedelta(minutes=1))

    def verify(self, here: Target) -> Iterator[Problem]:
        """Nothing may be pending that was asked for, and every index must be usable."""
        found = self._look(here)
        limited = self.limit is not None or self.post_limit is not None
        if found.failure is not None:
            yield Problem(found.failure.message, found.failure.hint, outcome=Outcome.FAILED)
        elif found.up_to_date is not True and not limited:
            left = ", ".join(found.pending.ids) if found.pending else found.reason
            yield Problem(
                f"database {found.database}: the program said OK, and this is still pending: {left}",
                "is the database that the registry's configuration names the one in the site?",
                outcome=Outcome.FAILED,
            )
        for problem in index_problems(found.state, found.database):
            yield replace(problem, outcome=Outcome.FAILED)

    def limits(self) -> MigrationLimits:
        """The program's own limits."""
        return MigrationLimits(self.limit, self.post_limit, self.skip_post_deployment)

    def _look(self, here: Target) -> MetadataMigrations:
        return look_at_migrations(here.world, self.registry, self.node, self.limits())

    def _job(self, here: Target, application: str) -> ProgramJob:
        from ctl.steps.program_job import ProgramJob

        host = migrating_node(here.world, self.registry, self.node).host
        return ProgramJob(here, self.registry, host, type(self).__name__, application)

    def _command(self, here: Target) -> Command:
        from ctl.steps.metadata_doors import programs

        node = migrating_node(here.world, self.registry, self.node)
        known = programs(here.world, self.registry)
        return known.migrate_up_command(node.binary, node.config_file, self.limits())

    def _demand_sound(self, found: MetadataMigrations) -> None:
        problem = next(migration_problems(found), None)
        if problem is not None:
            raise RefusedError(problem.message, hint=problem.hint)

    def _watch(self, here: Target, session: Session) -> Callable[[str], bool]:
        from ctl.catalog.metadata_schema import read_schema
        from ctl.steps.metadata_doors import programs

        parse = programs(here.world, self.registry).parse_plan
        began = last = time.monotonic()
        first = len(read_schema(session).ids)

        def watch(stdout: str) -> bool:
            nonlocal last
            if time.monotonic() - last < _COUNT_EVERY:
                return True
            last = time.monotonic()
            total = len(parse(stdout).ids)
            done = len(read_schema(session).ids) - first
            rate = done / (last - began)
            eta = (total - done) / rate if rate and total else None
            here.run.emit(Progress(self.title(), done, total, "migrations", rate, eta))
            return True

        return watch

    def _demand_done(self, here: Target, session: Session, ended: Ended, own: str) -> None:
        from ctl.catalog.metadata_schema import read_schema
        from ctl.steps.metadata_doors import programs
        from ctl.steps.metadata_lock import end_sessions
        from ctl.steps.program_job import lost

        known = programs(here.world, self.registry)
        if ended.exit_code == 0 and known.parse_done(ended.stdout) is not None:
            return
        if ended.timed_out:
            end_sessions(session, own)
        state = read_schema(session)
        left = tuple(problem.message for problem in index_problems(state, "") if problem.blocking)
        if ended.timed_out:
            raise CommandFailedError(
                f"{self.title()}: the program was ended after {self.timeout_seconds} s",
                hint="what was applied stays; run it again, with a longer --timeout",
                details=left,
            )
        if ended.exit_code is None or ended.exit_code < 0:
            raise lost(self.title())
        raise _failed(self.title(), known.explain(ended.stderr), left, ended.exit_code)

    def _report(
        self, database: str, session: Session, before: Before, ended: Ended | None = None
    ) -> StepReport:
        from ctl.catalog.metadata_schema import read_schema

        known = set(before["applied"])
        # Where no program of ours ran, somebody else applied what is new.
        applied = [one for one in read_schema(session).ids if one not in known] if ended else []
        data: dict[str, Json] = {
            "database": database,
            "registry": self.registry,
            "applied": list(applied),
            "seconds": round(ended.seconds, 3) if ended else 0.0,
        }
        return StepReport(data, changed=bool(applied))


def _failed(title: str, failure: ProgramFailure, indexes: Sequence[str], code: int) -> RegctlError:
    message = f"{title}: {failure.message}"
    if code == 0:
        message = f"{title}: the program ended without its OK line, which alone proves success"
    details = tuple(filter(None, (failure.last_line, *indexes)))
    if failure.kind in _AGAIN:
        return TransientError(message, hint=failure.hint, details=details)
    return CommandFailedError(message, hint=failure.hint, details=details)


def described(found: MetadataMigrations) -> tuple[dict[str, Json], tuple[Block, ...]]:
    """Return what would be applied, for machines and for people."""
    plan = found.pending
    data: dict[str, Json] = {
        "database": found.database,
        "registry": found.registry,
        "host": found.host,
        "known": found.complete,
        "pending": list(plan.ids) if plan else [],
        "phases": {"pre": list(plan.pre), "post": list(plan.post)} if plan else None,
        "up_to_date": found.up_to_date,
        "reason": found.reason,
    }
    where = f"database {found.database}"
    if plan is None:
        return data, (Text(f"{where}: {found.reason}"),)
    if not plan.ids and not found.unnamed:
        return data, (Text(f"{where}: nothing is pending"),)
    text = (
        f"{where}: {len(plan.pre)} pre-deployment and {len(plan.post)} post-deployment migration(s) pending"
    )
    rows = [(one, "pre-deployment") for one in plan.pre] + [(one, "post-deployment") for one in plan.post]
    blocks: list[Block] = [Text(text), Table(("migration", "phase"), tuple(rows))] if rows else []
    if found.reason:
        blocks.append(Text(f"{where}: {found.reason}"))
    return data, tuple(blocks)
