"""The recipe of an import, and its pieces for recipes that do more, such as `enable-db`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ctl.engines.metadata import ImportStep
from ctl.recipes.model import Do, Recipe, Scope, Within
from ctl.steps.import_metadata import ImportMetadata
from ctl.steps.import_prepare import PrepareImport

if TYPE_CHECKING:
    from ctl.world import World

Mode = Literal["read-only", "stopped"]
WRITES_TAGS = (ImportStep.ALL, ImportStep.TWO)
_QUESTIONS = {
    ImportStep.ALL: "Import {0}? Pushes are refused meanwhile.",
    ImportStep.ONE: "Import the manifests of {0}? It stays open meanwhile.",
    ImportStep.TWO: "Import the tags of {0}? Pushes are refused meanwhile.",
    ImportStep.THREE: "Import the remaining blobs of {0}? What nothing uses will be deleted.",
}


def import_items(
    world: World, registry: str, step: ImportStep = ImportStep.ALL, **options: Any
) -> tuple[Do, Do]:
    """Return the two parts of an import: what can be done before a window opens, and the import itself.

    The second demands that no node takes a write where the step writes tags, so put it within `ReadOnly` or
    `Stopped` of every node, and the switch behind it in the same scope. `options` are those of
    `ImportMetadata`.
    """
    return (
        Do(PrepareImport(registry=registry, step=step)),
        Do(ImportMetadata(registry=registry, step=step, **options)),
    )


def import_recipe(
    world: World,
    registry: str,
    step: ImportStep = ImportStep.ALL,
    *,
    mode: Mode = "read-only",
    stay_closed: bool = False,
    quarantine: bool = False,
    by: str = "",
    **options: Any,
) -> Recipe:
    """Write the recipe of `regctl registry import`: look, prepare, close where tags are written, import.

    A registry that was open goes on with its storage tree afterwards, and its lock files say so: what is
    pushed then is not in the database, so the switch imports once more. One that was closed before, or is to
    `stay_closed`, is left to whoever switches it, with the lock files of a finished import.
    """
    writes_tags = step in WRITES_TAGS and not options.get("trial")
    kept = stay_closed or closed_before(world, registry)
    prepare, work = import_items(world, registry, step, rehearsal=writes_tags and not kept, **options)
    items: list[Do | Within] = []
    if step is not ImportStep.THREE:
        from ctl.steps.enable_checks import DemandImportable

        items.append(Do(DemandImportable(registry=registry, quarantine=quarantine)))
        if quarantine and not options.get("trial"):
            from ctl.steps.quarantine import Quarantine

            items.append(Do(Quarantine(registry=registry)))
    items.append(prepare)
    if writes_tags:
        items.append(Within(closed(world, registry, mode, stay_closed=stay_closed, by=by), (work,)))
    else:
        items.append(work)
    return Recipe(
        "registry-import",
        tuple(items),
        resources=(f"registry/{registry}", f"database/{world.registry(registry).database}"),
        title=f"import {registry} into its metadata database",
        question=_QUESTIONS[step].format(registry),
        decided_by="ImportMetadata",
    )


def closed(world: World, registry: str, mode: Mode, *, stay_closed: bool, by: str) -> tuple[Scope, ...]:
    """Return the scope that closes each node: one that stays closed after a good import where asked for."""
    from ctl.steps.import_window import ImportReadOnly, ImportStopped
    from ctl.steps.read_only import ReadOnly
    from ctl.steps.stopped import Stopped

    hosts = [node.host for node in world.registry(registry).nodes]
    if mode == "stopped":
        kind = ImportStopped if stay_closed else Stopped
        return tuple(kind(registry=registry, node=host) for host in hosts)
    if not stay_closed:
        return tuple(ReadOnly(registry=registry, node=host) for host in hosts)
    return tuple(ImportReadOnly(registry=registry, node=host, by=by) for host in hosts)


def closed_before(world: World, registry: str) -> bool:
    """Say whether no node takes a write already: each is stopped, or its file says read-only."""
    from ctl.steps.collection import node_config

    return all(
        not world.service(registry, node.host).state().running
        or world.engine(registry).is_read_only(node_config(world, registry, node))
        for node in world.registry(registry).nodes
    )
