"""Build the unusable indexes of GitLab's metadata database anew, without locking its tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from ctl.errors import InterruptedRunError, LockedError, Outcome
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.events import Message
from ctl.report.model import Block, Json, Table, Text
from ctl.steps.metadata_migrations import repair_statements

if TYPE_CHECKING:
    from ctl.catalog.metadata_schema import InvalidIndex
    from ctl.database.base import Session

# What an interrupted REINDEX CONCURRENTLY leaves beside the index: https://www.postgresql.org/docs/15/sql-reindex.html
_LEFTOVER = re.compile(r".*_cc(new|old)\d*")


class RepairIndexes(Step):
    """Rebuild invalid indexes one by one, concurrently; then the indexes of the partitioned tables above."""

    registry: str
    wait_seconds: int = 600

    interruptible: ClassVar[bool] = True  # between two indexes

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"rebuild the unusable indexes of {self.registry}"

    def check(self, here: Target) -> Iterator[Problem]:
        """The database must be ours to change."""
        from ctl.steps.database_checks import database_problems

        if self._broken(here):
            yield from database_problems(here.world, self._database(here), writing=True)

    def observe(self, here: Target) -> Before:
        """Note which indexes are broken."""
        return {"database": self._database(here), "indexes": [one.full_name for one in self._broken(here)]}

    def preview(self, here: Target) -> Preview:
        """Name each index with the SQL that repairs it."""
        broken, database = self._broken(here), self._database(here)
        data: dict[str, Json] = {
            "database": database,
            "registry": self.registry,
            "invalid_indexes": [one.full_name for one in broken],
        }
        if not broken:
            return Preview(self.title(), False, (Text(f"database {database}: every index is usable"),), data)
        rows = tuple((one.full_name, one.table, "; ".join(repair_statements(one))) for one in broken)
        blocks: tuple[Block, ...] = (Table(("index", "table", "repair"), rows),)
        return Preview(self.title(), True, blocks, data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Rebuild them under the database's lock. Done again, it clears what a first attempt left."""
        from ctl.catalog.metadata_schema import read_schema
        from ctl.steps.metadata_lock import metadata_lock

        database, done = str(before["database"]), list[Json]()
        with metadata_lock(here, database, wait=timedelta(seconds=self.wait_seconds)) as session:
            for index in read_schema(session).broken_indexes:
                if index.partitioned:
                    continue
                if here.run.stopping():
                    raise InterruptedRunError(
                        f"stopped before index {index.full_name}; the others are rebuilt"
                    )
                here.run.guard()
                here.run.emit(Message(f"database {database}: rebuilding {index.full_name}"))
                _rebuild(session, index)
                done.append(index.full_name)
            for index in read_schema(session).broken_indexes:
                if index.partitioned:
                    here.run.guard()
                    _revalidate(session, index)
                    done.append(index.full_name)
        return StepReport(
            {"database": database, "registry": self.registry, "repaired": done}, changed=bool(done)
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Each index is usable or not."""
        return "pending" if self._broken(here) else "done"

    def verify(self, here: Target) -> Iterator[Problem]:
        """No index may be unusable."""
        for index in self._broken(here):
            yield Problem(
                f"index {index.full_name} is still not valid",
                "is a part of it missing? compare the partitions of its table with its parts",
                outcome=Outcome.FAILED,
            )

    def _database(self, here: Target) -> str:
        from ctl.steps.metadata_doors import metadata_database

        return metadata_database(here.world, self.registry).name

    def _broken(self, here: Target) -> tuple[InvalidIndex, ...]:
        from ctl.catalog.metadata_schema import read_schema

        with here.world.database(self._database(here)).connect(read_only=True) as session:
            return read_schema(session).broken_indexes


def _rebuild(session: Session, index: InvalidIndex) -> None:
    from ctl.database.identifiers import with_names

    if _LEFTOVER.fullmatch(index.name):
        session.execute(with_names("DROP INDEX CONCURRENTLY IF EXISTS {}.{}", index.schema, index.name))
        return
    session.execute(with_names("REINDEX INDEX CONCURRENTLY {}.{}", index.schema, index.name))
    if index.parent:
        _attach(session, index.parent, index.full_name)


def _revalidate(session: Session, index: InvalidIndex) -> None:
    """Attach a part that is attached already: the server then looks again whether all of them are valid."""
    rows = session.rows(
        "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_inherits h"
        " JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_class p ON p.oid = h.inhparent"
        " JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace"
        " WHERE pn.nspname = %s AND p.relname = %s LIMIT 1",
        (index.schema, index.name),
    )
    for (part,) in rows:
        _attach(session, index.full_name, str(part))


def _attach(session: Session, parent: str, part: str) -> None:
    from ctl.database.advisory import Ladder, climb
    from ctl.database.identifiers import with_names

    schema, _, name = parent.partition(".")
    part_schema, _, part_name = part.partition(".")
    statement = with_names("ALTER INDEX {}.{} ATTACH PARTITION {}.{}", schema, name, part_schema, part_name)

    def work() -> None:
        session.execute(statement)

    if not climb(session, Ladder(), work):
        raise LockedError(
            f"index {parent} is locked by another session's transaction",
            hint="let that end, then run the command again",
        )
