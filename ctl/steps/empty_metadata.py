"""Empty GitLab's metadata database of content, so that the next import fills it anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from ctl.catalog.backend import judge
from ctl.catalog.metadata_database import metadata_snapshot
from ctl.catalog.tree import Tree
from ctl.catalog.tree_writer import TreeWriting
from ctl.errors import RefusedError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Json, Text
from ctl.steps.backend_evidence import gather
from ctl.steps.metadata_doors import metadata_database

if TYPE_CHECKING:
    from ctl.world import World

# What imports and pushes fill. Media types, migrations, the collector's delays and the statistics stay.
_TRUNCATE = (
    "TRUNCATE tags, manifest_references, layers, manifests, repository_blobs, blobs, repositories,"
    " top_level_namespaces, gc_blobs_layers, gc_blobs_configurations, gc_blob_review_queue,"
    " gc_manifest_review_queue, gc_tmp_blobs_manifests"
)
_SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend' AND application_name NOT LIKE 'regctl%'"
)


class EmptyMetadata(Step):
    """Truncate the tables of content, in one transaction: all of it goes, or nothing.

    Refused while any evidence says that a node serves from the database. Without `accept_data_loss` the
    storage tree must be proved to hold all that the database does.
    """

    registry: str
    accept_data_loss: bool = False

    irreversible: ClassVar[bool] = True

    def title(self) -> str:
        return f"empty the metadata database of {self.registry}"

    def check(self, here: Target) -> Iterator[Problem]:
        verdict = judge(gather(here.world, self.registry))
        if verdict.mode != "filesystem":
            yield Problem(
                f"{self.registry} is not proved to be kept by its storage tree: all evidence says"
                f" {verdict.mode} ({'; '.join(verdict.reasons[:3])})",
                f"`regctl disable-db {self.registry}` leads back to the tree; see `regctl lockfiles show`",
            )
            return
        sessions = self._sessions(here.world)
        if sessions:
            yield Problem(
                f"{sessions} sessions of others are on the metadata database",
                "does another registry, or an import, use it? End it first",
            )
        if not self.accept_data_loss:
            yield from self._only_in_database(here.world)

    def observe(self, here: Target) -> Before:
        return self._counts(here.world)

    def preview(self, here: Target) -> Preview:
        counts = self._counts(here.world)
        text = ", ".join(f"{value:,} {name}" for name, value in counts.items())
        return Preview(self.title(), bool(sum(counts.values())), (Text(f"goes: {text}"),), {**counts})

    def apply(self, here: Target, before: Before) -> StepReport:
        with metadata_database(here.world, self.registry).connect() as session, session.transaction():
            session.execute("SET LOCAL lock_timeout = '10s'")
            here.run.guard()
            session.execute(_TRUNCATE)
        data: dict[str, Json] = {f"emptied_{name}": int(value) for name, value in before.items()}
        return StepReport(data)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending" if sum(self._counts(here.world).values()) else "done"

    def verify(self, here: Target) -> Iterator[Problem]:
        left = sum(self._counts(here.world).values())
        if left:
            yield Problem(f"the metadata database of {self.registry} still holds {left:,} rows")

    def _counts(self, world: World) -> dict[str, int]:
        with metadata_snapshot(metadata_database(world, self.registry)) as catalog:
            found = catalog.counts()
        return {
            "repositories": found.repositories,
            "tags": found.tags,
            "manifests": found.manifests,
            "blob_links": found.blob_links,
            "blobs": found.blobs,
        }

    def _sessions(self, world: World) -> int:
        with metadata_database(world, self.registry).connect(read_only=True) as session:
            row = session.one(_SESSIONS)
            return int(row[0]) if row else 0

    def _only_in_database(self, world: World) -> Iterator[Problem]:
        """Say what the tree lacks of the database: it would be lost. What the tree has beside it is newer."""
        with metadata_snapshot(metadata_database(world, self.registry)) as catalog:
            tree = Tree(world.storage(self.registry))
            if not tree.storage.exists():
                raise RefusedError(f"{tree.storage.root} is not there", hint="is the disk mounted?")
            found = TreeWriting(tree, catalog, None, take_out=False, careful=True).run()
        lost = found.payloads + found.manifests + found.tags
        if lost:
            yield Problem(
                f"the database of {self.registry} holds {found.tags} tags, {found.manifests} manifests and"
                f" {found.payloads} payloads that the tree has not, the first is {found.examples[0]}",
                "if all of that was deleted from the tree on purpose since, give --accept-data-loss",
            )
