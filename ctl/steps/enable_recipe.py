"""The recipes that move a registry into its metadata database, and the one that ends it.

    look: the database, the backend now, the storage
    make the role and the database (where that was asked for), describe it in the nodes' files, migrate
    step one of three, while the registry serves
    in a read-only window of all nodes:
        import, or prove that there is nothing to import
        lock files, switch node by node (still read-only), prove, remember in the site
        accept: from here on nothing is undone, and the windows open on the database

A failure before the last line takes everything back. The windows open on one backend for all nodes, whatever
fails and whenever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ctl.engines.metadata import ImportStep
from ctl.recipes.model import Do, Recipe, Within
from ctl.steps.accept_backend import AcceptBackend
from ctl.steps.enable_checks import DemandDatabase, DemandFilesystem, DemandImportable
from ctl.steps.import_metadata import ImportMetadata
from ctl.steps.import_prepare import PrepareImport
from ctl.steps.migrate_metadata import MigrateMetadata
from ctl.steps.node_settings import database_values, remembered_values
from ctl.steps.prove_backend import ProveBackend
from ctl.steps.prove_empty import ProveEmpty
from ctl.steps.provision_database import ProvisionDatabase
from ctl.steps.quarantine import Quarantine
from ctl.steps.remember_settings import RememberSettings
from ctl.steps.restart_node import RestartNode
from ctl.steps.set_lock_files import SetLockFiles
from ctl.steps.set_settings import ForgetKept, SetSettings
from ctl.steps.switch_backend import SwitchBackend
from ctl.steps.switch_window import Backend, SwitchWindow

if TYPE_CHECKING:
    from ctl.world import World

# What is imported; "imported": an import went before, and the registry was kept closed since.
How = Literal["nothing", "one-step", "three-step", "imported"]


@dataclass(frozen=True)
class Place:
    """Where a registry's settings are remembered: the site file and the folder of its secrets."""

    site: str
    secrets: str


@dataclass(frozen=True)
class Enabling:
    """What `enable-db` was asked for."""

    registry: str
    database: str  # by its name in the site
    how: How
    admin: str = ""  # the database of the site through which role and database are made; "" makes none
    quarantine: bool = False
    retry: bool = False  # take out the tags of an earlier import that nobody ever used
    skip_recent_seconds: float | None = None
    wait: int = 0  # seconds that each reconfigure by gitlab-ctl is waited for


def enable_recipe(world: World, asked: Enabling, place: Place) -> Recipe:
    """Write the recipe of `enable-db` for a registry that serves from its storage tree."""
    from ctl.steps.enable_generated import enable_generated, generated_nodes

    name = asked.registry
    if generated_nodes(world, name):
        return enable_generated(world, asked, place)
    described = {"registry": name, "secrets": place.secrets}
    connected = database_values(world, name, enabled=False)
    nodes = [node.host for node in world.registry(name).nodes]
    imported = asked.how == "imported"
    items: list[Do | Within] = [Do(DemandFilesystem(registry=name, imported=imported))]
    if asked.admin:
        items.append(Do(ProvisionDatabase(database=asked.database, admin=asked.admin)))
    items.append(Do(DemandDatabase(database=asked.database, deferred=bool(asked.admin))))
    if asked.how in ("one-step", "three-step"):
        items += look_at_storage(asked)
    if not imported:
        items += [Do(SetSettings(node=node, values=connected, quiet=True, **described)) for node in nodes]
    items.append(Do(MigrateMetadata(registry=name, deferred=True)))
    if asked.how == "three-step":
        items.append(Do(import_step(asked, ImportStep.ONE)))
    items.append(
        switch_window(
            world,
            name,
            "database",
            place,
            switched=database_values(world, name, enabled=True, online_gc=False),
            remembered=remembered_values(world, name, enabled=True, online_gc=False),
            body=in_the_window(asked),
            closed_before=imported,
        )
    )
    items += [Do(ForgetKept(registry=name, node=node)) for node in nodes]
    return Recipe(
        "enable-db",
        tuple(items),
        resources=(f"registry/{name}", f"database/{asked.database}"),
        title=f"move {name} into its metadata database",
        question=f"Move {name} into its metadata database? It refuses pushes meanwhile, and is restarted.",
        undo_on_failure=True,
    )


