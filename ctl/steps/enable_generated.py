"""The recipe of `enable-db` where gitlab-ctl writes a node's file: asked for line by line, in order.

Each stage asks for its own lines and goes on when gitlab-ctl has written them. What is done already is told
by facts (the files, the tables, the lock files), so the same command goes on wherever an earlier one ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctl.engines.metadata import ImportStep, metadata_of
from ctl.recipes.model import Do, Recipe, Within
from ctl.steps.ask_settings import AskSettings
from ctl.steps.backend_evidence import gather
from ctl.steps.collection import node_config
from ctl.steps.enable_checks import DemandDatabase, DemandFilesystem
from ctl.steps.enable_recipe import Enabling, Place, import_step, in_the_window, look_at_storage
from ctl.steps.migrate_metadata import MigrateMetadata
from ctl.steps.node_settings import database_values, remembered_values
from ctl.steps.omnibus import is_generated
from ctl.steps.prove_backend import ProveBackend
from ctl.steps.provision_database import ProvisionDatabase
from ctl.steps.remember_settings import RememberSettings

if TYPE_CHECKING:
    from ctl.config.models import Node
    from ctl.world import World


def generated_nodes(world: World, registry: str) -> list[str]:
    """Return the hosts on which gitlab-ctl writes the registry's file."""
    return [node.host for node in world.registry(registry).nodes if is_generated(world, registry, node.host)]


def enable_generated(world: World, asked: Enabling, place: Place) -> Recipe:
    """Write the recipe for a registry whose nodes' files gitlab-ctl writes, from where it stands now."""
    name, described = asked.registry, world.registry(asked.registry)
    locks = gather(world, name).locks
    imported = locks is not None and locks.database_in_use
    items: list[Do | Within] = [Do(DemandFilesystem(registry=name, imported=imported))]
    if asked.admin:
        items.append(Do(ProvisionDatabase(database=asked.database, admin=asked.admin)))
    items.append(Do(DemandDatabase(database=asked.database, deferred=bool(asked.admin))))
    if asked.how != "nothing" and not imported:
        items += look_at_storage(asked)
    if not imported:
        items += _before_the_switch(world, asked)
    remembered = remembered_values(world, name, enabled=True, online_gc=False)
    items.append(Do(RememberSettings(registry=name, site=place.site, values=remembered)))
    switched = database_values(world, name, enabled=True, online_gc=False) | _read_only(False)
    switch = _Asking(world, asked, "turn the database on and pushes too", closed=False, database=True)
    items += [switch.of(node, switched) for node in described.nodes]
    items.append(Do(ProveBackend(registry=name, to="database")))
    return Recipe(
        "enable-db",
        tuple(items),
        resources=(f"registry/{name}", f"database/{asked.database}"),
        title=f"move {name} into its metadata database, with gitlab-ctl",
        question=f"Move {name} into its metadata database, with two reconfigures by gitlab-ctl?",
    )


def _before_the_switch(world: World, asked: Enabling) -> list[Do | Within]:
    """Name the database and close the registry, by one reconfigure unless step one goes between; import."""
    name, nodes = asked.registry, world.registry(asked.registry).nodes
    migrate = Do(MigrateMetadata(registry=name, deferred=True))
    connect = _Asking(world, asked, "name the database, not in use yet")
    close = _Asking(world, asked, "make it read-only", closed=True)
    both = _Asking(world, asked, "name the database, not in use yet, and make it read-only", closed=True)
    items: list[Do | Within] = []
    if asked.how == "three-step":
        items += [connect.of(node, _connected(world, name, node)) for node in nodes]
        items += [migrate, Do(import_step(asked, ImportStep.ONE))]
        items += [close.of(node, _read_only(True)) for node in nodes]
    else:
        items += [both.of(node, _connected(world, name, node) | _read_only(True)) for node in nodes]
        items.append(migrate)
    return [*items, *in_the_window(asked)]


class _Asking:
    """Makes the steps of one stage."""

    def __init__(
        self,
        world: World,
        asked: Enabling,
        what: str,
        *,
        closed: bool | None = None,
        database: bool | None = None,
    ) -> None:
        self._world, self._asked, self._what = world, asked, what
        self._closed, self._database = closed, database

    def of(self, node: Node, values: dict[str, Any]) -> Do:
        return Do(
            AskSettings(
                registry=self._asked.registry,
                node=node.host,
                wait=self._asked.wait,
                values=values,
                what=self._what,
                closed=self._closed,
                database=self._database,
            )
        )


def _connected(world: World, registry: str, node: Node) -> dict[str, Any]:
    """Name the database; that it is not in use need not be said where the file says so in its own way."""
    values = database_values(world, registry, enabled=False)
    programs = metadata_of(world.engine(registry))
    config = node_config(world, registry, node)
    if programs is not None and programs.asked_backend(config) == "filesystem" and config.get("database"):
        values["database"].pop("enabled")
    return values


def _read_only(enabled: bool) -> dict[str, Any]:
    return {"storage": {"maintenance": {"readonly": {"enabled": enabled}}}}
