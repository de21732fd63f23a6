"""An import tried until it is done or it is clear that it cannot be: locks, lock files, tags, back-off."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ctl.catalog import import_facts
from ctl.catalog.import_state import used
from ctl.engines.gitlab_import_failures import is_transient
from ctl.engines.metadata import ImportOptions, ImportOutput, ImportStep
from ctl.errors import InterruptedRunError, LockedError, RefusedError, RegctlError, UnreachableError
from ctl.recipes.model import Target
from ctl.report.events import Message, Retrying
from ctl.steps.import_job import follow_import, living_job, start_import
from ctl.steps.import_ledger import ImportLedger
from ctl.steps.import_progress import ImportProgress, Totals
from ctl.steps.metadata_doors import metadata_database
from ctl.steps.set_lock_files import SetLockFiles

if TYPE_CHECKING:
    from ctl.database.base import Session
    from ctl.engines.metadata import ImportRecord

FIRST_WAIT = 2.0  # seconds before a second attempt; doubled each time
LONGEST_WAIT = 30.0
_LOCK_WAIT = 5.0  # seconds that the database's lock may take to come free, as after a kill
_TAGS = (ImportStep.ALL, ImportStep.TWO)


@dataclass(frozen=True)
class Imported:
    """How an import ended well: what the program said, what was counted, and how often it was begun."""

    output: ImportOutput
    ledger: ImportLedger
    attempts: int
    statistics: Mapping[str, Any] | None


@dataclass
class Attempts:
    """All attempts of one step of a run."""

    here: Target
    registry: str
    step: str  # the class of the step that journals the jobs
    options: ImportOptions
    before: Mapping[str, Any]
    limit: int
    pause: Callable[[float], None] = time.sleep

    def run(self) -> Imported:
        """Import, whole attempts over where a passing error cut one off.

        Raises the last attempt's error; the lock files are as they were then.
        """
        try:
            return self._all()
        except RegctlError:
            self.restore_lock_files()
            raise

    def _all(self) -> Imported:
        options, ledger, wait = self.options, ImportLedger(), FIRST_WAIT
        for attempt in range(1, self.limit + 1):
            try:
                output = self._once(options, ledger)
                return Imported(output, ledger, attempt, self._row())
            except _PassingError as error:
                if attempt == self.limit:
                    raise UnreachableError(
                        f"the import was cut off {attempt} times; last: {error.message}",
                        hint=error.hint,
                        details=error.details,
                    ) from error
                self.here.run.emit(Retrying(self.step, attempt, wait, error.message))
                self._rest(wait)
                wait = min(LONGEST_WAIT, wait * 2)
                if self._only_blobs_left(options):
                    options = replace(options, step=ImportStep.THREE)  # what is in stays counted
                else:
                    ledger = ImportLedger()
        raise AssertionError("a last attempt ends by a return or an error")

    def _once(self, options: ImportOptions, ledger: ImportLedger) -> ImportOutput:
        with self._held() as session:
            job = living_job(self.here, self.registry, self.step)
            if not job or job in self._judged():
                self._clear_the_way(session, options)
                job = start_import(self.here, self.registry, self.step, options.step.value, options)
            output = self._follow(job, options.step, ledger)
        if not output.complete:
            raise self._failure(job, output)
        return output

    def _follow(self, job: str, step: ImportStep, ledger: ImportLedger) -> ImportOutput:
        totals = Totals.read(self.here.run.notes("PrepareImport"))
        progress = ImportProgress(self.here.run.emit, step, totals)

        def followed(record: ImportRecord) -> None:
            ledger.add(record)
            progress.add(record)

        output = follow_import(self.here, self.registry, job, followed)
        ledger.close()
        progress.end()
        return output

    # -- between two attempts ----------------------------------------------------------------------

    def _failure(self, job: str, output: ImportOutput) -> RegctlError:
        """Journal that this end was looked at, and return what it means."""
        self.here.run.note(judged=[*self._judged(), job])
        failure = output.failure
        if failure is None:
            return RegctlError("the import failed, and said nothing about it")
        details = (failure.last_line,) if failure.last_line else ()
        if is_transient(failure) or failure.kind == "killed":
            return _PassingError(failure.message, hint=failure.hint, details=details)
        return RegctlError(f"the import failed: {failure.message}", hint=failure.hint, details=details)

    def _only_blobs_left(self, options: ImportOptions) -> bool:
        """Say whether an import in one step had taken in all tags when it broke."""
        if options.step is not ImportStep.ALL or options.dry_run:
            return options.step is ImportStep.THREE and self.options.step is ImportStep.ALL
        with contextlib.suppress(RegctlError):
            found = self._statistics()
            return bool(found and found["tag_import_finished_at"] and not found["tag_import_error"])
        return False

    def _clear_the_way(self, session: Session, options: ImportOptions) -> None:
        """End what a killed import left in the server, and take out tags that nobody ever used."""
        from ctl.steps.metadata_lock import end_sessions

        end_sessions(session, import_facts.application_name(self.here.run.id))
        if options.step not in _TAGS or options.dry_run:
            return
        content = import_facts.read_content(session)
        if not content.tags:
            return
        from ctl.steps.backend_evidence import gather

        refusal = used(gather(self.here.world, self.registry), content)
        if refusal is not None:
            raise RefusedError(refusal.message, hint=refusal.hint)
        self.here.run.guard()
        self.here.run.emit(Message("taking out the tags of an import that did not come to its end"))
        import_facts.empty_tags(session)

    def restore_lock_files(self) -> None:
        """Bring back the lock files that were there before: a failed import turns them round."""
        if self.options.step in _TAGS and not self.options.dry_run:
            lock_files(self.registry).undo(self.here, self.before["locks"])

    def _judged(self) -> list[str]:
        known = self.here.run.notes(self.step).get("judged", [])
        return [str(one) for one in known] if isinstance(known, list) else []

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.here.run.stopping():
                raise InterruptedRunError("stopped while waiting to try the import again")
            self.pause(min(0.2, left))

    # -- the database ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _held(self) -> Iterator[Session]:
        """Hold the database's lock while an import works on it. The lock dies with the session."""
        from ctl.database.advisory import METADATA_LOCK, demand_direct, holders, try_lock

        database = metadata_database(self.here.world, self.registry)
        try:
            session = database.connect()
        except UnreachableError as error:
            raise _PassingError(error.message, hint=error.hint) from error
        try:
            demand_direct(session, database.name)
            end = time.monotonic() + _LOCK_WAIT
            while not try_lock(session, METADATA_LOCK):
                if time.monotonic() > end:
                    who = "; ".join(holders(session, METADATA_LOCK)) or "a session that has just ended"
                    raise LockedError(
                        f"the metadata database {database.name} is worked on by {who}",
                        hint="let that end, then run the same command again",
                    )
                time.sleep(0.2)
            yield session
        finally:
            with contextlib.suppress(RegctlError):
                session.close()

    def _row(self) -> dict[str, Any] | None:
        """Return the row of statistics, None where it cannot be asked for now: the import is done."""
        with contextlib.suppress(RegctlError):
            return self._statistics()
        return None

    def _statistics(self) -> dict[str, Any] | None:
        if not self.options.statistics:
            return None
        with metadata_database(self.here.world, self.registry).connect(read_only=True) as session:
            return import_facts.statistics_after(session, int(self.before["statistics_id"]))


class _PassingError(RegctlError):
    """An error that may pass by itself."""


def lock_files(registry: str) -> SetLockFiles:
    """Return the step whose `observe` and `undo` see and bring back a storage's lock files."""
    return SetLockFiles(registry=registry, database_in_use=False, filesystem_in_use=False)
