"""Count what an import will go through, before any window opens, and see that there is room for its log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctl.catalog.tree import TAGS, Tree
from ctl.engines.metadata import ImportStep
from ctl.errors import RefusedError
from ctl.hosts.base import Command
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.events import Progress
from ctl.report.model import Text
from ctl.report.units import size_text
from ctl.steps.import_checks import log_bytes
from ctl.steps.import_job import importing_node
from ctl.steps.import_progress import Totals

if TYPE_CHECKING:
    from ctl.report.events import EventSink
    from ctl.storage.base import Storage
    from ctl.world import World


class PrepareImport(Step):
    """Count repositories, tags and blobs by regctl's own reader; an import's progress is measured by it."""

    registry: str
    step: ImportStep = ImportStep.ALL

    def title(self) -> str:
        return f"count what the import of {self.registry} goes through"

    def check(self, here: Target) -> Iterator[Problem]:
        yield from log_room(here.world, self.registry, log_bytes(0, 0, self.step))

    def preview(self, here: Target) -> Preview:
        totals = count_storage(here.world.storage(self.registry), self.step)
        text = f"{totals.repositories:,} repositories, {totals.tags:,} tags"
        data = {"repositories": totals.repositories, "tags": totals.tags}
        if self.step in (ImportStep.ALL, ImportStep.THREE):
            text += f", {totals.blobs:,} blobs"
            data["blobs"] = totals.blobs
        return Preview(self.title(), True, (Text(f"the storage holds {text}"),), data)

    def apply(self, here: Target, before: Before) -> StepReport:
        began = time.monotonic()
        totals = count_storage(here.world.storage(self.registry), self.step, here.run.emit)
        needed = log_bytes(totals.tags, totals.blobs, self.step)
        for problem in log_room(here.world, self.registry, needed):
            raise RefusedError(problem.message, hint=problem.hint)
        found = {"repositories": totals.repositories, "tags": totals.tags, "blobs": totals.blobs}
        here.run.note(**found)
        return StepReport({**found, "count_seconds": round(time.monotonic() - began, 3)}, changed=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"


def count_storage(storage: Storage, step: ImportStep, emit: EventSink | None = None) -> Totals:
    """Count what a step goes through; a folder that cannot be listed counts as empty."""
    tree = Tree(storage)
    layout = tree.layout()
    repositories = [one for one in layout.repositories if one.has_tags]
    tags = blobs = 0
    if step is not ImportStep.THREE:
        for number, listing in enumerate(tree.links(repositories, (TAGS,)), 1):
            tags += len(listing.parts[TAGS])
            if emit is not None and number % 500 == 0:
                emit(Progress("count", number, len(repositories), "repositories"))
    if step in (ImportStep.ALL, ImportStep.THREE):
        blobs = sum(len(one.part) for one in tree.blobs(layout.shards, stats=False))
    return Totals(len(layout.repositories), tags, blobs)


def log_room(world: World, registry: str, needed: int) -> Iterator[Problem]:
    """Refuse an import whose log would fill the disk: a cut log has no closing record."""
    node = importing_node(world, registry)
    folder = f"{world.state_dir}/jobs"
    free = _free_bytes(world, node.host, folder)
    if free is not None and free < needed:
        yield Problem(
            f"the import's log needs about {size_text(needed)} below {folder} on {node.host}, and "
            f"{size_text(free)} are free",
            "make room, or point state_dir to a larger disk",
        )


def _free_bytes(world: World, host: str, folder: str) -> int | None:
    door = world.host(host)
    while folder not in ("", "/") and door.stat(folder) is None:
        folder = folder.rpartition("/")[0]
    result = door.run(Command(("df", "--output=avail", "-B1", "--", folder or "/")))
    words = result.stdout.split()
    return int(words[-1]) if result.exit_code == 0 and words and words[-1].isdigit() else None
