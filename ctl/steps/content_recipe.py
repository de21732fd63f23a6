"""The recipe of `regctl content prepare`: a row for each host, the server first.

A host with nothing to do has a row that does nothing: nothing is entered there, and nothing written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.recipes.model import Across, Do, Recipe, Row, Within
from ctl.steps.content_left import estimate
from ctl.steps.prepare_content import PrepareContent

if TYPE_CHECKING:
    from ctl.config.pulp import PulpNode, PulpRegistry
    from ctl.recipes.model import Scope
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


def content_recipe(world: World, name: str, surveys: Sequence[HostSurvey], asked: Asked) -> Recipe:
    """Return the recipe for the hosts that were surveyed; reads the site only."""
    pulp = world.pulp(name)
    nodes = {node.host: node for node in pulp.nodes}
    rows = tuple(_row(name, pulp, nodes[one.host], one, asked) for one in surveys)
    across = Across(rows, canary=asked.canary, at_once=asked.at_once, max_fail=asked.max_fail)
    todo = sum(one.doable for one in surveys)
    hosts = sum(bool(one.doable) for one in surveys)
    where = f"{hosts} host{'s' * (hosts != 1)}"
    longest = max((estimate(one, asked.rate) or 0.0 for one in surveys), default=0.0)
    return Recipe(
        NAME,
        (across,),
        resources=(f"pulp/{name}",),
        title=f"prepare the content of {name}",
        question=f"Prepare {todo:,} manifests on {where}, which takes about {longest / 60:.0f} minutes?",
        decided_by=PrepareContent.__name__,
    )


def _row(name: str, pulp: PulpRegistry, node: PulpNode, one: HostSurvey, asked: Asked) -> Row:
    """Return what is done on one host; its scopes are left before the row ends, whatever happens."""
    work = PrepareContent(
        pulp=name,
        host_name=node.host,
        way="whole" if one.mode == "whole" else "chunks",
        chunk=asked.chunk or pulp.content.chunk,
        rate=asked.rate,
        load=asked.load,
        patience_seconds=pulp.content.patience_seconds,
    ).surveyed(one)
    if not one.doable and not one.unreachable:
        return Row(node.host, (Do(work),))
    scopes = _scopes(name, pulp, node)
    body = (Do(work),)
    return Row(node.host, (Within(scopes, body),) if scopes else body)


def _scopes(name: str, pulp: PulpRegistry, node: PulpNode) -> tuple[Scope, ...]:
    """Return what holds while a host is prepared."""
    return ()
