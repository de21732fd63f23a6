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
    ImportStep.ALL: "Import {0}? Pushes are refused from the first tag to the switch.",
    ImportStep.ONE: "Import the manifests of {0}? It stays open meanwhile.",
    ImportStep.TWO: "Import the tags of {0}? Pushes are refused until it is switched.",
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
    reopen: bool = False,
    by: str = "",
    **options: Any,
) -> Recipe:
    """Write the recipe of `regctl registry import`: prepare, close where tags are written, import.

    With `reopen` the nodes go on with the storage tree afterwards: a rehearsal, or an import whose switch
    comes later from a step two done again.
    """
    writes_tags = step in WRITES_TAGS and not options.get("trial")
    prepare, work = import_items(world, registry, step, rehearsal=reopen and writes_tags, **options)
    items: tuple[Do | Within, ...] = (prepare, work)
    if writes_tags:
        items = (prepare, Within(closed(world, registry, mode, reopen=reopen, by=by), (work,)))
    return Recipe(
        "registry-import",
        items,
        resources=(f"registry/{registry}", f"database/{world.registry(registry).database}"),
        title=f"import {registry} into its metadata database",
        question=_QUESTIONS[step].format(registry),
        decided_by="ImportMetadata",
    )


def closed(world: World, registry: str, mode: Mode, *, reopen: bool, by: str) -> tuple[Scope, ...]:
    """Return the scope that closes each node: one that stays closed after a good import, unless `reopen`."""
    from ctl.steps.import_window import ImportReadOnly, ImportStopped
    from ctl.steps.read_only import ReadOnly
    from ctl.steps.stopped import Stopped

    hosts = [node.host for node in world.registry(registry).nodes]
    if mode == "stopped":
        kind = Stopped if reopen else ImportStopped
        return tuple(kind(registry=registry, node=host) for host in hosts)
    if reopen:
        return tuple(ReadOnly(registry=registry, node=host) for host in hosts)
    return tuple(ImportReadOnly(registry=registry, node=host, by=by) for host in hosts)
