"""Hold the collector's own dry run against our plan, inside the window, before anything is deleted."""

from __future__ import annotations

import time
from typing import ClassVar

from ctl.errors import RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Step, StepReport, Target
from ctl.steps.collection import collector_of
from ctl.steps.collector_job import end_jobs, follow, start_or_find
from ctl.steps.plan_file import load_plan, plan_path

NAMED = 10  # how many digests a refusal names


class CompareCollector(Step):
    """Stop the run if the collector would take any digest that our plan keeps."""

    registry: str
    node: str
    delete_untagged: bool = False

    interruptible: ClassVar[bool] = True

    def title(self) -> str:
        return f"compare the collector's dry run with the plan for {self.registry}"

    def host(self) -> str:
        return self.node

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        collector = collector_of(here.world, self.registry)
        plan = load_plan(plan_path(here.world.state_dir, here.run.id)).garbage
        started = time.monotonic()
        job = start_or_find(here, collector, type(self).__name__, dry_run=True, untagged=self.delete_untagged)
        output = follow(here, collector, job, lambda piece, over: None)
        collector.host.forget_job(job)
        seconds = time.monotonic() - started
        if not output.complete:
            raise RegctlError(
                f"the collector's own dry run on {self.node} failed: {output.failure}",
                hint="`regctl registry import` lists the entries that it cannot read, with their paths",
            )
        _refuse_more(sorted(output.eligible_blobs - plan.blobs.keys()), "blobs")
        ours = {digest for _repository, digest in plan.manifests} | set(plan.manifests)
        theirs = {d if not repository else (repository, d) for repository, d in output.eligible_manifests}
        _refuse_more(sorted(map(str, theirs - ours)), "manifests")
        left = len(plan.blobs.keys() - output.eligible_blobs)
        warnings = (f"the collector leaves {left} blobs that nothing uses",) if left else ()
        return StepReport(
            {
                "collector_blobs": len(output.eligible_blobs),
                "left_by_collector": left,
                "compare_seconds": round(seconds, 3),
            },
            changed=False,
            warnings=warnings,
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"  # it only reads: doing it again costs time and nothing else

    def settle(self, here: Target, before: Before) -> None:
        end_jobs(here, self.registry, type(self).__name__)


def _refuse_more(digests: list[str], what: str) -> None:
    if digests:
        raise RefusedError(
            f"the collector would delete {len(digests)} {what} that are in use; nothing was deleted",
            hint="this binary's collector loses data here (an index child, an unreadable entry or a read"
            " error); `regctl registry import` names damaged entries, docs/reference/gc.md the known cases",
            details=tuple(digests[:NAMED]),
        )
