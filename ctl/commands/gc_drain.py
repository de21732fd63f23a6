"""Let online collection work faster for a while: `regctl gc drain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context
    from ctl.recipes.model import Recipe, RunReport
    from ctl.world import World

Until = Literal["idle", "empty"]


@click.command("drain")
@click.argument("registry", required=False)
@click.option(
    "--interval",
    default="200ms",
    show_default=True,
    metavar="DURATION",
    help="Between two tasks of a worker; the registry's own is 5s.",
)
@click.option("--until-idle", "until", flag_value="idle", help="Go on until no task is due any more.")
@click.option(
    "--until-empty",
    "until",
    flag_value="empty",
    help="Go on until no task is left; what a deletion queues anew is due a day later.",
)
@click.option("--for", "time", metavar="DURATION", help="Go on for so long, such as 2h.")
@click.option(
    "--review-now",
    is_flag=True,
    help="First let tasks be due that wait for their day; those queued within the hour keep it.",
)
@click.option("--skip", multiple=True, metavar="CHECK", help="Pass over a check by its name: config-newer.")
@click.option("--skip-reason", default="", metavar="WHY", help="Why a check is passed over; journaled.")
@pass_context
def drain(
    context: Context,
    registry: str | None,
    interval: str,
    until: Until | None,
    time: str | None,
    review_now: bool,
    skip: tuple[str, ...],
    skip_reason: str,
) -> None:
    """Let the workers of online collection take task after task, follow the queues, put all back.

    After an import everything that the registry holds waits to be reviewed, one task in 5 seconds for each
    worker and node. Every running node gets short intervals and is restarted; at the end, whatever happens,
    the original bytes of its file are back and it is restarted again.

    A task that is queued keeps its date, a day later as a rule, however short the intervals are:
    --review-now changes the dates, but not of what was queued within the last hour, since a layer whose
    manifest is still being pushed looks like garbage.
    """
    name = context.registry_name(registry)
    recipe = drain_recipe(
        context.world,
        name,
        interval=_interval(interval),
        until=until,
        seconds=_time(time, until),
        review_now=review_now,
    )
    _show(context, name, context.run(recipe, skip=skip, skip_reason=skip_reason))


def drain_recipe(
    world: World,
    registry: str,
    *,
    interval: str,
    until: Until | None,
    seconds: float | None,
    review_now: bool = False,
) -> Recipe:
    """Write the recipe: new dates where asked for, then within faster nodes follow the queues."""
    from ctl.recipes.model import Do, Recipe, Within
    from ctl.steps.faster_gc import FasterGc
    from ctl.steps.follow_queues import FollowQueues
    from ctl.steps.metadata_doors import metadata_database
    from ctl.steps.review_now import ReviewNow

    metadata_database(world, registry)
    scopes = tuple(
        FasterGc(registry=registry, node=node.host, interval=interval)
        for node in world.registry(registry).nodes
    )
    follow = FollowQueues(registry=registry, until=until, seconds=seconds)
    first = (Do(ReviewNow(registry=registry)),) if review_now else ()
    nodes = "its node is" if len(scopes) == 1 else f"its {len(scopes)} nodes are"
    return Recipe(
        "gc-drain",
        (*first, Within(scopes, (Do(follow),))),
        resources=(f"registry/{registry}",),
        title=f"let online collection of {registry} work faster",
        decided_by="" if review_now else "FollowQueues",
        question=f"Let online collection of {registry} work faster? {nodes} restarted now and at the end.",
    )


def _interval(text: str) -> str:
    from ctl.engines.distribution_parsers import parse_duration
    from ctl.errors import UsageError

    found = parse_duration(text)
    if found is None or not 0.01 <= found.total_seconds() <= 60:
        raise UsageError(
            f"--interval {text!r} is no duration from 10ms to 1m",
            hint="200ms is five tasks a second for each worker and node; each costs the database a look",
        )
    return text


def _time(text: str | None, until: Until | None) -> float | None:
    from ctl.engines.distribution_parsers import parse_duration
    from ctl.errors import UsageError

    if text is None:
        if until is None:
            raise UsageError(
                "say how long the workers work faster",
                hint="--until-idle, or --for 2h, or both: whatever comes first",
            )
        return None
    found = parse_duration(text)
    if found is None or found.total_seconds() <= 0:
        raise UsageError(f"--for {text!r} is no duration", hint="write 30m or 2h")
    return found.total_seconds()


def _show(context: Context, registry: str, run: RunReport) -> None:
    from ctl.report.model import Report, Text

    if run.state == "dry-run":
        previews = [preview for preview in run.previews if preview.changes]
        data = {
            "registry": registry,
            "dry_run": True,
            "changes": [preview.title for preview in previews],
            **{key: value for preview in previews for key, value in preview.data.items()},
        }
        blocks = [block for preview in run.previews for block in preview.titled]
        context.show(Report("gc-drain", run.outcome, data, tuple(blocks)))
        return
    figures = {**run.data("ReviewNow"), **run.data("FollowQueues")}
    data = {"registry": registry, "dry_run": False, "run": run.id, **figures}
    text = f"the queues of {registry} were not followed"
    if "tasks_after" in figures:
        text = (
            f"{figures['tasks_before']:,} tasks before, {figures['tasks_after']:,} now "
            f"({figures['due_after']:,} of them due), {figures['tasks_per_second']} a second"
        )
    context.show(Report("gc-drain", run.outcome, data, (Text(text),)))
