"""The recipe that leads a registry from its metadata database back to its storage tree, losing nothing.

    look: database and tree, every blob that a tag needs, what would be written
    write what the tree lacks, while the registry serves; nothing looks at it yet
    in a read-only window of all nodes:
        bring the tree in line: what came since is written, what was deleted since goes aside
        lock files, switch node by node (still read-only)
        write once more what online collection took meanwhile, prove that both say the same, pull tags
        prove the backend, remember it in the site
        accept: from here on nothing is undone, and the windows open on the storage tree

A failure before the last line takes everything back. The database is left as it is: emptying it is a step of
its own, once nobody wants to look into it any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.recipes.model import Do, Recipe
from ctl.steps.empty_metadata import EmptyMetadata
from ctl.steps.enable_recipe import Place, switch_window
from ctl.steps.metadata_doors import metadata_database
from ctl.steps.pull_sample import PullSample
from ctl.steps.set_lock_files import SetLockFiles
from ctl.steps.set_settings import ForgetKept
from ctl.steps.write_tree import PrepareTree, ProveTree, WriteTree

if TYPE_CHECKING:
    from ctl.world import World


@dataclass(frozen=True)
class Disabling:
    """What `disable-db` was asked for."""

    registry: str
    pull: int = 20  # tags that are pulled from each node before it opens; -1 is all
    accept_data_loss: bool = False
    holds: bool = True  # whether the database holds anything; an empty storage gets no lock file


def disable_recipe(world: World, asked: Disabling, place: Place) -> Recipe:
    """Write the recipe of `disable-db` for a registry that serves from its metadata database."""
    name, loss = asked.registry, asked.accept_data_loss
    nodes = [node.host for node in world.registry(name).nodes]
    off = {"database": {"enabled": False}}
    window = switch_window(
        world,
        name,
        "filesystem",
        place,
        switched=off,
        remembered=off,
        body=(
            Do(WriteTree(registry=name)),
            Do(SetLockFiles(registry=name, database_in_use=False, filesystem_in_use=asked.holds)),
        ),
        proofs=(
            Do(ProveTree(registry=name, accept_data_loss=loss)),
            *(
                Do(PullSample(registry=name, node=node, count=asked.pull, accept_data_loss=loss))
                for node in nodes
                if asked.pull
            ),
        ),
    )
    return Recipe(
        "disable-db",
        (
            Do(PrepareTree(registry=name, accept_data_loss=loss)),
            window,
            *(Do(ForgetKept(registry=name, node=node)) for node in nodes),
        ),
        resources=(f"registry/{name}", f"database/{metadata_database(world, name).name}"),
        title=f"move {name} out of its metadata database, back to its storage tree",
        question=f"Have {name} keep its record in its storage tree again? It refuses pushes meanwhile, and "
        "is restarted.",
        undo_on_failure=True,
    )


def empty_recipe(world: World, registry: str, *, accept_data_loss: bool) -> Recipe:
    """Write the recipe that empties a metadata database that is not in use any more."""
    return Recipe(
        "disable-db-empty",
        (Do(EmptyMetadata(registry=registry, accept_data_loss=accept_data_loss)),),
        resources=(f"registry/{registry}", f"database/{metadata_database(world, registry).name}"),
        title=f"empty the metadata database of {registry}",
        question=f"Remove everything that the metadata database of {registry} holds? The storage tree stays.",
    )
