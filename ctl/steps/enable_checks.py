"""What must hold before a registry is moved into its metadata database. Looks only."""

from __future__ import annotations

from collections.abc import Iterator

from ctl.catalog.backend import judge
from ctl.catalog.import_facts import read_content
from ctl.catalog.import_state import refusal
from ctl.engines.metadata import ImportStep
from ctl.errors import RegctlError
from ctl.recipes.model import Look, Problem, Target
from ctl.steps.backend_evidence import gather
from ctl.steps.database_checks import database_problems
from ctl.steps.metadata_doors import metadata_database
from ctl.steps.read_only_node import ReadOnlyNode


class DemandDatabase(Look):
    """Demand a database that can serve a registry: see `ctl.steps.database_checks`."""

    database: str  # by its name in the site
    deferred: bool = False  # an earlier step of the recipe makes it: looked at when its turn comes

    def title(self) -> str:
        return f"look whether databases.{self.database} can serve a registry"

    def check(self, here: Target) -> Iterator[Problem]:
        if here.run.id or not self.deferred:
            yield from database_problems(here.world, self.database)


class DemandFilesystem(Look):
    """Demand that a registry serves from its storage tree, by all that is known, and that it can be asked."""

    registry: str
    imported: bool = False  # an import that went before has marked the storage as the database's

    def title(self) -> str:
        return f"look whether {self.registry} serves from its storage tree"

    def check(self, here: Target) -> Iterator[Problem]:
        evidence = gather(here.world, self.registry)
        for what in ("tree", "locks"):
            if what in evidence.unknown:
                yield Problem(
                    f"the storage of {self.registry} cannot be read: {evidence.unknown[what]}",
                    "is it mounted, and may we read it?",
                )
        database = [host for host, asked in evidence.asked.items() if asked not in ("filesystem", None)]
        locked = evidence.locks is not None and evidence.locks.database_in_use and not self.imported
        if database or locked or True in evidence.served:
            verdict = judge(evidence)
            yield Problem(
                f"{self.registry} is not plainly on its storage tree: " + "; ".join(verdict.reasons),
                f"`regctl lockfiles show {self.registry}` shows all that is known, and what repairs it",
            )

        if self.imported:
            yield from self._closed_since(here)

    def _closed_since(self, here: Target) -> Iterator[Problem]:
        """What was pushed after the import is not in the database: only a closed registry is switched."""
        for node in here.world.registry(self.registry).nodes:
            try:
                ReadOnlyNode(here, self.registry, node.host).prove_closed()
            except RegctlError as error:
                yield Problem(
                    f"{self.registry} is imported, but not kept closed since: {error.message}",
                    "what was pushed since is not in the database: `regctl lockfiles repair`, then `regctl "
                    "enable-db --retry --import ...` imports anew",
                )


class DemandImportable(Look):
    """Demand a storage tree at which the import would not stop; what it would drop is a warning.

    With `database` also one that it may fill; one that is not there yet, or has no tables, is made later.
    """

    registry: str
    quarantine: bool = False  # what a quarantine moves aside is moved by another step of the recipe
    database: bool = False  # look at the database, too: where the import itself can only within its window
    retry: bool = False  # tags of an import that nobody ever used are taken out by another one

    def title(self) -> str:
        return f"look whether the import of {self.registry} would come to its end"

    def check(self, here: Target) -> Iterator[Problem]:
        from ctl.steps.preflight import preflight_problems

        if not here.run.id:
            yield from self._database(here) if self.database else ()
            yield from preflight_problems(here.world, self.registry, quarantine=self.quarantine)

    def _database(self, here: Target) -> Iterator[Problem]:
        """Its import looks again within the window; here nobody has closed anything yet."""
        evidence = gather(here.world, self.registry)
        if not evidence.schema:
            return
        try:
            with metadata_database(here.world, self.registry).connect(read_only=True) as session:
                content = read_content(session)
        except RegctlError:
            return  # said by whoever demands the database
        found = refusal(evidence, content, ImportStep.ONE, retry=self.retry)
        if found is not None:
            yield Problem(found.message, found.hint)
