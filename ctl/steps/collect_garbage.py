"""Run the registry's own collector, detached, and prove by its summary line that it came to the end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr

from ctl.catalog.digests import blob_path, revision_path
from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.events import Progress
from ctl.report.model import Text
from ctl.steps.collection import collector_of
from ctl.steps.collector_job import end_jobs, follow, start_or_find
from ctl.steps.garbage_report import per_repository, preview_blocks, preview_data
from ctl.steps.keep_aside import estimate_window, plan_now
from ctl.steps.plan_file import PlannedCollection, load_plan, plan_path
from ctl.steps.storage_gate import metadata_in_use


class CollectGarbage(Step):
    """Delete what nothing uses, by the registry's own `garbage-collect`.

    The job's id is journaled before the job is started, so that a regctl killed in between finds the
    collector again: it is never started twice, and nothing opens before it is proved dead.
    """

    registry: str
    node: str
    delete_untagged: bool = False

    interruptible: ClassVar[bool] = True  # killed at any point, a second run ends the same (2.8.2, measured)
    irreversible: ClassVar[bool] = True

    _ahead: Callable[[], PlannedCollection] | None = PrivateAttr(None)

    def planned(self, ahead: Callable[[], PlannedCollection] | None) -> Self:
        """Have the preview show a plan that is already being made; no argument, so in no journal."""
        self._ahead = ahead
        return self

    def title(self) -> str:
        return f"collect the garbage of {self.registry}"

    def host(self) -> str:
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        yield from metadata_in_use(here.world, self.registry)

    def preview(self, here: Target) -> Preview:
        collector = collector_of(here.world, self.registry)
        plan = self._ahead() if self._ahead else plan_now(here.world, self.registry, self.delete_untagged)
        window = estimate_window(here.world, self.registry, plan, collector.version)
        line = shlex.join(collector.command(dry_run=False, delete_untagged=self.delete_untagged).argv)
        return Preview(
            self.title(),
            changes=bool(plan.garbage.blobs or plan.garbage.manifests),
            blocks=(*preview_blocks(plan, window), Text(f"on {self.node}: {line}")),
            data={**preview_data(plan, window), "argv": line},
        )

    def apply(self, here: Target, before: Before) -> StepReport:
        plan = load_plan(plan_path(here.world.state_dir, here.run.id))
        collector = collector_of(here.world, self.registry)
        started = time.monotonic()
        job = start_or_find(
            here, collector, type(self).__name__, dry_run=False, untagged=self.delete_untagged
        )
        telling = _Telling(here, len(plan.garbage.blobs))
        output = follow(here, collector, job, telling)
        if not output.complete:
            raise RegctlError(
                f"the collector on {self.node} did not come to its end: {output.failure}",
                hint="what it took too much is put back; mend the cause and run the same command again",
            )
        went = gone(here, self.registry, plan)
        here.run.note(went=True)
        collector.host.forget_job(job)
        seconds = round(time.monotonic() - started, 3)
        return StepReport(
            {**went, "collector_seconds": seconds}, changed=bool(went["blobs"] or went["manifests"])
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        # Not "done": its output is still to be read. Applying again finds a live collector, reads what an
        # ended one said, and starts a new one only where the old one is proved dead.
        return "partial"

    def settle(self, here: Target, before: Before) -> None:
        end_jobs(here, self.registry, type(self).__name__)


class _Telling:
    """Counts what the collector says that it deletes, and tells the operator."""

    def __init__(self, here: Target, total: int) -> None:
        self._here, self._total, self._deleted = here, total, 0
        self._started, self._rest = time.monotonic(), b""

    def __call__(self, piece: bytes, over: bool) -> None:
        lines = self._rest + piece
        whole, newline, self._rest = lines.rpartition(b"\n")
        self._deleted += (whole + newline).count(b"blob eligible for deletion")
        deleted, total = self._deleted, self._total
        rate = deleted / max(time.monotonic() - self._started, 1e-6)
        left = (total - deleted) / rate if rate and deleted < total else None
        event = Progress("collect", min(deleted, total), total, "blobs", rate, left, finished=over)
        self._here.run.emit(event)


def gone(here: Target, registry: str, plan: PlannedCollection) -> Mapping[str, Any]:
    """Measure what of a plan is gone from the storage: blobs, their bytes, manifest links, by repository."""
    from ctl.storage.base import Failure

    storage, garbage = here.world.storage(registry), plan.garbage
    digests, doomed = list(garbage.blobs), sorted(garbage.manifests)
    found = storage.stat_many(blob_path(d) for d in digests)
    lost = [d for d, e in zip(digests, found, strict=True) if isinstance(e, Failure) and e.kind == "missing"]
    found = storage.stat_many(revision_path(repository, digest) for repository, digest in doomed)
    links = [d for d, e in zip(doomed, found, strict=True) if isinstance(e, Failure) and e.kind == "missing"]
    rows = garbage.went(lost, links)
    return {
        "blobs": len(lost),
        "bytes": sum(garbage.blobs[d] for d in lost),
        "manifests": len(links),
        "repositories": sum(1 for row in rows if row.repository),
        "per_repository": per_repository(rows),
    }
