"""What stands in the way of an import into the metadata database, all of it at once. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ctl.catalog.backend import BackendEvidence, hindrances
from ctl.catalog.import_facts import other_sessions, read_content
from ctl.catalog.import_state import ImportContent, Standing, refusal, standing
from ctl.catalog.tree import REPOSITORIES, missing_root
from ctl.engines.metadata import ImportStep
from ctl.errors import Outcome, RegctlError
from ctl.recipes.attempt import as_problem
from ctl.recipes.model import Problem, Target
from ctl.steps.backend_evidence import gather
from ctl.steps.collection import node_config
from ctl.steps.import_job import importing_node
from ctl.steps.metadata_doors import metadata_database, programs

if TYPE_CHECKING:
    from ctl.config.models import Node
    from ctl.database.base import Session

SESSIONS = "sessions"  # the check that an operator may skip: a monitoring program of the same role, say
BYTES_PER_ENTRY = 420  # of the log, for each tag, manifest, layer or blob (4.32, measured)
_ENTRIES_PER_TAG = 7  # records of one tag in both steps: the tag twice, its manifest, config and layers
_NEEDS_TREE = (ImportStep.ALL, ImportStep.ONE, ImportStep.TWO)


@dataclass(frozen=True)
class ImportChecks:
    """The facts of one look, and what they say against an import step."""

    here: Target
    registry: str
    step: ImportStep
    retry: bool = False
    begun: bool = False  # this run has begun it already: what the import left so far is its own
    again: bool = False  # all was looked at before the window: what cannot have changed since is not, now

    @cached_property
    def node(self) -> Node:
        """The node whose program imports."""
        return importing_node(self.here.world, self.registry)

    @cached_property
    def evidence(self) -> BackendEvidence:
        """What says which backend keeps the registry's content."""
        return gather(self.here.world, self.registry)

    def problems(self) -> Iterator[Problem]:
        """Yield everything that stands in the way; the database is asked last."""
        yield from self._configuration()
        yield from self._storage()
        yield from self._importers()
        yield from self._backend()
        silent = self.evidence.unknown.get("database")
        if silent:
            yield Problem(
                f"the metadata database of {self.registry} cannot be asked: {silent}",
                "`regctl database status` says more",
                outcome=Outcome.UNREACHABLE,
            )
            return
        yield from self._database()

    def of_the_storage(self) -> Iterator[Problem]:
        """Yield what does not depend on the database: the storage, and another import at work."""
        yield from self._storage()
        yield from self._importers()

    # -- one by one --------------------------------------------------------------------------------

    def _configuration(self) -> Iterator[Problem]:
        """The program reads host, password and pool from the node's own file."""
        known = programs(self.here.world, self.registry)
        section = known.database_settings(node_config(self.here.world, self.registry, self.node))
        where = f"{self.registry}/{self.node.host}: {self.node.config_file}"
        if not section.get("host"):
            yield Problem(
                f"{where} names no metadata database, and the import reads it from there",
                "describe it below `database:` with enabled: false (`regctl enable-db` does that)",
                outcome=Outcome.CONFIG,
            )
        elif not _pool(section).get("maxidle"):
            yield Problem(
                f"{where}: database.pool.maxidle is not set: the import opens a connection for each "
                "statement and takes about thirteen times as long",
                "set database.pool: {maxidle: 25, maxopen: 25}",
                blocking=False,
            )

    def _storage(self) -> Iterator[Problem]:
        storage = self.here.world.storage(self.registry)
        if not storage.exists():
            yield as_problem(missing_root(storage.root))
            return
        try:
            storage.list_directory(REPOSITORIES)
        except FileNotFoundError:
            if self.step in _NEEDS_TREE:
                yield Problem(
                    f"{storage.root} holds no repository: there is nothing to import",
                    "a new registry needs no import: `regctl enable-db` turns the database on",
                )
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=Outcome.UNREACHABLE)
        yield from self._readable_by_user(storage.root)

    def _readable_by_user(self, root: str) -> Iterator[Problem]:
        """The program runs as the service's user: what that one cannot read fails late."""
        from ctl.hosts.base import Command

        path = f"{root}/{REPOSITORIES}"
        host = self.here.world.host(self.node.host)
        if self.node.user is None or host.stat(path) is None:
            return
        if host.run(Command(("test", "-r", path, "-a", "-x", path), user=self.node.user)).exit_code != 0:
            yield Problem(
                f"{self.node.user}, the user of {self.registry} on {self.node.host}, cannot read {path}",
                "the import runs as that user: give it the storage (chown -R), or correct `user` of the node",
            )

    def _importers(self) -> Iterator[Problem]:
        """Two imports at once break each other: the second dies, and may turn the lock files round."""
        for node in self.here.world.registry(self.registry).nodes:
            for process in self.here.world.host(node.host).processes():
                if process.argv[1:3] != ("database", "import") or node.config_file not in process.argv:
                    continue
                if self.here.run.id and self._is_ours(node.host, process.pid):
                    continue
                yield Problem(
                    f"another import of {self.registry} runs on {node.host}: process {process.pid}",
                    "if a regctl that began it was killed: `regctl run resume`; else let it end",
                    outcome=Outcome.LOCKED,
                )

    def _is_ours(self, host: str, pid: int) -> bool:
        from ctl.steps.import_job import jobs_of

        status = [self.here.world.host(host).job(job) for job in jobs_of(self.here, "ImportMetadata")]
        return any(one.process is not None and one.process.pid == pid for one in status)

    def _backend(self) -> Iterator[Problem]:
        """No registry may serve from the database that is being filled."""
        if self.step is ImportStep.THREE:
            yield from self._served_from_tree()
            return
        already = self.evidence.locks is not None and self.evidence.locks.database_in_use
        for hindrance in hindrances(self.evidence, importing=True):
            if already and "database-in-use" in hindrance.message:
                continue  # said better by the state of the import, or the work of this very run
            yield Problem(hindrance.message, hindrance.hint)

    def _served_from_tree(self) -> Iterator[Problem]:
        if True not in self.evidence.served:
            yield Problem(
                f"{self.registry} does not serve from the metadata database yet: what step three records is "
                "deleted by online collection a day after the switch, and the way back is lost with it",
                "usual order: step two, `regctl enable-db`, then step three",
                blocking=False,
            )

    def _database(self) -> Iterator[Problem]:
        from ctl.steps.database_checks import database_problems

        database = metadata_database(self.here.world, self.registry)
        if not self.again:
            yield from database_problems(self.here.world, database.name)
        migrations = [] if self.again else list(self._migrations())
        yield from migrations
        if not self.evidence.schema:
            if not any(problem.blocking for problem in migrations):
                yield _no_schema(database.name)
            return
        with database.connect(read_only=True) as session:
            yield from self._sessions(session)
            yield from self._order(session)

    def _migrations(self) -> Iterator[Problem]:
        """The program's own check of pending migrations does nothing (4.32), so it is made here."""
        from ctl.steps.metadata_migrations import look_at_migrations, migration_problems, unconfigured

        try:
            found = look_at_migrations(self.here.world, self.registry, self.node.host)
            if found.unconfigured:
                raise unconfigured(self.registry, self.node)
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)
            return
        yield from migration_problems(found)
        ids = found.pending.ids if found.pending else ()
        if found.up_to_date is False:
            named = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
            yield Problem(
                f"the metadata database lacks migrations: {named or 'all of them'}",
                "run `regctl database migrate up` first; pre- and post-deployment migrations are both needed",
            )

    def _sessions(self, session: Session) -> Iterator[Problem]:
        from ctl.database.advisory import METADATA_LOCK, holders

        for holder in holders(session, METADATA_LOCK):
            yield Problem(
                f"the metadata database is locked by {holder}: another regctl works on it",
                "let it end, then run the same command again",
                outcome=Outcome.LOCKED,
            )
        for one in other_sessions(session, self.here.run.id):
            if one.imports:
                yield Problem(
                    f"another import works on the database: {one.describe()}",
                    "let it end; `regctl run list` on the controller that began it says more",
                    outcome=Outcome.LOCKED,
                )
            elif self.step is not ImportStep.THREE:
                yield Problem(
                    f"somebody else works on the database as the registry's role: {one.describe()}, "
                    f"since {one.since}",
                    "it may be an import or a registry: end it, or pass over it by --skip sessions",
                    name=SESSIONS,
                )

    def _order(self, session: Session) -> Iterator[Problem]:
        if self.begun:
            return
        content = read_content(session)
        found = refusal(self.evidence, content, self.step, retry=self.retry)
        if found is not None:
            yield Problem(found.message, found.hint)
        yield from _stale(content, self.step, standing(self.evidence, content))


