"""Turn online collection on or off for good: `regctl gc online`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.config.models import Node
    from ctl.context import Context
    from ctl.recipes.model import Recipe, RunReport
    from ctl.world import World


@click.group("online")
def online() -> None:
    """Turn the online collection of a registry on its metadata database on or off, until told otherwise."""


@online.command("on")
@click.argument("registry", required=False)
@pass_context
def on(context: Context, registry: str | None) -> None:
    """Let every node's workers delete what nothing uses.

    Refused where `enable-db` has left collection off and nobody has verified the registry yet: that is
    `regctl enable-db --finish`. Each node's file is changed, the node restarted, and its log proves it.
    """
    _toggle(context, registry, enabled=True)


@online.command("off")
@click.argument("registry", required=False)
@pass_context
def off(context: Context, registry: str | None) -> None:
    """Let no node delete anything, as for a copy of the storage or a way back to the tree.

    A read-only registry goes on collecting: only this stops it. What is to be reviewed waits in its queue.
    """
    _toggle(context, registry, enabled=False)


def _toggle(context: Context, given: str | None, *, enabled: bool) -> None:
    from ctl.steps.config_plan import secrets_folder

    name = context.registry_name(given)
    if enabled:
        _refuse_unverified(context.world, name)
    recipe = online_recipe(context.world, name, enabled, context.site_file, secrets_folder(context.site_file))
    _show(context, name, enabled, context.run(recipe))


def online_recipe(world: World, registry: str, enabled: bool, site: str, secrets: str) -> Recipe:
    """Write the recipe: each node's file and restart, the proof by the logs, the site's memory."""
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.metadata_doors import programs
    from ctl.steps.prove_online_gc import ProveOnlineGc
    from ctl.steps.remember_settings import RememberSettings
    from ctl.steps.restart_node import RestartNode
    from ctl.steps.set_settings import ForgetKept, SetSettings

    programs(world, registry)
    values = {"gc": {"disabled": not enabled}}
    described = world.registry(registry).nodes
    wanting = [node.host for node in described if not _is(world, registry, node, enabled)]
    items: list[Do] = []
    for node in wanting:
        items.append(Do(SetSettings(registry=registry, node=node, values=values, secrets=secrets)))
        items.append(Do(RestartNode(registry=registry, node=node)))
    if wanting:
        items.append(Do(ProveOnlineGc(registry=registry, enabled=enabled)))
    items.append(Do(RememberSettings(registry=registry, site=site, values=values)))
    items += [Do(ForgetKept(registry=registry, node=node)) for node in wanting]
    word = "on" if enabled else "off"
    return Recipe(
        "gc-online",
        tuple(items),
        resources=(f"registry/{registry}",),
        title=f"turn online collection of {registry} {word}",
        question=f"Turn online collection of {registry} {word}? Nodes that run are restarted.",
        undo_on_failure=True,
    )


def _is(world: World, registry: str, node: Node, enabled: bool) -> bool:
    from ctl.steps.online_gc import settings_of

    return settings_of(world, registry, node).disabled is not enabled


def _refuse_unverified(world: World, registry: str) -> None:
    from ctl.errors import RefusedError
    from ctl.steps.finish_recipe import online_gc_is_off, step_three_is_due

    if online_gc_is_off(world, registry) and step_three_is_due(world, registry):
        raise RefusedError(
            f"the import of {registry} has not been verified and ended yet: collecting now could take what "
            "the way back needs",
            hint=f"`regctl enable-db {registry} --finish` verifies, ends the import and turns collection on",
        )


def _show(context: Context, registry: str, enabled: bool, run: RunReport) -> None:
    from ctl.report.model import Block, Json, Report, Text

    word = "on" if enabled else "off"
    data: dict[str, Json] = {"registry": registry, "online_gc": word, "run": run.id, "dry_run": not run.id}
    blocks: list[Block] = []
    if run.state == "dry-run":
        data["changes"] = [preview.title for preview in run.previews if preview.changes]
        for preview in run.previews:
            if preview.changes:
                blocks += preview.titled
    elif run.outcome.value in ("changed", "nothing-to-do"):
        blocks.append(Text(f"online collection of {registry} is {word}"))
    data.update(run.data("ProveOnlineGc"))
    context.show(Report("gc-online", run.outcome, data, tuple(blocks)))
