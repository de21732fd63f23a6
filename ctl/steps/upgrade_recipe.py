"""Upgrade a GitLab registry whose new program is installed already, without closing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctl.recipes.model import Do, Recipe
from ctl.steps.migrate_metadata import MigrateMetadata
from ctl.steps.restart_node import RestartNode

if TYPE_CHECKING:
    from ctl.world import World


def upgrade_two_phase(world: World, registry: str, node: str = "") -> Recipe:
    """Return the recipe: pre-deployment migrations, node after node restarted and proved, then the rest.

    The old program serves on the migrated schema while the nodes are rolled, and the heavy index work comes
    last, while all of them serve. RefusedError where the engine has no metadata database. A node that is
    stopped stays so. If a node does not come up, the rest is left alone: the others still run the old one.
    """
    from ctl.steps.metadata_doors import metadata_database

    database = metadata_database(world, registry).name
    nodes = world.registry(registry).nodes
    return Recipe(
        "upgrade-two-phase",
        (
            Do(MigrateMetadata(registry=registry, node=node, skip_post_deployment=True)),
            *(Do(RestartNode(registry=registry, node=one.host)) for one in nodes),
            Do(MigrateMetadata(registry=registry, node=node)),
        ),
        resources=(f"registry/{registry}", f"database/{database}"),
        title=f"upgrade {registry} in two phases",
        question=f"Migrate {registry} and restart its nodes one by one?",
    )
