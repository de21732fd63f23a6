"""From what stands on the nodes of a registry to what an upgrade would do, as a table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ctl.plans.upgrade_facts import DatabaseFacts, Facts, NodeFacts, is_done, target_of, way
from ctl.plans.upgrade_row import Row, State
from ctl.plans.upgrade_rules import Blocked, blocked, by_hand
from ctl.skew import release_of, together


@dataclass(frozen=True)
class UpgradePlan:
    """What would be done, in order, and what stands in the way."""

    registry: str
    rows: tuple[Row, ...]
    blocked: tuple[Blocked, ...]
    notes: tuple[str, ...]
    roll: tuple[str, ...]  # the hosts that are still to be rolled
    versions: tuple[str, ...]  # that run now
    seconds: float | None
    next: str

    @property
    def mixed(self) -> bool:
        """Whether nodes of several versions serve side by side now."""
        return len(self.versions) > 1


def plan(facts: Facts) -> UpgradePlan:
    """Make the plan."""
    roll = tuple(
        node.host for node in facts.nodes if not node.unreachable and not is_done(node, facts.wanted)
    )
    stands = tuple(blocked(facts, roll))
    rows = tuple(_rows(facts, roll, stands))
    notes = tuple(dict.fromkeys(_notes(facts, roll)))
    running = sorted({node.running for node in facts.nodes if node.running is not None})
    seconds = [row.seconds for row in rows if row.state == "to-do" and row.component != "configuration"]
    known = [one for one in seconds if one is not None]
    whole = round(sum(known), 1) if seconds and len(known) == len(seconds) else None
    return UpgradePlan(
        facts.registry,
        rows,
        stands,
        notes,
        roll,
        tuple(map(str, running)),
        whole,
        _next(facts, roll, stands),
    )


def _rows(facts: Facts, roll: Sequence[str], stands: Sequence[Blocked]) -> Iterator[Row]:
    for node in facts.nodes:
        target = target_of(node, facts.wanted)
        current = str(node.running or node.installed or "not there")
        wanted = str(target) if target is not None else "not told"
        if node.unreachable:
            yield Row(node.host, "program", "not known", wanted, "unreachable", node.unreachable)
            continue
        stopped = any(one.message.startswith(f"{facts.registry}/{node.host}:") for one in stands)
        state: State = "to-do" if node.host in roll else "done"
        if state == "to-do" and target is not None and way(node) == "by-hand":
            hand = by_hand(node, target)
            yield Row(node.host, "program", current, wanted, "by-hand", "", hand)
        else:
            state = "blocked" if state == "to-do" and stopped else state
            hand = node.by_hand if node.host in roll else ()
            yield Row(node.host, "program", current, wanted, state, _how(node, state), hand, node.seconds)
        yield _config_row(node, node.host in roll)
    if facts.database is not None:
        yield _database_row(facts.database)


def _how(node: NodeFacts, state: State) -> str:
    if state == "done":
        return "stopped" if node.running is None else ""
    installed = "" if node.target is not None else "installed by the site's command, "
    ways = {
        "site": "the site then names the new program",
        "link": f"{node.binary} is led to it",
        "in-place": "replaced where it lies",
    }
    drained = "drained" if node.drains else "clients see it restart (no drain in the site)"
    if node.running is None:
        drained = "stopped, and stays so"
    return f"{installed}{ways.get(way(node), '')}; {drained}"


def _config_row(node: NodeFacts, rolls: bool) -> Row:
    changes = len(node.config_changes)
    if not rolls:
        return Row(node.host, "configuration", node.config, node.config, "done")
    if node.config_problems:
        return Row(node.host, "configuration", node.config, "", "blocked", node.config_problems[0])
    if not changes:
        return Row(node.host, "configuration", node.config, node.config, "not-applicable", "stays as it is")
    said = "; ".join(node.config_changes)
    return Row(node.host, "configuration", node.config, "translated", "to-do", said)


def _database_row(database: DatabaseFacts) -> Row:
    if database.pre is None or database.post is None:
        return Row("", "database", database.name, "", "to-do", f"not known yet: {database.reason}")
    if not database.pre and not database.post:
        return Row("", "database", database.name, "migrated", "done")
    said = f"{len(database.pre)} migrations before the nodes, {len(database.post)} after them"
    return Row("", "database", database.name, "migrated", "to-do", said, seconds=database.seconds)


def _notes(facts: Facts, roll: Sequence[str]) -> Iterator[str]:
    for node in facts.nodes:
        if node.host in roll:
            yield from node.notes
    versions = {node.running for node in facts.nodes if node.running is not None}
    if len(set(map(release_of, versions))) > 1:
        judged = together(facts.skew, versions)
        yield f"nodes of several versions serve side by side: {judged.why}"


def _next(facts: Facts, roll: Sequence[str], stands: Sequence[Blocked]) -> str:
    options = f" {facts.next_options}" if facts.next_options else ""
    verb = "plan" if any(not one.name for one in stands) else "apply"
    pending = facts.database is not None and bool(facts.database.pre or facts.database.post)
    if not roll and not stands and not pending:
        return ""
    return f"regctl upgrade {verb} {facts.registry}{options}"
