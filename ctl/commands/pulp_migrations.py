"""`regctl database migrate` for a Pulp: each of its hosts has a database of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ctl.commands.database_targets import Chosen
    from ctl.context import Context
    from ctl.report.model import Report

Asked = Literal["status", "plan", "version"]


def named_only(context: Context, chosen: Chosen) -> Chosen:
    """Leave out the Pulps that were not named, and say so: nothing takes back what `up` does to them."""
    from dataclasses import replace

    from ctl.errors import UsageError
    from ctl.report.events import Message

    if not chosen.pulps:
        return chosen
    names = ", ".join(chosen.pulps)
    if not chosen.own and not chosen.metadata:
        raise UsageError(
            "a Pulp's schema is migrated only by its name", hint=f"name one with --registry: {names}"
        )
    context.emit(Message(f"{names} is left out: a Pulp is migrated only where --registry names it"))
    return replace(chosen, pulps=())


def reports(context: Context, chosen: Chosen, node: str | None, asked: Asked) -> list[Report]:
    """Return what is shown of each Pulp."""
    from ctl.steps import pulp_schema_reports as shown

    make = {"status": shown.status_report, "plan": shown.plan_report, "version": shown.version_report}[asked]
    alone = not chosen.own and not chosen.metadata
    named = [
        name
        for name in chosen.pulps
        if alone or not node or node in {one.host for one in context.world.pulp(name).nodes}
    ]
    return [make(context.world, name, (node,) if node else ()) for name in named]


def up(context: Context, name: str, node: str | None, timeout: int) -> None:
    """Migrate a Pulp's hosts side by side; nothing is begun anywhere where one of them is refused."""
    from ctl.recipes.model import Across, Do, Recipe, Row
    from ctl.steps.migrate_pulp import MigratePulp
    from ctl.steps.pulp_doors import pulp_nodes
    from ctl.steps.pulp_schema_reports import run_report

    nodes = pulp_nodes(context.world, name, (node,) if node else ())
    rows = tuple(
        Row(one.host, (Do(MigratePulp(pulp=name, host_name=one.host, timeout_seconds=timeout)),))
        for one in nodes
    )
    recipe = Recipe(
        "database-migrate-up",
        (Across(rows),),
        resources=(f"pulp/{name}",),  # what preparing its content locks, too
        title=f"migrate the schema of {name} on {', '.join(row.host for row in rows)}",
    )
    context.show(run_report(context.run(recipe)))


def refuse_down(name: str) -> None:
    """Raise RefusedError: what the migrations of a Pulp have changed, they do not change back."""
    from ctl.errors import RefusedError

    raise RefusedError(
        f"{name} is a Pulp: its migrations move and drop data, and there is no supported way back",
        hint="restore the backups of its database and of its media folder, both of one moment before the "
        "upgrade, and install the release that they were made with",
    )
