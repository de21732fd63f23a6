"""Show and repair the lock files with which GitLab's registry marks whose a storage is"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.catalog.lockfiles import LockFiles
    from ctl.context import Context
    from ctl.recipes.model import Recipe, RunReport
    from ctl.report.model import Block, Json
    from ctl.steps.set_lock_files import SetLockFiles
    from ctl.world import World


@click.group("lockfiles")
def command() -> None:
    """See and put right the lock files of a GitLab registry: database-in-use and filesystem-in-use."""


@command.command("show")
@click.argument("registry", required=False)
@pass_context
def show(context: Context, registry: str | None) -> None:
    """Lay out everything that says which backend keeps a registry's content, and what it comes to.

    Lock files, every node's configuration and header, rows of the database, the last import. Only looks:
    nothing is started, created or written. Exit code 3 where the lock files do not fit, or something is not
    known.
    """
    from ctl.engines.metadata import metadata_of
    from ctl.steps.backend_evidence import gather
    from ctl.steps.lock_files_report import show_report

    name = context.registry_name(registry)
    has_database = metadata_of(context.world.engine(name)) is not None
    context.show(show_report(name, gather(context.world, name), has_database=has_database))


@command.command("repair")
@click.argument("registry", required=False)
@click.option(
    "--set",
    "backend",
    type=click.Choice(["database", "filesystem"]),
    help="Say which backend it is, where the evidence is contradictory.",
)
@pass_context
def repair(context: Context, registry: str | None, backend: str | None) -> None:
    """Have the lock files that fit the evidence, or the backend that --set names.

    Refused while a registry that runs serves the other backend: lock files switch nothing. The run can be
    taken back by `regctl lockfiles undo RUN`.
    """
    from ctl.steps.repair_lock_files import RepairLockFiles

    name = context.registry_name(registry)
    wanted = _wanted(context.world, name, backend)
    step = RepairLockFiles(
        registry=name,
        database_in_use=wanted.database_in_use,
        filesystem_in_use=wanted.filesystem_in_use,
    )
    recipe = _recipe("lockfiles-repair", name, step, f"Have {wanted.describe()} in the storage of {name}?")
    _show(context, "lockfiles-repair", name, context.run(recipe))


@command.command("undo")
@click.argument("run")
@pass_context
def undo(context: Context, run: str) -> None:
    """Bring back the lock files as RUN had found them: bytes, modes and owners."""
    from ctl.errors import RefusedError
    from ctl.recipes import runs
    from ctl.steps.repair_lock_files import RepairLockFiles, RestoreLockFiles, restoring

    run_id = runs.find(context.world.state_dir, run)
    state = runs.load(context.world.state_dir, run_id)
    ours = {RepairLockFiles.__name__, RestoreLockFiles.__name__}
    steps = state.progress.values()
    found = [entry for entry in steps if entry.step.rpartition(":")[2] in ours and entry.before]
    if not found:
        raise RefusedError(
            f"the run {run_id} changed no lock files, or was no repair of them",
            hint="`regctl run list` shows the runs; those of `lockfiles repair` are called lockfiles-repair",
        )
    registry = state.resources[0].partition("/")[2]
    step = restoring(registry, run_id, found[-1].before)
    recipe = _recipe("lockfiles-undo", registry, step, f"Bring back the lock files of {registry}?")
    _show(context, "lockfiles-undo", registry, context.run(recipe))


def _wanted(world: World, registry: str, backend: str | None) -> LockFiles:
    """Return the lock files to be had; RefusedError where only the operator can say."""
    from ctl.catalog.backend import judge, propose
    from ctl.errors import RefusedError
    from ctl.steps.backend_evidence import gather
    from ctl.steps.metadata_doors import programs

    programs(world, registry)
    evidence = gather(world, registry)
    verdict = judge(evidence)
    if evidence.locks is None:
        raise RefusedError(
            f"the lock files of {registry} cannot be read: {evidence.unknown.get('locks', '')}"
        )
    wanted = propose(evidence, backend or verdict.mode)  # type: ignore[arg-type]  # a Choice of modes
    if wanted is None:
        raise RefusedError(
            f"which backend keeps the content of {registry} cannot be told: {verdict.mode}",
            hint="`--set database` or `--set filesystem` says it; see what would be lost first",
            details=verdict.reasons,
        )
    return wanted


def _recipe(name: str, registry: str, step: SetLockFiles, question: str) -> Recipe:
    from ctl.recipes.model import Do, Recipe

    return Recipe(
        name,
        (Do(step),),
        resources=(f"registry/{registry}",),
        title=step.title(),
        question=question,
        undo_on_failure=True,
    )


def _show(context: Context, name: str, registry: str, run: RunReport) -> None:
    from ctl.catalog.lockfiles import read_lock_files
    from ctl.report.model import Report, Text
    from ctl.steps.lock_files_report import lock_data

    blocks: list[Block] = []
    for preview in run.previews if run.state == "dry-run" else ():
        blocks += preview.titled
    locks = read_lock_files(context.world.storage(registry))
    if run.state != "dry-run":
        blocks.append(Text(f"{registry} has {locks.describe()}"))
    data: dict[str, Json] = {
        "registry": registry,
        "run": run.id,
        "dry_run": run.state == "dry-run",
        "lock_files": lock_data(locks),
        "changes": [preview.title for preview in run.previews if preview.changes],
    }
    changed = run.id and run.outcome.value == "changed"
    hints = (f"`regctl lockfiles undo {run.id}` takes it back",) if changed and "repair" in name else ()
    context.show(Report(name, run.outcome, data, tuple(blocks), hints))
