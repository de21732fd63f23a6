"""Ask a node over HTTP: what it lists against its database; tags pulled to the last layer, all hashed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctl.errors import RegctlError, UsageError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Step, StepReport, Target
from ctl.report.model import Json

if TYPE_CHECKING:
    from ctl.catalog.api import ApiComparison, PullReport
    from ctl.catalog.metadata_database import MetadataCatalog
    from ctl.report.events import EventSink
    from ctl.world import World

ALL = -1


class PullSample(Step):
    """Pull tags that the metadata database holds from one node, and demand every byte of them."""

    registry: str
    node: str
    count: int = 20  # -1 is all
    accept_data_loss: bool = False

    def title(self) -> str:
        what = "every tag" if self.count == ALL else f"{self.count} tags"
        return f"pull {what} of {self.registry} from {self.node} to the last layer"

    def host(self) -> str:
        return self.node

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        if not here.world.service(self.registry, self.node).state().running:
            return StepReport(changed=False, not_applicable="the service was stopped, and stays so")
        done = pull(
            here.world, self.registry, self.node, count=self.count, seed=here.run.id, emit=here.run.emit
        )
        broken = tuple(f"{d.repository}:{d.name}: {d.expected}: {d.found}" for d in done.differences[:20])
        if done.broken and not self.accept_data_loss:
            raise RegctlError(
                f"{done.broken} of {done.tags} tags cannot be pulled from {self.node}, such as {broken[0]}",
                details=broken[1:],
                hint="`regctl registry verify --pull all` names each of them",
            )
        return StepReport(pull_data(done), changed=False, warnings=broken)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"


def pull(world: World, registry: str, node: str, *, count: int, seed: str, emit: EventSink) -> PullReport:
    """Pull so many tags (-1: all) that the database holds from a node; UnreachableError if it is down."""
    from ctl.catalog.api import pull_tags, sample
    from ctl.catalog.import_ import Meter
    from ctl.catalog.metadata_database import metadata_snapshot
    from ctl.steps.metadata_doors import metadata_database

    with metadata_snapshot(metadata_database(world, registry)) as catalog:
        total = catalog.counts().tags
        meter = Meter(emit, total if count == ALL else min(count, total), task="pull")
        tags: Iterator[tuple[str, str, str]] = _tags(catalog)
        chosen = tags if count == ALL else iter(sample(tags, count, seed))
        done = pull_tags(world.client(registry, node), chosen, advance=meter.add)
        meter.end()
    return done


def compare_served(world: World, registry: str, node: str, *, emit: EventSink) -> ApiComparison:
    """Hold what a node lists, and the digest of every tag, against the database."""
    from ctl.catalog.api import compare_api
    from ctl.catalog.import_ import Meter
    from ctl.catalog.metadata_database import metadata_snapshot
    from ctl.steps.metadata_doors import metadata_database

    with metadata_snapshot(metadata_database(world, registry)) as catalog:
        meter = Meter(emit, catalog.counts().tags, task="api")
        found = compare_api(world.client(registry, node), catalog, advance=meter.add)
        meter.end()
    return found


def pull_data(done: PullReport) -> dict[str, Json]:
    """Return the figures of a pull for a report."""
    return {
        "pulled_tags": done.tags,
        "pulled_manifests": done.manifests,
        "pulled_blobs": done.blobs,
        "pulled_bytes": done.bytes,
        "pull_broken": done.broken,
    }


def _tags(catalog: MetadataCatalog) -> Iterator[tuple[str, str, str]]:
    return ((one.repository, one.name, one.digest) for one in catalog.tags())


def pull_count(text: str) -> int:
    """Read how many tags are to be pulled: a number, or "all"; UsageError for anything else."""
    if text == "all":
        return ALL
    if not text.isdecimal():
        raise UsageError(f"--pull {text}: a number of tags, or all")
    return int(text)
