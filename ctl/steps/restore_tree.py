"""Put back into a storage tree what a run of `disable-db` took out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Text
from ctl.steps.storage_gate import metadata_in_use
from ctl.storage.far_acting import demand_here
from ctl.storage.tree_files import FOLDER, TreeFiles

_SHOWN = 20


class RestoreTree(Step):
    """Move everything back into its place, where nothing else stands there now; nothing is overwritten.

    A tag that was moved since the switch points again to what it did before.
    """

    registry: str
    run: str

    def title(self) -> str:
        return f"put back into the tree of {self.registry} what {self.run} took out of it"

    def check(self, here: Target) -> Iterator[Problem]:
        # The rows of the database are no hindrance: it is out of use, and its content is in the tree.
        yield from metadata_in_use(here.world, self.registry, importing=True)
        files = self._files(here)
        if not files.exists():
            there = sorted(_runs(self._files(here).root))
            yield Problem(
                f"no run {self.run} has laid anything aside in {os.path.join(files.root, FOLDER)}",
                f"there is {', '.join(there)}" if there else "there is none at all",
            )

    def preview(self, here: Target) -> Preview:
        kept = self._files(here).kept()
        lines = [f"{how}: {path}" for path, how in kept[:_SHOWN]]
        if len(kept) > _SHOWN:
            lines.append(f"and {len(kept) - _SHOWN} more")
        return Preview(self.title(), bool(kept), (Text("\n".join(lines)),), {"restored": len(kept)})

    def apply(self, here: Target, before: Before) -> StepReport:
        here.run.guard()
        count, taken = self._files(here).restore()
        warnings = tuple(f"left aside, since its place is taken: {path}" for path in taken[:_SHOWN])
        return StepReport(
            {"restored": count, "left_aside": len(taken)}, changed=bool(count), warnings=warnings
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"

    def _files(self, here: Target) -> TreeFiles:
        root = demand_here(here.world.storage(self.registry), "restoring a tree")
        return TreeFiles(root, os.path.basename(self.run))


def _runs(root: str) -> list[str]:
    try:
        return os.listdir(os.path.join(root, FOLDER))
    except (FileNotFoundError, NotADirectoryError):
        return []
