"""Show how garbage collection of a registry stands; `regctl gc status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context
    from ctl.world import World


@click.command("status")
@click.argument("registry", required=False)
@click.option(
    "--measure",
    metavar="DURATION",
    help="Look twice, so far apart (10s), and forecast from the pace in between.",
)
@pass_context
def status(context: Context, registry: str | None, measure: str | None) -> None:
    """Show the queues and workers of online collection, or when garbage was last collected offline.

    For a GitLab registry on its metadata database: how many tasks wait and are due, for how long, which are
    stuck, why they were queued, what the workers did last, and when the queues will be empty. For others:
    the last `regctl gc`. Only looks. Exit code 3 where something is stuck, too late, or not known.
    """
    from ctl.steps.last_collection import last_collection
    from ctl.steps.online_gc import look_at_gc
    from ctl.steps.online_gc_report import offline_report, online_report

    name = context.registry_name(registry)
    seconds = _seconds(measure)
    if _collects_online(context.world, name):
        context.show(online_report(name, look_at_gc(context.world, name, measure=seconds)))
    else:
        context.show(offline_report(name, last_collection(context.world.state_dir, name)))


def _seconds(text: str | None) -> float:
    from ctl.engines.distribution_parsers import parse_duration
    from ctl.errors import UsageError

    if text is None:
        return 0.0
    found = parse_duration(text)
    if found is None or not 0 < found.total_seconds() <= 3600:
        raise UsageError(f"--measure {text!r} is no duration up to an hour", hint="write 10s or 1m")
    return found.total_seconds()


def _collects_online(world: World, registry: str) -> bool:
    """Say whether a node is, or may be, on a metadata database: one whose file cannot be read may be."""
    from ctl.catalog.backend import asked_backend
    from ctl.engines.metadata import metadata_of
    from ctl.errors import RegctlError
    from ctl.steps.effective_config import effective_sections

    if metadata_of(world.engine(registry)) is None:
        return False
    for node in world.registry(registry).nodes:
        try:
            sections = effective_sections(world, registry, node, ("database",))
        except RegctlError:
            return True
        if asked_backend(sections) != "filesystem":
            return True
    return False