def switch_window(
    world: World,
    registry: str,
    to: Backend,
    place: Place,
    *,
    switched: dict[str, Any],
    remembered: dict[str, Any],
    body: tuple[Do, ...],
    proofs: tuple[Do, ...] = (),
    closed_before: bool = False,
) -> Within:
    """Write the window in which a registry changes its backend, closed and opened node by node.

    `body` is what must happen while no node accepts a write, before any of them is switched; it leaves the
    lock files as the new backend needs them. `switched` are the settings of the nodes' files on the new
    backend, `remembered` those that the site is to remember; both by section, secrets as references.
    `proofs` follow once every node serves from the new backend, still read-only: the last chance to fail.
    """
    scopes = tuple(
        SwitchWindow(
            registry=registry,
            node=node.host,
            to=to,
            values=switched,
            secrets=place.secrets,
            closed_before=closed_before,
        )
        for node in world.registry(registry).nodes
    )
    switch = (
        Do(SwitchBackend(registry=registry, to=to)),
        *proofs,
        Do(ProveBackend(registry=registry, to=to)),
        Do(RememberSettings(registry=registry, site=place.site, values=remembered)),
        Do(AcceptBackend(registry=registry, to=to)),
    )
    return Within(scopes, (*body, *switch))


def online_gc_recipe(world: World, registry: str, place: Place, *, checks: tuple[Do, ...] = ()) -> Recipe:
    """Write the recipe that turns online garbage collection on, node by node, after these steps."""
    values = {"gc": {"disabled": False}}
    items: list[Do] = list(checks)
    nodes = [node.host for node in world.registry(registry).nodes]
    for node in nodes:
        items.append(Do(SetSettings(registry=registry, node=node, values=values, secrets=place.secrets)))
        items.append(Do(RestartNode(registry=registry, node=node)))
    items.append(Do(RememberSettings(registry=registry, site=place.site, values=values)))
    items += [Do(ForgetKept(registry=registry, node=node)) for node in nodes]
    return Recipe(
        "enable-db-finish",
        tuple(items),
        resources=(f"registry/{registry}",),
        title=f"turn online garbage collection of {registry} on",
        question=f"Turn online garbage collection of {registry} on? From then on there is no way back by the "
        "storage tree alone.",
    )


def _importable(asked: Enabling) -> DemandImportable:
    return DemandImportable(
        registry=asked.registry, quarantine=asked.quarantine, database=True, retry=asked.retry
    )


def look_at_storage(asked: Enabling) -> list[Do | Within]:
    """Write the steps that look at the storage, and mend it where that was asked for."""
    items: list[Do | Within] = [Do(_importable(asked))]
    if asked.quarantine:
        items.append(Do(Quarantine(registry=asked.registry)))
    step = ImportStep.ALL if asked.how == "one-step" else ImportStep.TWO
    items.append(Do(PrepareImport(registry=asked.registry, step=step)))
    return items


def in_the_window(asked: Enabling) -> tuple[Do, ...]:
    """Write the steps that need a registry that takes no writes; they leave the database's lock file."""
    locks = Do(SetLockFiles(registry=asked.registry, database_in_use=True, filesystem_in_use=False))
    if asked.how == "imported":
        return (locks,)
    if asked.how == "nothing":
        return (Do(ProveEmpty(registry=asked.registry)), locks)
    step = ImportStep.ALL if asked.how == "one-step" else ImportStep.TWO
    return (Do(import_step(asked, step)), locks)


def import_step(asked: Enabling, step: ImportStep) -> ImportMetadata:
    """Write one step of the import."""
    return ImportMetadata(
        registry=asked.registry,
        step=step,
        retry=asked.retry and step is not ImportStep.ONE,
        skip_recent_seconds=asked.skip_recent_seconds,
        row_count=True,
        deferred=True,
    )