def _stale(content: ImportContent, step: ImportStep, now: Standing) -> Iterator[Problem]:
    from datetime import UTC, datetime, timedelta

    oldest = content.oldest_mark
    if step is ImportStep.TWO and now is Standing.PREPARED and oldest is not None:
        age = datetime.now(UTC) - oldest
        if age > timedelta(days=7):
            yield Problem(
                f"step one is {age.days} days old: all that was pushed since makes the window longer",
                "run `regctl registry import --step one` again first; it takes in what is new",
                blocking=False,
            )


def _pool(section: Any) -> Any:
    pool = section.get("pool")
    return pool if isinstance(pool, dict) else {}


def _no_schema(name: str) -> Problem:
    return Problem(
        f"database {name} has none of the registry's tables",
        "run `regctl database migrate up` first",
    )


def log_bytes(tags: int, blobs: int, step: ImportStep) -> int:
    """Estimate how large an import's log becomes."""
    entries = {
        ImportStep.ALL: tags * _ENTRIES_PER_TAG + blobs,
        ImportStep.ONE: tags * (_ENTRIES_PER_TAG - 1),
        ImportStep.TWO: tags * 2,
        ImportStep.THREE: blobs,
    }
    return entries[step] * BYTES_PER_ENTRY + (1 << 20)
