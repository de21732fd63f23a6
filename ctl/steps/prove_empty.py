"""Prove that a registry has never held anything."""

from __future__ import annotations

from collections.abc import Iterator

from ctl.catalog.backend import BackendEvidence
from ctl.errors import Outcome
from ctl.recipes.model import Look, Problem, Target
from ctl.steps.backend_evidence import gather


class ProveEmpty(Look):
    """Prove that a registry has never held anything: no repository, no blob, no lock file, empty tables."""

    registry: str

    def title(self) -> str:
        return f"prove that {self.registry} is a new installation"

    def check(self, here: Target) -> Iterator[Problem]:
        storage = here.world.storage(self.registry)
        if not storage.exists():
            yield Problem(
                f"the storage of {self.registry}, {storage.root}, is not there: an unmounted disk "
                "looks like a new installation",
                f"mount it, or create the folder: mkdir -p {storage.root}",
            )
            return
        evidence = gather(here.world, self.registry)
        for what in ("tree", "locks"):
            if what in evidence.unknown:
                yield Problem(
                    f"whether {self.registry} is empty cannot be told: {evidence.unknown[what]}",
                    outcome=Outcome.FAILED,
                )
        yield from self._held(here, evidence)

    def _held(self, here: Target, evidence: BackendEvidence) -> Iterator[Problem]:
        importing = f"regctl enable-db {self.registry} --import one-step (or three-step) takes it along"
        if evidence.tree:
            yield Problem(f"the storage of {self.registry} holds repositories", importing)
        elif self._blobs(here):
            yield Problem(
                f"the storage of {self.registry} holds blobs without a repository: something was pushed once",
                "move them away if nobody needs them; a new installation has none",
            )
        if evidence.locks is not None and evidence.locks.filesystem_in_use:
            yield Problem(
                f"the storage of {self.registry} has the lock file filesystem-in-use; a new one has none",
                f"an old version locked empty storages: `regctl lockfiles repair {self.registry}`",
            )
        for name, count in (("repositories", evidence.repositories), ("tags", evidence.tags)):
            if count is not None and count.rows:
                yield Problem(
                    f"the database of {self.registry} holds {count} {name}: it belongs to another registry, "
                    "or an import began",
                    "name an empty database; or import what the storage holds",
                )

    def _blobs(self, here: Target) -> bool:
        try:
            folders, files = here.world.storage(self.registry).list_directory("docker/registry/v2/blobs")
        except FileNotFoundError:
            return False
        return bool(folders or files)
