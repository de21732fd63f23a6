"""The recipe of `regctl content prepare`: a row for each host, the server first.

A host with nothing to do has a row that does nothing: nothing is entered there, and nothing written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.recipes.codec import places
from ctl.recipes.model import Across, Do, Recipe, Row, Within
from ctl.steps.abort_content import at_work
from ctl.steps.content_around import after, around, before, scopes
from ctl.steps.content_left import estimate
from ctl.steps.content_worth import NotWorth, worth
from ctl.steps.packages_rest import CHECK, PackagesRest
from ctl.steps.prepare_content import PrepareContent
from ctl.steps.reindex_content import ReindexContent, reindex_owed

if TYPE_CHECKING:
    from packaging.version import Version

    from ctl.config.pulp import PulpNode
    from ctl.steps.content_survey import HostSurvey
    from ctl.world import World

NAME = "content-prepare"


@dataclass(frozen=True)
class Asked:
    """What the operator asked for. `rate` is in manifests a second, `load` a load average; 0 is no limit."""

    rate: float = 0.0
    load: float = 0.0
    chunk: int | None = None  # None: as the site says
    canary: int = 0
    at_once: int = 10
    max_fail: int = 0
    to: Version | None = None  # the release that comes next
    although_short: bool = False  # also where it saves less downtime than the site calls worth it


def content_recipe(world: World, name: str, surveys: Sequence[HostSurvey], asked: Asked) -> Recipe:
    """Return the recipe for the hosts that were surveyed; reads the site only.

    Where preparing beforehand is not worth it, the recipe says so and does nothing.
    """
    locks = (f"pulp/{name}", f"registry/{name}", *(f"host/{one.host}" for one in surveys))
    owed = reindex_owed(world, name)
    if why := not_needed(world, name, surveys, asked):
        return Recipe(NAME, (Do(NotWorth(pulp=name, why=why)),), locks, title=why)
    nodes = {node.host: node for node in world.pulp(name).nodes}
    earlier = {one.host: one.job for one in at_work(world, name)}
    rows = tuple(_row(world, name, nodes[one.host], one, asked, earlier.get(one.host, "")) for one in surveys)
    across = Across(rows, canary=asked.canary, at_once=asked.at_once, max_fail=asked.max_fail)
    todo = sum(one.doable for one in surveys)
    hosts = sum(bool(one.doable) for one in surveys)
    where = f"{hosts} host{'s' * (hosts != 1)}"
    longest = max((estimate(one, asked.rate) or 0.0 for one in surveys), default=0.0)
    return Recipe(
        NAME,
        (across,),
        resources=locks,
        title=f"prepare the content of {name}",
        question=f"Prepare {todo:,} manifests on {where}, which takes about {longest / 60:.0f} minutes?"
        if todo or not owed
        else f"Run the reindex of {name} that is still to be done?",
        decided_by=PrepareContent.__name__ if todo or not owed else ReindexContent.__name__,
    )


def not_needed(world: World, name: str, surveys: Sequence[HostSurvey], asked: Asked) -> str:
    """Say why preparing is not needed beforehand; "" where it is.

    What was begun is always gone on with, and so it is where a reindex is still to be done.
    """
    minutes = world.pulp(name).content.worth_minutes
    judged = worth(surveys, minutes, to=asked.to, although_short=asked.although_short)
    if judged.needed or reindex_owed(world, name) or at_work(world, name, [one.host for one in surveys]):
        return ""
    return judged.why


def without_idle(recipe: Recipe, skip: Sequence[str]) -> tuple[str, ...]:
    """Leave the check of packages out of what is passed over where no host is worked on: it is not made."""
    looks = any(isinstance(place.step, PackagesRest) for place in places(recipe.items))
    return tuple(skip) if looks else tuple(name for name in skip if name != CHECK)


def _row(world: World, name: str, node: PulpNode, one: HostSurvey, asked: Asked, earlier: str) -> Row:
    """Return what is done on one host; its scopes are left before the row ends, whatever happens."""
    pulp = world.pulp(name)
    work = PrepareContent(
        pulp=name,
        host_name=node.host,
        way="whole" if one.mode == "whole" else "chunks",
        chunk=asked.chunk or pulp.content.chunk,
        rate=asked.rate,
        load=asked.load,
        patience_seconds=pulp.content.patience_seconds,
    ).surveyed(one, earlier)
    if not one.doable and not one.unreachable:
        return Row(node.host, (Do(work), after(name, node)))
    held, body = scopes(world, name, node), around(name, node, work, one)
    return Row(node.host, (*before(node), Within(held, body)) if held else (*before(node), *body))
