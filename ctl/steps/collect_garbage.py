"""Run the registry's own collector, detached, and prove by its summary line that it came to the end."""

from __future__ import annotations

import shlex
import time
from datetime import timedelta
from typing import ClassVar

from ctl.catalog.digests import blob_path, revision_path
from ctl.errors import InterruptedRunError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Step, StepReport, Target
from ctl.report.events import Message, Progress
from ctl.report.model import Text
from ctl.steps.collection import Collector, collector_of
from ctl.steps.garbage_report import preview_blocks, preview_data
from ctl.steps.keep_aside import estimate_window, plan_now
from ctl.steps.plan_file import PlannedCollection, load_plan, plan_path

POLL_SECONDS = 0.1
GRACE = timedelta(seconds=30)


def job_ids(here: Target) -> list[str]:
    """The ids of the collectors that this run has started so far, also before a crash."""
    known = here.run.notes(CollectGarbage.__name__).get("jobs", [])
    return [str(job) for job in known] if isinstance(known, list) else []


def end_collectors(here: Target, registry: str) -> None:
    """Prove that no collector of this run is alive, ending one that is."""
    jobs = job_ids(here)
    if not jobs:
        return
    host = collector_of(here.world, registry).host
    for job in jobs:
        if host.job(job).state in ("running", "unknown"):
            here.run.emit(Message(f"ending the collector (job {job})", "warning"))
            host.kill_job(job, GRACE)


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

    def title(self) -> str:
        return f"collect the garbage of {self.registry}"

    def host(self) -> str:
        return self.node

    def preview(self, here: Target) -> Preview:
        plan = plan_now(here.world, self.registry, self.delete_untagged)
        window = estimate_window(here.world, self.registry, plan)
        collector = collector_of(here.world, self.registry)
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
        job = self._start_or_find(here, collector)
        started = time.monotonic()
        code = self._wait(here, collector, job, len(plan.garbage.blobs))
        self._prove(collector, job, code)
        blobs, size, manifests = gone(here, self.registry, plan)
        collector.host.forget_job(job)
        return StepReport(
            {
                "blobs": blobs,
                "bytes": size,
                "manifests": manifests,
                "collector_seconds": round(time.monotonic() - started, 3),
            },
            changed=bool(blobs or manifests),
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        # Not "done": its output is still to be read. Applying again finds a live collector, reads what an
        # ended one said, and starts a new one only where the old one is proved dead.
        return "partial"

    def settle(self, here: Target, before: Before) -> None:
        end_collectors(here, self.registry)

    def _start_or_find(self, here: Target, collector: Collector) -> str:
        jobs = job_ids(here)
        if jobs and collector.host.job(jobs[-1]).state in ("running", "exited"):
            return jobs[-1]
        if jobs:
            collector.host.kill_job(jobs[-1], GRACE)
        job = f"{here.run.id}-collect-{len(jobs) + 1}"
        here.run.note(jobs=[*jobs, job])
        here.run.guard()
        collector.host.start(collector.command(dry_run=False, delete_untagged=self.delete_untagged), job)
        return job

    def _wait(self, here: Target, collector: Collector, job: str, total: int) -> int | None:
        """Follow the collector to its end; its exit code, None if it was killed without leaving one."""
        offset, deleted, started = 0, 0, time.monotonic()
        while True:
            status = collector.host.job(job)
            if here.run.stopping() and status.state == "running":
                collector.host.kill_job(job, GRACE)
                raise InterruptedRunError("the collection was stopped; what it had deleted was garbage")
            chunk = collector.host.job_output(job, "stdout", offset)
            offset += len(chunk)
            deleted += chunk.count(b"blob eligible for deletion")
            rate = deleted / max(time.monotonic() - started, 1e-6)
            over = status.state != "running"
            here.run.emit(
                Progress(
                    "collect",
                    min(deleted, total),
                    total,
                    "blobs",
                    rate,
                    (total - deleted) / rate if rate and deleted < total else None,
                    finished=over,
                )
            )
            if over:
                return status.exit_code
            time.sleep(POLL_SECONDS)

    def _prove(self, collector: Collector, job: str, code: int | None) -> None:
        stdout = collector.host.job_output(job, "stdout").decode(errors="replace")
        stderr = collector.host.job_output(job, "stderr").decode(errors="replace")
        output = collector.engine.parse_collection(stdout, stderr, code, collector.version)
        if not output.complete:
            raise RegctlError(
                f"the collector on {self.node} did not come to its end"
                f" (exit code {'unknown' if code is None else code}): {output.failure}",
                hint="nothing live was lost; mend the cause and run the same command again",
            )


def gone(here: Target, registry: str, plan: PlannedCollection) -> tuple[int, int, int]:
    """Measure what of a plan is gone from the storage: blobs, their bytes, manifest links."""
    from ctl.storage.base import Failure

    storage = here.world.storage(registry)
    digests = list(plan.garbage.blobs)
    found = storage.stat_many(blob_path(d) for d in digests)
    lost = [d for d, entry in zip(digests, found, strict=True) if isinstance(entry, Failure)]
    links = [revision_path(repository, digest) for repository, digest in sorted(plan.garbage.manifests)]
    unlinked = sum(1 for entry in storage.stat_many(links) if isinstance(entry, Failure))
    return len(lost), sum(plan.garbage.blobs[d] for d in lost), unlinked
