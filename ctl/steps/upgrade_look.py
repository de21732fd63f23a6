"""Look at a registry for an upgrade: what runs, what is there, what each file needs. Reads only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from packaging.version import Version

from ctl.config.ownership import classify
from ctl.engines.metadata import MigrationLimits, metadata_of
from ctl.engines.upgrades import upgrades_of
from ctl.errors import RegctlError
from ctl.plans.upgrade_facts import DatabaseFacts, Facts, NodeFacts
from ctl.probing import NoAnswer, ask
from ctl.recipes.model import Target
from ctl.steps import target_program
from ctl.steps.dropped_manifests import Dropped, dropped_manifests
from ctl.steps.node_doors import NodeDoors
from ctl.steps.upgrade_history import earlier_steps, migration_seconds, node_seconds

if TYPE_CHECKING:
    from ctl.config.models import Node
    from ctl.recipes.model import StepRecord
    from ctl.world import World

SECONDS = 90.0  # that the hosts have to answer, all of them at once


@dataclass(frozen=True)
class Asked:
    """What an upgrade was asked for on the command line."""

    registry: str
    binary: str = ""  # --to-binary: of every node
    version: Version | None = None  # --to
    secrets: str = ""  # the folder of the site's secrets

    @property
    def options(self) -> str:
        """The same as options of the next command."""
        import shlex

        parts = []
        if self.binary:
            parts.append(f"--to-binary {shlex.quote(self.binary)}")
        if self.version is not None:
            parts.append(f"--to {self.version}")
        return " ".join(parts)


def look(world: World, asked: Asked, looking: Target, *, count: bool = True) -> Facts:
    """Look at everything that a plan is made from; a host that does not answer is a fact like any other.

    With `count` the storage is read for manifests that the target serves no more, which may take a while.
    """
    registry = world.registry(asked.registry)
    upgrades = upgrades_of(world.engine(asked.registry))
    earlier = earlier_steps(world.state_dir, asked.registry)
    questions = {node.host: partial(_node, world, asked, node, looking, earlier) for node in registry.nodes}
    answers = ask(questions, SECONDS)
    nodes = tuple(_answered(node, answers[node.host]) for node in registry.nodes)
    kinds = _dropped_kinds(world, asked, nodes) if count else ()
    dropped = dropped_manifests(world, asked.registry, kinds) if kinds else Dropped(0)
    return Facts(
        asked.registry,
        registry.engine,
        nodes,
        upgrades.skew if upgrades is not None else (),
        asked.version,
        _database(world, asked, nodes, earlier),
        kinds,
        dropped.count,
        dropped.example,
        asked.options,
    )


def _answered(node: Node, answer: object) -> NodeFacts:
    if isinstance(answer, NoAnswer):
        return NodeFacts(node.host, node.service.kind, node.binary, unreachable=answer.why)
    assert isinstance(answer, NodeFacts)  # noqa: S101 - tells the type checker
    return answer


def target_binary(asked: Asked, node: Node) -> str:
    """Return the program that a node is led to: as asked for, else as the site says; "" is its own path."""
    if asked.binary:
        return asked.binary
    return node.upgrade.binary or "" if node.upgrade is not None else ""


def _node(
    world: World, asked: Asked, node: Node, looking: Target, earlier: list[list[StepRecord]]
) -> NodeFacts:
    name, host = asked.registry, world.host(node.host)
    path = target_binary(asked, node)
    installed = target_program.version_of(world, name, node.host, node.binary)
    state = world.service(name, node.host).state()
    running = target_program.running_version(world, name, node.host, state.process)
    target = target_program.version_of(world, name, node.host, path) if path else installed
    if path in ("", node.binary) and asked.version is not None:
        same = target_program.same_release(installed, str(asked.version))
        target = installed if same else None
    facts = NodeFacts(
        host=node.host,
        kind=node.service.kind,
        binary=node.binary,
        is_link=bool(target_program.link_of(host, node.binary)),
        installed=installed,
        running=running,
        target_binary=path,
        target=target,
        installs=node.upgrade is not None and node.upgrade.install is not None,
        drains=node.drain is not None,
        seconds=node_seconds(earlier, node.host),
    )
    version = target or asked.version
    if version is None:
        return facts
    words = target_program.environment_for(NodeDoors(looking, name, node.host), state.process, version)
    spoken = replace(facts, config_problems=tuple(words))
    return _with_config(spoken, asked, node, looking, version)


def _with_config(facts: NodeFacts, asked: Asked, node: Node, looking: Target, version: Version) -> NodeFacts:
    doors = NodeDoors(looking, asked.registry, node.host)
    upgrades = upgrades_of(doors.engine)
    by_hand = tuple(upgrades.by_hand(version, node.service.kind)) if upgrades is not None else ()
    try:
        data = doors.read()
        owner = "generated" if target_program.is_generated(doors) else classify(data).state
        said = target_program.changes_for(doors, data, version)
        changed = target_program.text_for(doors, data, version, asked.secrets)
    except RegctlError as error:
        return replace(facts, config_problems=(*facts.config_problems, error.message), by_hand=by_hand)
    wrong = [
        f"{doors.config_file}: {m.path}: {m.message}"
        for m in target_program.mistakes_for(doors, changed, version)
    ]
    changes = tuple(f"{one.path} {one.what}" for one in said if one.effect)
    if changed != data and not changes:
        changes = (f"rendered by the template of {version.major}.x",)
    return replace(
        facts,
        config=owner,
        config_changes=changes if changed != data else (),
        config_problems=(*facts.config_problems, *wrong),
        notes=tuple(f"{node.host}: {one.path} {one.what}" for one in said if not one.effect),
        by_hand=by_hand,
    )


def _dropped_kinds(world: World, asked: Asked, nodes: tuple[NodeFacts, ...]) -> tuple[str, ...]:
    upgrades = upgrades_of(world.engine(asked.registry))
    kinds: dict[str, None] = {}
    for node in nodes:
        current, target = node.running or node.installed, node.target or asked.version
        if upgrades is not None and current is not None and target is not None:
            kinds |= dict.fromkeys(upgrades.drops(current, target))
    return tuple(kinds)


def _database(
    world: World, asked: Asked, nodes: tuple[NodeFacts, ...], earlier: list[list[StepRecord]]
) -> DatabaseFacts | None:
    registry = world.registry(asked.registry)
    known = metadata_of(world.engine(asked.registry))
    if known is None or registry.database is None:
        return None
    from ctl.steps.collection import node_config

    reachable = [one for one in nodes if not one.unreachable]
    if not reachable:
        return DatabaseFacts(registry.database, reason="no node of it can be reached")
    facts = next((one for one in reachable if one.target is not None), reachable[0])
    node = world.node(asked.registry, facts.host)
    try:
        config = node_config(world, asked.registry, node)
        if known.asked_backend(config) == "filesystem":
            return None
        return _migrations(world, asked, facts, registry.database, migration_seconds(earlier))
    except RegctlError as error:
        return DatabaseFacts(registry.database, reason=error.message)


def _migrations(
    world: World, asked: Asked, facts: NodeFacts, name: str, seconds: float | None
) -> DatabaseFacts:
    from ctl.steps.metadata_migrations import look_at_migrations

    unfinished: tuple[str, ...] = ()
    if facts.installed is not None:
        only_post = MigrationLimits(post=10_000)
        mine = look_at_migrations(world, asked.registry, facts.host, only_post)
        unfinished = mine.pending.post if mine.pending is not None else ()
    path = facts.target_binary or facts.binary
    if facts.target is None:
        reason = "the target's program is not there yet"
        return DatabaseFacts(name, unfinished=unfinished, reason=reason, seconds=seconds)
    there = target_program.with_program(world, asked.registry, facts.host, path)
    found = look_at_migrations(there, asked.registry, facts.host)
    if facts.installed == facts.target:
        unfinished = ()  # the upgrade's own second phase: it applies them
    if found.pending is None:
        return DatabaseFacts(name, None, None, found.unknown, unfinished, found.reason, seconds)
    return DatabaseFacts(name, found.pending.pre, found.pending.post, (), unfinished, "", seconds)
