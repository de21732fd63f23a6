"""Take migrations of GitLab's metadata database back. What stood in its tables is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from ctl.engines.metadata import MigrationLimits, PendingMigrations
from ctl.errors import CommandFailedError, Outcome, RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Block, Json, Table, Text
from ctl.steps.metadata_migrations import demand_same_database, metadata_registries, migrating_node

if TYPE_CHECKING:
    from ctl.catalog.metadata_loss import TableRows
    from ctl.steps.program_job import ProgramJob

_ASK = timedelta(minutes=1)
_SILENT = (
    "taking a pre-deployment migration back also drops what post-deployment ones built on it, and the "
    "bookkeeping goes on saying that those are applied: a later `up` does not bring them back"
)


class MigrateMetadataDown(Step):
    """Take migrations back, post-deployment ones first; all of them without a limit."""

    registry: str
    node: str = ""
    limit: int | None = None
    post_limit: int | None = None
    accept_data_loss: bool = False
    wait_seconds: int = 600
    timeout_seconds: int = 7200

    irreversible: ClassVar[bool] = True
    retries: ClassVar[int] = 0

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"migrate the metadata database of {self.registry} down"

    def host(self) -> str:
        """The node whose program works, where it was named."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """Refuse while anybody uses the database, and to lose anything that was not named and accepted."""
        from ctl.steps.database_checks import database_problems

        yield from served(here, self.registry)
        yield from database_problems(here.world, self._database(here), writing=True)
        plan = self._plan(here)
        if plan.ids and not self.accept_data_loss:
            yield Problem(
                f"database {self._database(here)}: taking back {_short(plan)} loses "
                f"{in_words(self._rows(here))}; {_SILENT}",
                "give --accept-data-loss if that is meant; --dry-run lists it all",
            )

    def observe(self, here: Target) -> Before:
        """Note what is to be taken back, and every table and index that is there."""
        from ctl.catalog.metadata_loss import objects

        database = self._database(here)
        with here.world.database(database).connect(read_only=True) as session:
            tables, indexes = objects(session)
        ids = list(self._plan(here).ids)
        return {"database": database, "ids": ids, "tables": len(tables), "indexes": sorted(indexes)}

    def preview(self, here: Target) -> Preview:
        """List the migrations, the tables with their rows, and what goes silently."""
        plan, database = self._plan(here), self._database(here)
        data: dict[str, Json] = {"database": database, "registry": self.registry, "ids": list(plan.ids)}
        if not plan.ids:
            return Preview(self.title(), False, (Text(f"database {database}: nothing is applied"),), data)
        found = self._rows(here)
        rows = tuple((one.name, f"{one.rows:,}{' or more' if one.more else ''}") for one in found if one.rows)
        blocks: list[Block] = [Text(f"database {database}: {_short(plan)} would be taken back")]
        kinds = [(one, "post-deployment") for one in plan.post] + [
            (one, "pre-deployment") for one in plan.pre
        ]
        blocks.append(Table(("migration", "phase"), tuple(kinds)))
        if rows:
            blocks.append(Table(("may be lost", "rows"), rows, right=frozenset({"rows"})))
        blocks.append(Text(_SILENT))
        lost: list[Json] = [{"what": one.name, "rows": one.rows} for one in found]
        return Preview(self.title(), True, tuple(blocks), {**data, "lost": lost})

    def apply(self, here: Target, before: Before) -> StepReport:
        """Let the program take back what was shown, under the database's lock, and say what is gone."""
        from ctl.catalog.metadata_loss import objects
        from ctl.steps.metadata_doors import programs
        from ctl.steps.metadata_lock import application_name, end_sessions, metadata_lock
        from ctl.steps.program_job import lost

        database, own = str(before["database"]), application_name(here.run.id)
        known, node = (
            programs(here.world, self.registry),
            migrating_node(here.world, self.registry, self.node),
        )
        job = self._job(here, own)
        with metadata_lock(here, database, wait=timedelta(seconds=self.wait_seconds), own=own) as session:
            running = job.unfinished()
            if not running:
                plan = self._plan(here)
                if list(plan.ids) != list(before["ids"]):
                    raise RefusedError(
                        f"database {database}: what would be taken back is not what was shown any more",
                        hint="run the command again, and read what it shows",
                    )
                here.run.note(pre=len(plan.pre))
                command = known.migrate_down_command(node.binary, node.config_file, self._limits())
                running = job.start(command)
            ended = job.follow(running, timedelta(seconds=self.timeout_seconds))
            job.judged(running)
            if ended.exit_code != 0 or known.parse_done(ended.stdout) is None:
                if ended.timed_out:
                    end_sessions(session, own)
                    raise CommandFailedError(
                        f"{self.title()}: the program was ended after {self.timeout_seconds} s",
                        hint="what is gone stays gone; look with `regctl database migrate status`",
                    )
                if ended.exit_code is None or ended.exit_code < 0:
                    raise lost(self.title())
                failure = known.explain(ended.stderr)
                raise CommandFailedError(
                    f"{self.title()}: {failure.message}", hint=failure.hint, details=(failure.last_line,)
                )
            job.forget()
            tables, indexes = objects(session)
        gone = sorted(set(before["indexes"]) - indexes)
        data: dict[str, Json] = {
            "database": database,
            "registry": self.registry,
            "taken_back": list(before["ids"]),
            "lost_tables": int(before["tables"]) - len(tables),
            "lost_indexes": list(gone),
        }
        return StepReport(data, changed=bool(before["ids"]))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """A program that is still there is followed; else the bookkeeping says what is left."""
        from ctl.catalog.metadata_schema import read_schema

        if self._job(here, "").unfinished():
            return "partial"
        with here.world.database(str(before["database"])).connect(read_only=True) as session:
            left = set(read_schema(session).ids) & set(before["ids"])
        return "done" if not left else "pending" if len(left) == len(before["ids"]) else "unknown"

    def settle(self, here: Target, before: Before) -> None:
        """Give a program that still works a minute to end by itself."""
        self._job(here, "").settle(timedelta(minutes=1))

    def verify(self, here: Target) -> Iterator[Problem]:
        """Where post-deployment migrations still count as applied, their indexes may be gone: say so."""
        from ctl.catalog.metadata_schema import read_schema

        with here.world.database(self._database(here)).connect(read_only=True) as session:
            state = read_schema(session)
        if here.run.notes(type(self).__name__).get("pre") and state.post_ids:
            yield Problem(
                _SILENT,
                "the report lists them as lost_indexes; take the post-deployment migrations back too "
                "(--post-limit), then run `regctl database migrate up`",
                blocking=False,
            )

    def _limits(self) -> MigrationLimits:
        return MigrationLimits(self.limit, self.post_limit)

    def _database(self, here: Target) -> str:
        from ctl.steps.metadata_doors import metadata_database

        return metadata_database(here.world, self.registry).name

    def _plan(self, here: Target) -> PendingMigrations:
        """Ask the program what it would take back; nothing where nothing is applied."""
        from ctl.catalog.metadata_schema import read_schema
        from ctl.steps.metadata_doors import programs
        from ctl.steps.registry_program import program

        with here.world.database(self._database(here)).connect(read_only=True) as session:
            state = read_schema(session)
        if not state.ids or state.read_only or state.pre is None or state.post is None:
            return PendingMigrations()
        node, known = (
            migrating_node(here.world, self.registry, self.node),
            programs(here.world, self.registry),
        )
        demand_same_database(here.world, self.registry, node)
        command = known.migrate_down_command(node.binary, node.config_file, self._limits(), dry_run=True)
        result = here.world.host(node.host).run(program(here.world, self.registry, node.host, command, _ASK))
        if result.exit_code != 0:
            failure = known.explain(result.stderr.decode(errors="replace"))
            raise RegctlError(f"the program cannot plan the way down: {failure.message}", hint=failure.hint)
        return known.parse_plan(result.stdout.decode(errors="replace"))

    def _rows(self, here: Target) -> tuple[TableRows, ...]:
        from ctl.catalog.metadata_loss import table_rows

        with here.world.database(self._database(here)).connect(read_only=True) as session:
            return table_rows(session)

    def _job(self, here: Target, application: str) -> ProgramJob:
        from ctl.steps.program_job import ProgramJob

        host = migrating_node(here.world, self.registry, self.node).host
        return ProgramJob(here, self.registry, host, type(self).__name__, application)


