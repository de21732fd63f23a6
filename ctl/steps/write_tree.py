"""Write from the metadata database what the storage tree lacks: before, in and at the end of the window.

The steps differ in what they may touch. `PrepareTree` adds while the registry serves from the database, which
looks at none of it. `WriteTree` brings tree and database together once nothing is written any more.
`ProveTree` does it once more when no node serves from the database, since online collection goes on deleting
manifest files as long as one does; then it proves that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from ctl.catalog.backend import judge
from ctl.catalog.metadata_database import MetadataCatalog, metadata_snapshot
from ctl.catalog.tree import Tree
from ctl.catalog.tree_writer import TreeWriting, Written, lacking_blobs
from ctl.errors import InterruptedRunError, Outcome, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target, Undoable
from ctl.report.model import Json, Table, Text
from ctl.steps.backend_evidence import gather
from ctl.steps.metadata_doors import metadata_database
from ctl.storage.far_acting import demand_here
from ctl.storage.tree_files import TreeFiles

if TYPE_CHECKING:
    from ctl.catalog.tree_writer import Lacking
    from ctl.world import World

_NAMED = 10  # lacking blobs that a message names
_FIGURES = ("payloads", "manifests", "layers", "tags", "taken_out", "taken_out_tags", "kept_untagged")


class PrepareTree(Step):
    """Add what the tree lacks, while the registry still serves; replaces and removes nothing."""

    registry: str
    accept_data_loss: bool = False

    interruptible: ClassVar[bool] = True

    def title(self) -> str:
        return f"write what the storage tree of {self.registry} lacks"

    def check(self, here: Target) -> Iterator[Problem]:
        storage = here.world.storage(self.registry)
        if not storage.exists():
            yield Problem(f"{storage.root} is not there", "is the disk mounted?", outcome=Outcome.UNREACHABLE)
            return
        yield from _mode_problems(here.world, self.registry)
        for reason in files_of(here, self.registry).problems():
            yield Problem(reason)
        with opened(here.world, self.registry) as (tree, catalog):
            yield from lacking_problems(tree, catalog, accepted=self.accept_data_loss)
            for repository, digest, _hashed in catalog.altered():
                message = f"{repository}@{digest} has other bytes in the database than its digest says"
                yield Problem(message, "a pull of it fails its check in either mode", blocking=False)

    def preview(self, here: Target) -> Preview:
        with opened(here.world, self.registry) as (tree, catalog):
            done = TreeWriting(tree, catalog, None, careful=True).run()
        rows = ((*(f"{getattr(done, name):,}" for name in _FIGURES),),)
        lines = [f"such as {path}" for path in done.examples[:5]]
        blocks = (Table(_FIGURES, rows, right=frozenset(_FIGURES)), Text("\n".join(lines)))
        data: dict[str, Json] = {**done.data()}
        return Preview(f"{self.title()}; take out what was deleted since", True, blocks, data)

    def apply(self, here: Target, before: Before) -> StepReport:
        done = _write(here, self.registry, take_out=False, careful=True)
        return StepReport({f"prepared_{name}": value for name, value in done.data().items()})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"  # it goes on where it was cut off


class WriteTree(Undoable):
    """Bring the tree in line with the database: what was deleted since goes aside, tags point as there."""

    registry: str

    def title(self) -> str:
        return f"bring the storage tree of {self.registry} in line with its database"

    def preview(self, here: Target) -> Preview:
        return Preview(self.title())

    def apply(self, here: Target, before: Before) -> StepReport:
        done = _write(here, self.registry, take_out=True)
        data: dict[str, Json] = {f"window_{name}": value for name, value in done.data().items()}
        return StepReport(data, changed=bool(done.work))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"

    def undo(self, here: Target, before: Before) -> None:
        here.run.guard()
        files_of(here, self.registry).restore()


class ProveTree(Step):
    """Write once more, then prove that tree and database say the same and that every blob is stored."""

    registry: str
    accept_data_loss: bool = False

    def title(self) -> str:
        return f"prove that the storage tree of {self.registry} holds all that the database does"

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        left, done = self._survey(here), Written()
        if left.work:
            done = _write(here, self.registry, take_out=True)
            left = self._survey(here)
        with opened(here.world, self.registry) as (tree, catalog):
            problems = list(lacking_problems(tree, catalog, accepted=self.accept_data_loss))
            counts = catalog.counts()
        if left.work:
            raise RegctlError(
                f"tree and database of {self.registry} still differ in {left.work} places, the first is "
                f"{left.examples[0]}",
                hint="something else writes to this storage; find it before you go on",
            )
        for problem in problems:
            if problem.blocking:
                raise RegctlError(problem.message, hint=problem.hint)
        data: dict[str, Json] = {
            "repositories": counts.repositories,
            "tags": counts.tags,
            "manifests": counts.manifests,
            "blobs": counts.blobs,
            "differences": 0,
            "written_again": done.work,
            "kept_untagged": left.kept_untagged,
        }
        return StepReport(data, changed=bool(done.work), warnings=tuple(p.message for p in problems))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"

    def _survey(self, here: Target) -> Written:
        with opened(here.world, self.registry) as (tree, catalog):
            return TreeWriting(tree, catalog, None).run()


def files_of(here: Target, registry: str) -> TreeFiles:
    """The changes of this run to a registry's tree."""
    root = demand_here(here.world.storage(registry), "writing a tree")
    return TreeFiles(root, here.run.id or "preview")


