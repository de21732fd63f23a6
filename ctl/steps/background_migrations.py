"""Work off GitLab's background migrations with the registry's own program, supervised."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from ctl.errors import CommandFailedError, InterruptedRunError, Outcome
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.events import Message, Progress
from ctl.report.model import Json, Text
from ctl.steps.metadata_migrations import look_at_migrations, migrating_node
from ctl.steps.overflowed_migration import REMEDY, mark_finished, overflowed

if TYPE_CHECKING:
    from ctl.catalog.metadata_background import BackgroundMigration
    from ctl.database.base import Session
    from ctl.hosts.base import Command
    from ctl.steps.program_job import Ended, ProgramJob

_LOOK_EVERY = 1.0  # seconds
_SAID_EVERY = 10.0
_RETRYING = "retrying run in"  # what the program prints before it tries the same again, for ever


class RunBackgroundMigrations(Step):
    """Run every unfinished background migration to its end; ends the program where it would never end.

    Batches are transactions: one that is cut off is done again. Paused migrations are resumed by the program.
    """

    registry: str
    node: str = ""
    max_retries: int | None = None  # of a job, 1 to 10; the program's default is 2
    timeout_seconds: int = 3600
    finish_overflowed: bool = False  # mark one finished that is proved done and that the program repeats
    wait_seconds: int = 600
    after_migration: bool = False  # an earlier step of the recipe applies what is pending

    retries: ClassVar[int] = 0
    interruptible: ClassVar[bool] = True

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"run the background migrations of {self.registry}"

    def host(self) -> str:
        """The node whose program works, where it was named."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """Every schema migration must be applied, the database ours to change, and no end impossible."""
        from ctl.steps.database_checks import database_problems

        yield from database_problems(here.world, metadata_name(here, self.registry), writing=True)
        found = look_at_migrations(here.world, self.registry, self.node)
        expected = self.after_migration and not here.run.id  # nothing has begun yet
        if found.up_to_date is not True and not expected:
            yield Problem(
                f"database {found.database} lacks schema migrations: background migrations need the "
                "indexes of the post-deployment ones, and the program would try for ever",
                "run `regctl database migrate up` in full first",
            )
        for one in look_at_background(here, self.registry):
            if one.stuck_at_maximum and not self.finish_overflowed:
                yield Problem(overflowed(one), REMEDY)

    def observe(self, here: Target) -> Before:
        """Note what is unfinished."""
        left = [one.name for one in look_at_background(here, self.registry) if one.status != "finished"]
        return {"database": metadata_name(here, self.registry), "unfinished": left}

    def preview(self, here: Target) -> Preview:
        """Say how many are left."""
        left = [one for one in look_at_background(here, self.registry) if one.status != "finished"]
        database = metadata_name(here, self.registry)
        data: dict[str, Json] = {
            "database": database,
            "registry": self.registry,
            "unfinished": [one.name for one in left],
        }
        text = f"database {database}: {len(left)} background migration(s) to finish"
        return Preview(self.title(), bool(left), (Text(text),), data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Run the program until nothing is left, look every second, and end it where it goes in circles."""
        from ctl.steps.metadata_lock import application_name, end_sessions, metadata_lock

        database, own = str(before["database"]), application_name(here.run.id)
        job, end = self._job(here, own), time.monotonic() + self.timeout_seconds
        marked: list[str] = []
        with metadata_lock(here, database, wait=timedelta(seconds=self.wait_seconds), own=own) as session:
            while True:
                marked += self._mark(here, session)
                if not _unfinished(session):
                    break
                watch = _Watch(here, session)
                running = job.unfinished() or job.start(self._command(here))
                left = timedelta(seconds=max(1.0, end - time.monotonic()))
                ended = job.follow(running, left, watch.look, killable=True)
                end_sessions(session, own)
                job.judged(running)
                self._judge(here, session, ended, watch)
                if not watch.stuck and ended.exit_code == 0:
                    break
        job.forget()
        data: dict[str, Json] = {
            "database": database,
            "registry": self.registry,
            "finished": list(before["unfinished"]),
            "marked_finished": list(marked),
        }
        return StepReport(data, changed=bool(before["unfinished"]))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Running it again is safe, and finds a program that is still there."""
        if self._job(here, "").unfinished():
            return "partial"
        left = [one for one in look_at_background(here, self.registry) if one.status != "finished"]
        return "pending" if left else "done"

    def settle(self, here: Target, before: Before) -> None:
        """End a program that still works: its batch rolls back."""
        self._job(here, "").settle(timedelta())

    def verify(self, here: Target) -> Iterator[Problem]:
        """Every background migration must be finished."""
        for one in look_at_background(here, self.registry):
            if one.status != "finished":
                yield Problem(
                    f"background migration {one.name} is {one.status}"
                    + (f": {one.failure}" if one.failure else ""),
                    "`regctl database background status` shows how far it is",
                    outcome=Outcome.FAILED,
                )

    def _command(self, here: Target) -> Command:
        from ctl.steps.metadata_doors import programs

        node = migrating_node(here.world, self.registry, self.node)
        known = programs(here.world, self.registry)
        return known.background_command(node.binary, node.config_file, "run", retries=self.max_retries)

    def _job(self, here: Target, application: str) -> ProgramJob:
        from ctl.steps.program_job import ProgramJob

        host = migrating_node(here.world, self.registry, self.node).host
        return ProgramJob(here, self.registry, host, type(self).__name__, application)

    def _judge(self, here: Target, session: Session, ended: Ended, watch: _Watch) -> None:
        """Raise for every end but a good one, and one that a mark makes good."""
        from ctl.steps.metadata_doors import programs

        if watch.retrying:
            failure = programs(here.world, self.registry).explain(ended.stderr)
            raise CommandFailedError(
                f"{self.title()}: the program repeats what fails: {failure.message}",
                hint=failure.hint,
                details=(failure.last_line,),
            )
        if watch.stuck:
            if self.finish_overflowed:
                return
            raise CommandFailedError(overflowed(watch.stuck[0]), hint=REMEDY)
        if here.run.stopping():
            raise InterruptedRunError(
                "the program was stopped; its last batch was rolled back, the rest stays"
            )
        left = _unfinished(session)
        names = ", ".join(one.name for one in left[:3])
        if ended.timed_out:
            raise CommandFailedError(
                f"{self.title()}: not done after {self.timeout_seconds} s; {len(left)} left: {names}",
                hint="what was done stays; run it again, with a longer --timeout",
            )
        if ended.exit_code != 0:
            failure = programs(here.world, self.registry).explain(ended.stderr)
            raise CommandFailedError(
                f"{self.title()}: {failure.message}", hint=failure.hint, details=(failure.last_line,)
            )

    def _mark(self, here: Target, session: Session) -> list[str]:
        """Mark finished what is proved done and would be repeated for ever."""
        from ctl.catalog.metadata_background import read_background

        if not self.finish_overflowed:
            return []
        stuck = [one for one in read_background(session) or () if one.stuck_at_maximum]
        for one in stuck:
            here.run.guard()
            here.run.note(marked=one.name)
            mark_finished(here, session, one)
        return [one.name for one in stuck]


@dataclass
class _Watch:
    """Looks at the program and the database while it works; says no where it goes in circles."""

    here: Target
    session: Session
    retrying: bool = False
    stuck: tuple[BackgroundMigration, ...] = ()
    _last: float = 0.0
    _said: float = 0.0
    _began: float = 0.0
    _first: float = -1.0

    def look(self, stdout: str) -> bool:
        """Return whether to go on."""
        from ctl.catalog.metadata_background import read_background

        now = time.monotonic()
        if _RETRYING in stdout:
            self.retrying = True
            return False
        if now - self._last < _LOOK_EVERY:
            return True
        self._last = now
        found = read_background(self.session) or ()
        self.stuck = tuple(one for one in found if one.stuck_at_maximum)
        self._tell(now, found)
        return not self.stuck

    def _tell(self, now: float, found: Sequence[BackgroundMigration]) -> None:
        finished = sum(1 for one in found if one.status == "finished")
        done = sum((one.percent or 0.0) / 100 for one in found)
        if self._first < 0:
            self._first, self._began = done, now
        rate = (done - self._first) / (now - self._began) if now > self._began else 0.0
        eta = (len(found) - done) / rate if rate > 0 else None
        self.here.run.emit(Progress("background migrations", finished, len(found), "migrations", rate, eta))
        running = next((one for one in found if one.status == "running"), None)
        if running is not None and now - self._said > _SAID_EVERY:
            self._said = now
            percent = (
                f"{running.percent:.1f} %" if running.percent is not None else f"{running.finished_jobs} jobs"
            )
            self.here.run.emit(Message(f"{running.name}: {percent}"))


def _unfinished(session: Session) -> list[BackgroundMigration]:
    from ctl.catalog.metadata_background import read_background

    return [one for one in read_background(session) or () if one.status != "finished"]


def look_at_background(here: Target, registry: str) -> tuple[BackgroundMigration, ...]:
    """Return a registry's background migrations; none where the database has no such tables."""
    from ctl.catalog.metadata_background import read_background

    with here.world.database(metadata_name(here, registry)).connect(read_only=True) as session:
        return read_background(session) or ()


def metadata_name(here: Target, registry: str) -> str:
    """Return the site's name of a registry's metadata database."""
    from ctl.steps.metadata_doors import metadata_database

    return metadata_database(here.world, registry).name
