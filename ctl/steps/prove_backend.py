"""Prove by everything that says something about it which backend keeps a registry; then hold to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from ctl.catalog.backend import BackendEvidence, judge
from ctl.catalog.lockfiles import LockFiles
from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Step, StepReport, Target
from ctl.steps.backend_evidence import gather
from ctl.steps.metadata_doors import metadata_database
from ctl.steps.registry_program import APPLICATION_NAME
from ctl.steps.switch_window import Backend

if TYPE_CHECKING:
    from ctl.report.model import Json

STARTUP = {
    "database": "using the metadata database",
    "filesystem": "registry filesystem metadata in use",
}
_LINES = 400  # of a log that are looked through for the words of the last start
_SESSIONS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
   AND application_name NOT LIKE %s
"""


class ProveBackend(Step):
    """Measure the configuration, the lock files, each node's header, its log, the tables and the sessions.

    All of them together: a header alone is one process's word, a lock file alone what was once true.
    """

    registry: str
    to: Backend

    retries: ClassVar[int] = 0

    def title(self) -> str:
        return f"prove that {self.registry} serves from the {self.to}"

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        evidence = gather(here.world, self.registry)
        problems = list(self._problems(here, evidence))
        if problems:
            raise RegctlError(
                f"{self.registry} is not proved to serve from the {self.to}: {problems[0]}",
                details=tuple(problems[1:]),
                hint=f"`regctl lockfiles show {self.registry}` shows all that is known",
            )
        return StepReport(self._figures(here, evidence), changed=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"

    def _problems(self, here: Target, evidence: BackendEvidence) -> Iterator[str]:
        verdict = judge(evidence)
        if verdict.mode != self.to:
            yield f"all evidence together says {verdict.mode}"
            yield from verdict.reasons
        database = self.to == "database"
        for node in here.world.registry(self.registry).nodes:
            if evidence.asked.get(node.host) != self.to:
                yield f"the file on {node.host} asks for {evidence.asked.get(node.host) or 'nothing known'}"
            if here.world.service(self.registry, node.host).state().running:
                if evidence.header.get(node.host) is not database:
                    yield f"the header of {node.host} does not say so"
                yield from self._log(here, node.host)
        wanted = LockFiles(True, False) if database else LockFiles(False, bool(evidence.tree))
        if evidence.locks is None or evidence.locks.database_in_use is not wanted.database_in_use:
            yield f"the storage has {evidence.locks.describe() if evidence.locks else 'lock files unseen'}"
        if database and not evidence.schema:
            yield "the database has no tables of a registry"
        if database and any(evidence.header.values()) and not self._sessions(here):
            yield "no session of the registry is on the database"

    def _log(self, here: Target, host: str) -> Iterator[str]:
        """What the last start said, where a log is kept and its level lets it through."""
        lines = here.world.service(self.registry, host).tail(_LINES)
        said = [word for line in lines for word, text in STARTUP.items() if text in line]
        if said and said[-1] != self.to:
            yield f"the log of {host} says of its last start: {STARTUP[said[-1]]}"

    def _sessions(self, here: Target) -> int:
        """Count the registry's sessions, after a question that it can only answer by asking the database."""
        for node in here.world.registry(self.registry).nodes:
            if here.world.service(self.registry, node.host).state().running:
                with contextlib.suppress(RegctlError):  # our user may have no right to the catalog
                    next(iter(here.world.client(self.registry, node.host).repositories()), "")
        with metadata_database(here.world, self.registry).connect(read_only=True) as session:
            row = session.one(_SESSIONS, (f"{APPLICATION_NAME}%",))
            return int(row[0]) if row else 0

    def _figures(self, here: Target, evidence: BackendEvidence) -> dict[str, Json]:
        running = sum(
            here.world.service(self.registry, node.host).state().running
            for node in here.world.registry(self.registry).nodes
        )
        return {
            "backend": self.to,
            "nodes_proved": running,
            "lock_files": evidence.locks.describe() if evidence.locks else "",
            "tags": evidence.tags.rows if evidence.tags else 0,
            "repositories": evidence.repositories.rows if evidence.repositories else 0,
        }
