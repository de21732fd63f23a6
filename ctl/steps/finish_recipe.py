"""The end of a move into the metadata database: verified, the remaining blobs recorded, collection on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctl.engines.metadata import ImportStep
from ctl.recipes.model import Do, Recipe
from ctl.steps.backend_evidence import gather
from ctl.steps.collection import node_config
from ctl.steps.demand_verified import DemandVerified
from ctl.steps.enable_recipe import Place, online_gc_recipe
from ctl.steps.import_metadata import ImportMetadata

if TYPE_CHECKING:
    from ctl.world import World


def finish_recipe(world: World, registry: str, place: Place) -> Recipe:
    """Write the recipe of `enable-db --finish`: verify, step three where it is still to do, collection on."""
    checks = [Do(DemandVerified(registry=registry))]
    if step_three_is_due(world, registry):
        checks.append(Do(ImportMetadata(registry=registry, step=ImportStep.THREE)))
    return online_gc_recipe(world, registry, place, checks=tuple(checks))


def step_three_is_due(world: World, registry: str) -> bool:
    """Say whether an import has come to its end whose other blobs were never recorded."""
    runs = gather(world, registry).imports
    return bool(runs) and not any("three" in run.steps and "three" not in run.errors for run in runs)


def online_gc_is_off(world: World, registry: str) -> bool:
    """Say whether a node's file keeps online garbage collection off."""
    for node in world.registry(registry).nodes:
        section = node_config(world, registry, node).get("gc")
        if isinstance(section, dict) and section.get("disabled") is True:
            return True
    return False
