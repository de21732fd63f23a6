"""Run GitLab's import as a detached job, follow its log, and prove that none is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.catalog.import_facts import application_name
from ctl.errors import InterruptedRunError
from ctl.recipes.model import Target
from ctl.report.events import Message
from ctl.steps.collection import collecting_node
from ctl.steps.metadata_doors import programs
from ctl.steps.registry_program import program

if TYPE_CHECKING:
    from ctl.config.models import Node
    from ctl.engines.metadata import ImportOptions, ImportOutput, ImportRecord
    from ctl.hosts.base import Command, Host
    from ctl.world import World

POLL_SECONDS = 0.1
PIECE = 4 << 20  # bytes of the log that are taken at once: after a crash all of it is read again
STDERR_LIMIT = 1 << 20
GRACE = timedelta(seconds=30)


def importing_node(world: World, registry: str) -> Node:
    """Return the node whose program imports: the one on the storage's host, else the first."""
    return collecting_node(world, registry)


def import_call(world: World, registry: str, options: ImportOptions, run: str = "") -> Command:
    """Write the call as the node's service would make it; a job has no time limit.

    The session is named after the run, so that an import can be told in pg_stat_activity.
    """
    node = importing_node(world, registry)
    command = programs(world, registry).import_command(node.binary, node.config_file, options)
    named = replace(command, env={**command.env, "PGAPPNAME": application_name(run)})
    return program(world, registry, node.host, named, timeout=None)


def jobs_of(here: Target, step: str) -> list[str]:
    """The ids of the jobs that a step of this run has started, also before a crash."""
    known = here.run.notes(step).get("jobs", [])
    return [str(job) for job in known] if isinstance(known, list) else []


def living_job(here: Target, registry: str, step: str) -> str:
    """Return the newest job of a step if it runs, or has ended and says how; "" otherwise."""
    jobs = jobs_of(here, step)
    host = _host(here, registry)
    return jobs[-1] if jobs and host.job(jobs[-1]).state in ("running", "exited") else ""


def start_import(here: Target, registry: str, step: str, word: str, options: ImportOptions) -> str:
    """Start an import and return its job. Its id is journaled first, so that it is always found again."""
    jobs = jobs_of(here, step)
    host = _host(here, registry)
    for job in jobs:
        host.kill_job(job, GRACE)  # proves the last attempt dead: two imports would break each other
    job = f"{here.run.id}-import-{word}-{len(jobs) + 1}"
    here.run.note(jobs=[*jobs, job])
    here.run.guard()
    host.start(import_call(here.world, registry, options, here.run.id), job)
    return job


def follow_import(
    here: Target, registry: str, job: str, followed: Callable[[ImportRecord], None]
) -> ImportOutput:
    """Read an import's log from its beginning until it has ended and nothing of it is left.

    Raises InterruptedRunError where the operator asked to stop: the import is proved dead then.
    """
    host = _host(here, registry)
    parser, offset = programs(here.world, registry).import_parser(), 0
    while True:
        status = host.job(job)
        if here.run.stopping() and status.state == "running":
            host.kill_job(job, GRACE)
            raise InterruptedRunError(
                "the import was stopped; the same command goes on where that is possible"
            )
        while piece := host.job_output(job, "stdout", offset, PIECE):
            offset += len(piece)
            for record in parser.feed(piece):
                followed(record)
            if len(piece) < PIECE:
                break
        if status.state != "running":
            break
        time.sleep(POLL_SECONDS)
    host.kill_job(job, GRACE)
    stderr = host.job_output(job, "stderr", 0, STDERR_LIMIT).decode(errors="replace")
    return parser.finish(stderr, status.exit_code)


def end_imports(here: Target, registry: str, step: str) -> None:
    """Prove that nothing of this step's imports is alive, ending what is. Needs no binary and no database."""
    host = _host(here, registry)
    for job in jobs_of(here, step):
        if host.job(job).state in ("running", "unknown"):
            here.run.emit(Message(f"ending the import (job {job})", "warning"))
        host.kill_job(job, GRACE)


def forget_imports(here: Target, registry: str, step: str) -> None:
    """Delete what this step's imports have printed; they are proved dead already."""
    host = _host(here, registry)
    for job in jobs_of(here, step):
        if host.job(job).state not in ("running", "unknown"):
            host.forget_job(job)


def _host(here: Target, registry: str) -> Host:
    return here.world.host(importing_node(here.world, registry).host)
