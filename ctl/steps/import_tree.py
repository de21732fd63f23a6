"""Bring the catalog database up to date with a registry's storage tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from ctl.errors import Outcome, RefusedError
from ctl.recipes.attempt import as_problem
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target

if TYPE_CHECKING:
    from ctl.catalog.store import CatalogState, CatalogStore
    from ctl.database.base import Session
    from ctl.report.model import Json


class ImportTree(Step):
    """Read a registry's tree into its catalog database; safe to stop and to run again at any point."""

    interruptible: ClassVar[bool] = True

    registry: str
    accept_empty: bool = False  # take an empty root for an emptied registry, not for a missing disk
    survey: bool = False  # whether the preview reads the tree to say what would change

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"import the storage tree of {self.registry}"

    def check(self, here: Target) -> Iterator[Problem]:
        """The storage root must be there, and the database, where it runs, migrated."""
        from ctl.catalog.tree import missing_root

        storage = here.world.storage(self.registry)
        if not storage.exists():
            yield as_problem(missing_root(storage.root))
        store = here.world.catalog(self.registry)
        status = store.database.status()
        if status.reachable:
            with store.database.connect(read_only=True) as session:
                if problem := pending(store, session):
                    yield problem
        elif not store.database.embedded:
            yield Problem(
                f"the database {store.database.name} does not answer: {status.detail or status.state}",
                outcome=Outcome.UNREACHABLE,
            )

    def preview(self, here: Target) -> Preview:
        """Say what would be read; with `survey`, what differs from the catalog database."""
        if not self.survey:
            return Preview(self.title())
        from ctl.catalog.preview import preview_import

        store = here.world.catalog(self.registry)
        found = preview_import(here.world.storage(self.registry), store, here.run.emit)
        return Preview(f"import {self.registry}", found.changes, found.blocks, found.data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Import. A TransientError may be raised: trying again goes on where it stopped."""
        from ctl.catalog.import_ import Hooks, TreeImport, demand_tree
        from ctl.catalog.store import CatalogReader
        from ctl.catalog.tree import Tree
        from ctl.catalog.writer import CatalogWriter

        store = here.world.catalog(self.registry)
        store.database.ensure_started()
        tree = Tree(here.world.storage(self.registry))
        hooks = Hooks(here.run.emit, here.run.stopping, here.run.guard)
        with store.database.connect(read_only=True) as reading, store.database.connect() as writing:
            if problem := pending(store, reading):
                raise RefusedError(problem.message, hint=problem.hint)
            reader = CatalogReader(reading, self.registry)
            known = reader.state.counts.repositories
            demand_tree(tree, known, accept_empty=self.accept_empty)
            here.run.guard()
            run_id = here.run.id or "unnamed"
            writer = CatalogWriter(
                writing, self.registry, tree.storage.root, run_id=run_id, epoch=here.run.epoch
            )
            done = TreeImport(tree, writer, CatalogReader(reading, self.registry), hooks).run()
        return StepReport(data=_json(done.data()), changed=done.changed)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """An import that did not come to its end is simply run again."""
        return "pending"


def pending(store: CatalogStore, session: Session) -> Problem | None:
    """Return a problem where the catalog's schema is not what this regctl needs."""
    from ctl.database.migrations import load_migrations, read_state
    from ctl.database.migrator import refusal

    state = read_state(session, load_migrations("ctl.catalog.migrations"))
    name = store.database.name
    if error := refusal(state, name):
        return Problem(error.message, hint=error.hint)
    missing = [one.id for one in state.pending if one.phase == "pre"]
    if not missing:
        return None
    return Problem(
        f"the database {name} lacks migrations: {', '.join(missing)}",
        hint=f"run `regctl database migrate up --database {name}`",
    )


def state_data(state: CatalogState) -> Mapping[str, Json]:
    """Return when and how completely a catalog was imported, for reports."""
    return {
        "generation": state.generation,
        "imported_at": state.imported_at.isoformat() if state.imported_at else None,
    }


def _json(data: Mapping[str, int | float | bool]) -> Mapping[str, Json]:
    return dict(data)