def served(here: Target, registry: str) -> Iterator[Problem]:
    """Say who uses a registry's metadata database now: running nodes that ask for it, and other sessions."""
    from ctl.catalog.metadata_schema import sessions
    from ctl.steps.collection import node_config
    from ctl.steps.metadata_doors import metadata_database, programs

    world, database = here.world, metadata_database(here.world, registry)
    sharing = metadata_registries(world.site).get(database.name, (registry,))
    for name in sharing:
        known = programs(world, name)
        for node in world.registry(name).nodes:
            if not world.service(name, node.host).state().running:
                continue
            if known.asked_backend(node_config(world, name, node)) != "filesystem":
                yield Problem(
                    f"{name} on {node.host} runs on database {database.name}",
                    f"stop it first: `regctl service stop {name}/{node.host}`",
                )
    with database.connect(read_only=True) as session:
        others = [one for one in sessions(session) if not one.application.startswith("regctl")]
    if others:
        who = "; ".join(
            f"process {one.pid} ({one.application or one.user}) from {one.client}" for one in others[:3]
        )
        yield Problem(
            f"{len(others)} session(s) are at work in database {database.name}: {who}",
            "end them first; a registry that this site does not know may be among them",
            outcome=Outcome.REFUSED,
        )


def in_words(found: tuple[TableRows, ...]) -> str:
    """Name what holds rows, the empty rest by its number."""
    full = [f"{one.name} ({one.rows:,}{' or more' if one.more else ''} rows)" for one in found if one.rows]
    empty = len(found) - len(full)
    if empty:
        full.append(f"{empty} empty table(s)")
    return ", ".join(full) or "no table"


def _short(plan: PendingMigrations) -> str:
    """Name the migrations, or their number where there are many."""
    if len(plan.ids) <= 4:
        return ", ".join((*plan.post, *plan.pre))
    return f"{len(plan.post)} post-deployment and {len(plan.pre)} pre-deployment migrations"
