"""Put right the lock files of a storage, and take such a repair back by the run that made it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ctl.recipes.model import Before, ProbeAnswer, Problem, StepReport, Target
from ctl.steps.backend_evidence import gather
from ctl.steps.metadata_doors import programs
from ctl.steps.set_lock_files import SetLockFiles


class RepairLockFiles(SetLockFiles):
    """Have the lock files that fit; refused while a registry that runs says otherwise."""

    def check(self, here: Target) -> Iterator[Problem]:
        """The engine must know such files, and no node may serve, or be about to serve, the other backend."""
        programs(here.world, self.registry)
        yield from super().check(here)
        evidence = gather(here.world, self.registry)
        for host, serves in evidence.header.items():
            if serves is None:
                yield Problem(
                    f"what the registry on {host} serves is not known: "
                    f"{evidence.unknown.get(f'header {host}', 'it does not say')}",
                    "make it answer, or stop it: a wrong lock file would be heeded at its next start",
                )
            elif serves != self.database_in_use:
                yield Problem(
                    f"the registry on {host} serves from {'the database' if serves else 'the tree'}, and the"
                    f" lock files would say otherwise",
                    f"`regctl lockfiles show {self.registry}` lists the evidence; switch the registry by"
                    " `enable-db` or `disable-db`, not by its lock files",
                )
        if self.database_in_use and evidence.schema is False:
            yield Problem(
                "there is no database with the registry's tables that could be in use",
                f"name it as registries.{self.registry}.database in the site",
            )


class RestoreLockFiles(SetLockFiles):
    """Bring back the lock files that a run found: bytes, modes and owners."""

    run: str  # the run that is taken back
    found: dict[str, Any]  # what it had observed

    def title(self) -> str:
        """Name the run."""
        return f"bring back the lock files of {self.registry} as they were before {self.run}"

    def check(self, here: Target) -> Iterator[Problem]:
        """What was there before may be brought back only where no running registry contradicts it."""
        yield from super().check(here)
        if not self.database_in_use:
            evidence = gather(here.world, self.registry)
            for host, serves in evidence.header.items():
                if serves and self.filesystem_in_use:
                    yield Problem(
                        f"the registry on {host} serves from the database; lock files that say otherwise keep"
                        " it from starting",
                    )

    def apply(self, here: Target, before: Before) -> StepReport:
        """Write or remove what differs."""
        self.undo(here, self.found)
        return StepReport({"restored_from": self.run})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Doing it again is safe: what is right already is left alone."""
        return "pending"


def restoring(registry: str, run: str, before: Mapping[str, Any]) -> RestoreLockFiles:
    """Return the step that takes back what a run did to the lock files, by what it had observed."""
    there = {name: bool(info) for name, info in before["files"].items()}
    return RestoreLockFiles(
        registry=registry,
        database_in_use=there.get("database-in-use", False),
        filesystem_in_use=there.get("filesystem-in-use", False),
        run=run,
        found=dict(before),
    )
