"""Bring a database to the shipped migrations, or take migrations back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ctl.database.migrations import Migration, MigrationState
from ctl.database.migrator import Loss, Migrator, losses, refusal, taken_back
from ctl.errors import InterruptedRunError, Outcome
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.events import Message
from ctl.report.model import Block, Json, Table, Text
from ctl.steps.database_state import look, shipped


def _migrator(here: Target, name: str, verb: str) -> Migrator:
    from ctl.listing import own_version

    def before_each(migration: str) -> None:
        if here.run.stopping():
            raise InterruptedRunError(f"stopped before migration {migration}; what was done before it stays")
        here.run.guard()
        here.run.emit(Message(f"database {name}: {verb} {migration}"))

    return Migrator(here.world.database(name), shipped(), own_version(), before_each=before_each)


def _refused(state: MigrationState | None, name: str) -> Iterator[Problem]:
    error = refusal(state, name) if state else None
    if error:
        yield Problem(error.message, error.hint)


def _ids(before: Before) -> list[str]:
    return [str(one) for one in before.get("ids", ())]


def in_words(lost: list[Loss]) -> str:
    """Name what is lost: what holds rows by its name, the empty rest by its number."""
    names = [f"{loss.what} ({loss.rows:,} rows)" for loss in lost if loss.rows]
    empty = len(lost) - len(names)
    if empty:
        names.append(f"{empty} empty table(s)")
    return ", ".join(names) or "no table"


class MigrateUp(Step):
    """Apply the pending migrations of a database, each whole or not at all."""

    database: str
    limit: int | None = None
    skip_post_deployment: bool = False

    interruptible: ClassVar[bool] = True  # between two migrations

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"migrate database {self.database} up"

    def check(self, here: Target) -> Iterator[Problem]:
        """Refuse a database that is not regctl's, or that a newer regctl migrated."""
        yield from _refused(look(here.world, self.database), self.database)

    def observe(self, here: Target) -> Before:
        """Note what is to be applied, so that a resume applies that and nothing more."""
        return {"ids": [one.id for one in self._chosen(look(here.world, self.database))]}

    def preview(self, here: Target) -> Preview:
        """List what would be applied. A stopped database cannot say what it has, so: what at most."""
        state = look(here.world, self.database)
        chosen = self._chosen(state)
        known = state is not None
        if not chosen:
            text = f"database {self.database}: nothing is pending"
        elif known:
            text = f"database {self.database}: {len(chosen)} migration(s) would be applied"
        else:
            text = f"database {self.database} is stopped, so what it lacks is not known; at most these"
        blocks: list[Block] = [Text(text)]
        if chosen:
            rows = tuple((one.id, f"{one.phase}-deployment") for one in chosen)
            blocks.append(Table(("migration", "phase"), rows))
        data: dict[str, Json] = {
            "database": self.database,
            "pending": [one.id for one in chosen],
            "known": known,
        }
        return Preview(self.title(), bool(chosen), tuple(blocks), data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Apply them one by one, under the database's own lock."""
        applied = _migrator(here, self.database, "applying").up(_ids(before))
        return StepReport({"database": self.database, "applied": applied}, changed=bool(applied))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Each migration is there or not, and the bookkeeping says which."""
        state = look(here.world, self.database)
        if state is None:
            return "pending"
        left = {one.id for one in state.pending} & set(_ids(before))
        return "done" if not left else "pending" if len(left) == len(_ids(before)) else "partial"

    def verify(self, here: Target) -> Iterator[Problem]:
        """Look whether anything is still pending, and for indexes that were left unfinished."""
        state = look(here.world, self.database)
        left = self._chosen(state) if self.limit is None else ()
        if left:
            names = ", ".join(one.id for one in left)
            yield Problem(f"database {self.database}: still pending: {names}", outcome=Outcome.FAILED)
        for index in state.invalid_indexes if state else ():
            yield Problem(
                f"database {self.database}: index {index} is not usable",
                hint=f"drop it and create it again: REINDEX INDEX CONCURRENTLY regctl.{index}",
                outcome=Outcome.FAILED,
            )

    def _chosen(self, state: MigrationState | None) -> tuple[Migration, ...]:
        whole = state or MigrationState((), shipped())
        return whole.chosen(self.limit, skip_post=self.skip_post_deployment)


class MigrateDown(Step):
    """Take migrations back, the last one first. What stood in their tables is lost."""

    database: str
    limit: int | None = None
    accept_data_loss: bool = False

    interruptible: ClassVar[bool] = True
    irreversible: ClassVar[bool] = True

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"migrate database {self.database} down"

    def check(self, here: Target) -> Iterator[Problem]:
        """Refuse to lose anything that was not named and accepted."""
        state = look(here.world, self.database)
        yield from _refused(state, self.database)
        if state is None:
            yield Problem(
                f"database {self.database} is stopped, so what would be lost cannot be named",
                hint=f"run `regctl database start --database {self.database}` first",
                outcome=Outcome.UNREACHABLE,
            )
        elif self._chosen(state) and not self.accept_data_loss:
            lost = in_words(self._losses(here, state))
            yield Problem(
                f"database {self.database}: taking back {self._names(state)} loses {lost}",
                hint="give --accept-data-loss if that is meant",
            )

    def observe(self, here: Target) -> Before:
        """Note what is to be taken back, so that a resume takes back that and nothing more."""
        state = look(here.world, self.database)
        return {"ids": [one.id for one in self._chosen(state)] if state else []}

    def preview(self, here: Target) -> Preview:
        """Name every table and column that is lost, with its rows."""
        state = look(here.world, self.database)
        chosen = self._chosen(state) if state else ()
        data = {"database": self.database, "ids": [one.id for one in chosen]}
        if state is None or not chosen:
            text = Text(f"database {self.database}: nothing is applied")
            return Preview(self.title(), False, (text,), data)
        lost = self._losses(here, state)
        blocks: list[Block] = [Text(f"database {self.database}: {self._names(state)} would be taken back")]
        if lost:
            rows = tuple((loss.what, str(loss.rows or 0), loss.migration) for loss in lost)
            blocks.append(Table(("lost", "rows", "migration"), rows, right=frozenset({"rows"})))
        found = [{"what": loss.what, "rows": loss.rows, "migration": loss.migration} for loss in lost]
        return Preview(self.title(), True, tuple(blocks), {**data, "lost": found})

    def apply(self, here: Target, before: Before) -> StepReport:
        """Take them back one by one, under the database's own lock."""
        taken = _migrator(here, self.database, "taking back").down(_ids(before))
        return StepReport({"database": self.database, "taken_back": taken}, changed=bool(taken))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Each migration is there or not, and the bookkeeping says which."""
        state = look(here.world, self.database)
        if state is None:
            return "pending"
        left = {one.id for one in state.applied} & set(_ids(before))
        return "done" if not left else "pending" if len(left) == len(_ids(before)) else "partial"

    def _chosen(self, state: MigrationState) -> tuple[Migration, ...]:
        return taken_back(state, shipped(), self.limit)

    def _names(self, state: MigrationState) -> str:
        return ", ".join(one.id for one in self._chosen(state))

    def _losses(self, here: Target, state: MigrationState) -> list[Loss]:
        with here.world.database(self.database).connect(read_only=True) as session:
            return losses(session, self._chosen(state))