@contextmanager
def opened(world: World, registry: str) -> Iterator[tuple[Tree, MetadataCatalog]]:
    """A registry's tree, and one moment of its metadata database."""
    with metadata_snapshot(metadata_database(world, registry)) as catalog:
        yield Tree(world.storage(registry)), catalog


def lacking_problems(tree: Tree, catalog: MetadataCatalog, *, accepted: bool) -> Iterator[Problem]:
    """Name the blobs that something in the database needs and that are not stored as it needs them."""
    found: list[Lacking] = []
    count = 0
    for one in lacking_blobs(tree, catalog):
        count += 1
        if len(found) < _NAMED:
            found.append(one)
    for one in found:
        state = "is not stored" if one.found is None else f"is stored with {one.found} bytes"
        yield Problem(
            f"{one.digest} ({one.size} bytes) {state}; needed by {', '.join(one.users)}",
            "push these again or delete them; or give --accept-data-loss and have them broken in either mode",
            blocking=not accepted,
        )
    if count > len(found):
        yield Problem(f"and {count - len(found)} more blobs are not stored as needed", blocking=not accepted)


def _write(here: Target, registry: str, *, take_out: bool, careful: bool = False) -> Written:
    from ctl.catalog.import_ import Meter

    def guard() -> None:
        here.run.guard()
        if here.run.stopping() and not take_out:
            raise InterruptedRunError("stopped while the tree was prepared; what was written does no harm")

    files = files_of(here, registry)
    with opened(here.world, registry) as (tree, catalog):
        counts = catalog.counts()
        total = counts.tags + 2 * counts.manifests + counts.blob_links
        meter = Meter(here.run.emit, total, task="write-tree")
        here.run.guard()
        done = TreeWriting(
            tree, catalog, files, take_out=take_out, careful=careful, guard=guard, advance=meter.add
        ).run()
        meter.end()
    return done


def _mode_problems(world: World, registry: str) -> Iterator[Problem]:
    """Only a registry that is proved to live on its database is brought back from it."""
    verdict = judge(gather(world, registry))
    if verdict.mode != "database":
        yield Problem(
            f"{registry} is not proved to be kept by its database: all evidence says {verdict.mode} "
            f"({'; '.join(verdict.reasons[:3])})",
            f"`regctl lockfiles show {registry}` shows all that is known, `lockfiles repair` settles it",
        )
