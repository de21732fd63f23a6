"""The recipe of `upgrade apply`.

look at everything; install what the site's commands install beside the old programs
migrate what must be there before the new program serves
node by node, one at a time, and no further where one does not end well:
    out of rotation, and with a way back:
        stop, switch file and program, start, prove, accept
migrate the rest; prove all nodes together
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctl.plans.upgrade_facts import Facts, NodeFacts, target_of, way
from ctl.recipes.model import Across, Do, Item, Recipe, Row, Scope, Within
from ctl.steps.accept_node import AcceptNode
from ctl.steps.migrate_for_upgrade import MigrateForUpgrade
from ctl.steps.out_of_rotation import OutOfRotation
from ctl.steps.roll_node import InstallProgram, ProveNode, StartNode, SwitchProgram
from ctl.steps.rolling_node import Roll
from ctl.steps.service import StopService
from ctl.steps.try_program import TryProgram
from ctl.steps.upgrade_checks import DemandUpgradable, ProveUpgraded
from ctl.steps.way_back import WayBack

if TYPE_CHECKING:
    from ctl.plans.upgrade import UpgradePlan
    from ctl.steps.upgrade_look import Asked
    from ctl.world import World


def upgrade_recipe(world: World, asked: Asked, facts: Facts, planned: UpgradePlan, site: str) -> Recipe:
    """Write the recipe for the nodes that are still to be rolled."""
    registry = asked.registry
    by_host = {node.host: node for node in facts.nodes}
    rolls = tuple(
        roll for host in planned.roll if (roll := _roll(world, asked, by_host[host], facts, site)) is not None
    )
    version = str(asked.version) if asked.version is not None else ""
    look = DemandUpgradable(registry=registry, binary=asked.binary, version=version, secrets=asked.secrets)
    items: list[Item] = [Do(look)]
    items += [Do(InstallProgram(roll=roll)) for roll in rolls if _installs_beside(roll, by_host[roll.node])]
    tried = [roll for roll in rolls if roll.way != "in-place" or not roll.install]
    if tried:
        rows = tuple(Row(roll.node, (Do(TryProgram(roll=roll)),)) for roll in tried)
        items.append(Across(rows, because="what would not start anywhere is told before any node is touched"))
    items += _migrations(facts, rolls, before=True)
    rows = tuple(Row(roll.node, (_rolled(roll, by_host[roll.node].drains),)) for roll in rolls)
    if rows:
        items.append(Across(rows, at_once=1, because="one node after the other: so that one always serves"))
    items += _migrations(facts, rolls, before=False)
    if rolls:
        items.append(Do(ProveUpgraded(registry=registry, rolls=rolls)))
    database = (f"database/{facts.database.name}",) if facts.database is not None else ()
    return Recipe(
        "upgrade",
        tuple(items),
        resources=(f"registry/{registry}", *database),
        title=f"upgrade {registry}",
        question=_question(registry, rolls, by_host),
    )


def _roll(world: World, asked: Asked, node: NodeFacts, facts: Facts, site: str) -> Roll | None:
    target = target_of(node, facts.wanted)
    if target is None:
        return None  # said by the look at everything, which stops the recipe
    described = world.node(asked.registry, node.host).upgrade
    install = described.install if described is not None and described.install is not None else ()
    return Roll(
        registry=asked.registry,
        node=node.host,
        way=way(node),
        was=node.binary,
        target=node.target_binary or node.binary,
        version=str(target),
        running=node.running is not None,
        install=install if node.target is None else (),
        site=site,
        secrets=asked.secrets,
    )


def _installs_beside(roll: Roll, node: NodeFacts) -> bool:
    return bool(roll.install) and roll.way in ("site", "link") and node.target is None


def _rolled(roll: Roll, drains: bool) -> Within:
    scopes: list[Scope] = []
    if drains and roll.running:
        scopes.append(OutOfRotation(registry=roll.registry, node=roll.node))
    scopes.append(WayBack(roll=roll))
    body = [Do(SwitchProgram(roll=roll)), Do(AcceptNode(roll=roll))]
    if roll.running:
        stop = Do(StopService(registry=roll.registry, node=roll.node))
        body[:1] = [stop, body[0], Do(StartNode(roll=roll)), Do(ProveNode(roll=roll))]
    return Within(tuple(scopes), tuple(body))


def _migrations(facts: Facts, rolls: tuple[Roll, ...], *, before: bool) -> list[Item]:
    """The program of the first node that is rolled migrates; of a rolled one where only the rest is left."""
    database = facts.database
    if database is None or database.newer:
        return []
    pending = (database.pre, database.post)[not before]
    if pending == ():
        return []
    host, binary, deferred = _migrating(facts, rolls)
    step = MigrateForUpgrade(
        registry=facts.registry,
        node=host,
        binary=binary,
        skip_post_deployment=before,
        deferred=deferred or not before,
    )
    because = (
        "the new program refuses to start without these, and the old one serves on with them"
        if before
        else "no older program runs any more that these could disturb"
    )
    return [Do(step, because)]


def _migrating(facts: Facts, rolls: tuple[Roll, ...]) -> tuple[str, str, bool]:
    if rolls:
        return rolls[0].node, rolls[0].target, bool(rolls[0].install)
    node = next(one for one in facts.nodes if not one.unreachable)
    return node.host, node.target_binary or node.binary, False


def _question(registry: str, rolls: tuple[Roll, ...], nodes: dict[str, NodeFacts]) -> str:
    if not rolls:
        return f"Finish the upgrade of {registry}?"
    versions = " and ".join(sorted({roll.version for roll in rolls}))
    seen = [roll.node for roll in rolls if roll.running and not nodes[roll.node].drains]
    restart = f" Clients see {', '.join(seen)} restart." if seen else ""
    return f"Lead {len(rolls)} node(s) of {registry} to {versions}, one after the other?{restart}"
