"""Run the registry's own collector as a detached job, follow it, and prove that none is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.errors import InterruptedRunError
from ctl.recipes.model import Target
from ctl.report.events import Message
from ctl.steps.collection import Collector, collecting_node

if TYPE_CHECKING:
    from ctl.engines.base import CollectionOutput

POLL_SECONDS = 0.1
GRACE = timedelta(seconds=30)
Followed = Callable[[bytes, bool], None]  # what it printed since, and whether it has ended


def job_ids(here: Target, step: str) -> list[str]:
    """The ids of the jobs that a step of this run, named by its class, has started, also before a crash."""
    known = here.run.notes(step).get("jobs", [])
    return [str(job) for job in known] if isinstance(known, list) else []


def end_jobs(here: Target, registry: str, *steps: str) -> None:
    """Prove that nothing of the jobs of these steps is alive, ending what is.

    Asks nothing of the registry's binary, so that getting out needs none.
    """
    host = here.world.host(collecting_node(here.world, registry).host)
    for job in (job for step in steps for job in job_ids(here, step)):
        if host.job(job).state in ("running", "unknown"):
            here.run.emit(Message(f"ending the collector (job {job})", "warning"))
        host.kill_job(job, GRACE)  # also one that has ended: it may have left children behind


def forget_jobs(here: Target, registry: str, *steps: str) -> None:
    """Delete what the jobs of these steps have printed; they are proved dead already."""
    host = here.world.host(collecting_node(here.world, registry).host)
    for job in (job for step in steps for job in job_ids(here, step)):
        if host.job(job).state not in ("running", "unknown"):
            host.forget_job(job)


def start_or_find(here: Target, collector: Collector, step: str, *, dry_run: bool, untagged: bool) -> str:
    """Return the job of a collector that runs or has ended; start one where there is none.

    The id is journaled before the start, so that a regctl killed in between finds the collector again:
    none is started while another may live.
    """
    jobs = job_ids(here, step)
    if jobs and collector.host.job(jobs[-1]).state in ("running", "exited"):
        return jobs[-1]
    if jobs:
        collector.host.kill_job(jobs[-1], GRACE)
    job = f"{here.run.id}-{'compare' if dry_run else 'collect'}-{len(jobs) + 1}"
    here.run.note(jobs=[*jobs, job])
    here.run.guard()
    collector.host.start(collector.command(dry_run=dry_run, delete_untagged=untagged), job)
    return job


def follow(here: Target, collector: Collector, job: str, followed: Followed) -> CollectionOutput:
    """Read what a collector prints, piece by piece, until it has ended and nothing of it is left.

    Raises InterruptedRunError where the operator asked to stop: the collector is proved dead then.
    """
    parser, offset = collector.engine.collection_parser(), 0
    while True:
        status = collector.host.job(job)
        if here.run.stopping() and status.state == "running":
            collector.host.kill_job(job, GRACE)
            raise InterruptedRunError("the collector was stopped; what it took too much is put back")
        piece = collector.host.job_output(job, "stdout", offset)
        offset += len(piece)
        parser.feed(piece)
        followed(piece, status.state != "running")
        if status.state != "running":
            break
        time.sleep(POLL_SECONDS)
    collector.host.kill_job(job, GRACE)
    stderr = collector.host.job_output(job, "stderr").decode(errors="replace")
    return parser.finish(stderr, status.exit_code)
