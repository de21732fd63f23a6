"""What stands around preparing on one host: what rests, what runs, what is kept, what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctl.recipes.model import Do
from ctl.steps.keep_content import KeepContent
from ctl.steps.packages_rest import PackagesRest
from ctl.steps.pulp_services import DatabaseRuns, ServicesAsBefore
from ctl.steps.reindex_content import OweReindex, ReindexContent
from ctl.steps.rest_timers import timer_scopes

if TYPE_CHECKING:
    from ctl.config.pulp import PulpNode
    from ctl.recipes.model import Scope, Step
    from ctl.steps.content_survey import HostSurvey
    from ctl.world import World


def scopes(world: World, pulp: str, node: PulpNode) -> tuple[Scope, ...]:
    """Return what holds while a host is prepared: entered in this order, left in the other.

    Its timers rest first, since one of them may start a cleanup or an update at any moment.
    """
    found: list[Scope] = list(timer_scopes(world, pulp, node.host))
    if node.services:
        found.append(ServicesAsBefore(pulp=pulp, host_name=node.host))
    if node.database_service is not None:
        found.append(DatabaseRuns(pulp=pulp, host_name=node.host))
    return tuple(found)


def before(node: PulpNode) -> tuple[Do, ...]:
    """Return what is looked at before anything rests."""
    because = "an update in its middle may take away the program that prepares"
    return (Do(PackagesRest(host_name=node.host), because),)


def around(pulp: str, node: PulpNode, work: Step, one: HostSurvey) -> tuple[Do, ...]:
    """Return the work with what is kept before it and what follows it."""
    copy = KeepContent(pulp=pulp, host_name=node.host).surveyed(one)
    kept = Do(copy, "what is changed can then be brought back")
    owed = (Do(OweReindex(pulp=pulp, host_name=node.host)),) if node.reindex is not None else ()
    return (kept, *owed, Do(work), after(pulp, node))


def after(pulp: str, node: PulpNode) -> Do:
    """Return what follows new work; on a proxy it is not applicable, and says so."""
    return Do(
        ReindexContent(pulp=pulp, host_name=node.host), "Katello shows what it was told at its last look"
    )
