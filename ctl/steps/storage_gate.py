"""The one gate before every change of a storage tree: refused where a metadata database is in use.

Every step that deletes, moves or puts back something below `docker/registry/v2` asks it in its `check`,
whatever engine the site configures: what the tree alone says is then not what is live.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctl.catalog.backend import hindrances
from ctl.recipes.model import Problem
from ctl.steps.backend_evidence import gather

if TYPE_CHECKING:
    from ctl.world import World


def metadata_in_use(world: World, registry: str, *, importing: bool = False) -> Iterator[Problem]:
    """Yield a blocking problem for each piece of evidence that a metadata database is in use, or may be.

    The evidence: the lock files, every node's configuration and header, and the database's own rows. What
    cannot be asked refuses too, unless it cannot exist. `importing` is for steps that belong to an
    import, which fills the database before anything uses it: its rows are then no evidence.
    """
    for hindrance in hindrances(gather(world, registry), importing=importing):
        yield Problem(hindrance.message, hindrance.hint)
