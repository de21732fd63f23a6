"""The recipe of a garbage collection, for `regctl gc` and for recipes in YAML that take it in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctl.recipes.model import Recipe, Scope
    from ctl.steps.plan_file import PlannedCollection
    from ctl.world import World


def collection_recipe(
    world: World,
    registry: str,
    *,
    mode: str | None,
    delete_untagged: bool,
    ahead: Callable[[], PlannedCollection] | None = None,
) -> Recipe:
    """Write the recipe of a collection: plan and keep aside, close, compare, collect, put back, open.

    The catalog database, where there is one, is brought up to date before and after. `ahead` and a `mode`
    of None are for a dry run only: the first is the plan that it shows, so nothing is brought up to date;
    with the second it plans, and asks no node whether it can be closed.
    """
    from ctl.recipes.model import Do, Recipe, Within
    from ctl.steps.collect_garbage import CollectGarbage
    from ctl.steps.collection import collecting_node
    from ctl.steps.keep_aside import KeepAside
    from ctl.steps.read_garbage import catalog_is_ready

    options = {"registry": registry, "delete_untagged": delete_untagged}
    collect = CollectGarbage(node=collecting_node(world, registry).host, **options).planned(ahead)
    body: tuple[Do | Within, ...] = (Do(collect),)
    if mode:
        from ctl.steps.compare_collector import CompareCollector
        from ctl.steps.put_back import PutBack

        compare = CompareCollector(node=collect.node, **options)
        keeping = Within((PutBack(**options),), (Do(compare), Do(collect)))
        body = (Within(_closed(world, registry, mode), (keeping,)),)
    window = Within((KeepAside(**options).only_planning(not mode),), body)
    imports: tuple[Do, ...] = ()
    if ahead is None and catalog_is_ready(world, registry):
        from ctl.steps.import_tree import ImportTree

        imports = (Do(ImportTree(registry=registry)),)
    return Recipe(
        "gc",
        (*imports, window, *imports),
        resources=(f"registry/{registry}",),
        title=f"collect the garbage of {registry}",
        decided_by="CollectGarbage",
        question=f"Collect the garbage of {registry}? Pushes are refused meanwhile.",
    )


def _closed(world: World, registry: str, mode: str) -> tuple[Scope, ...]:
    """Return the scope that closes each node of a registry."""
    if mode == "stopped":
        from ctl.steps.stopped import Stopped as Closed
    else:
        from ctl.steps.read_only import ReadOnly as Closed  # type: ignore[assignment]

    return tuple(Closed(registry=registry, node=node.host) for node in world.registry(registry).nodes)
