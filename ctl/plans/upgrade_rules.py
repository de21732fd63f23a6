"""What keeps an upgrade from beginning: every reason at once, each with what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from packaging.version import Version

from ctl.plans.upgrade_facts import Facts, NodeFacts, target_of, way
from ctl.skew import release_of, step, together

SKEW_NAME = "unknown-skew"  # of the check that may be skipped: nobody knows, and the operator does
DROPPED_NAME = "dropped-manifests"
UNFINISHED_NAME = "unfinished-migrations"
SKIPPABLE = (SKEW_NAME, DROPPED_NAME, UNFINISHED_NAME)


@dataclass(frozen=True)
class Blocked:
    """Why it may not begin; `name` where an operator may pass over it by `--skip NAME`."""

    message: str
    hint: str = ""
    name: str = ""
    unreachable: bool = False


def blocked(facts: Facts, roll: Sequence[str]) -> Iterator[Blocked]:
    """Yield what stands in the way of rolling these hosts."""
    for node in facts.nodes:
        if node.unreachable:
            yield Blocked(f"{node.host} cannot be reached: {node.unreachable}", unreachable=True)
        elif node.host in roll:
            yield from _node_blocked(node, facts)
    if roll:
        yield from _skew_blocked(facts)
        yield from _data_blocked(facts, roll)


def _node_blocked(node: NodeFacts, facts: Facts) -> Iterator[Blocked]:
    where = f"{facts.registry}/{node.host}"
    target = target_of(node, facts.wanted)
    if target is None:
        yield Blocked(
            f"{where}: nobody says which version it is to run",
            "name the program with --to-binary, or in the site as `upgrade: {binary: ...}` of the node; "
            "where a package replaces it in its place, say --to VERSION",
        )
        return
    if way(node) == "by-hand":
        yield Blocked(f"{where}: {by_hand(node, target)[0]}", "then run this again")
        return
    there = node.target is not None
    if not there and not node.installs:
        yield Blocked(f"{where}: {node.target_binary} is not there", f"install version {target} there first")
    if facts.wanted is not None and there and release_of(target) != release_of(facts.wanted):
        yield Blocked(f"{where}: {node.target_binary or node.binary} is version {target}, not {facts.wanted}")
    current = node.running or node.installed
    if current is not None:
        judged = step(facts.skew, current, target)
        if not judged.allowed and judged.known:
            yield Blocked(f"{where}: {judged.why}")
    for problem in node.config_problems:
        yield Blocked(f"{where}: {problem}")


def _skew_blocked(facts: Facts) -> Iterator[Blocked]:
    """What runs now and what will run serve side by side while the nodes are rolled."""
    versions = {node.running for node in facts.nodes if node.running is not None}
    versions |= {t for node in facts.nodes if (t := target_of(node, facts.wanted)) is not None}
    judged = together(facts.skew, versions)
    if judged.allowed:
        return
    if judged.known:
        yield Blocked(f"{facts.registry}: {judged.why}", "stop every node, upgrade each, start them together")
    else:
        yield Blocked(
            f"{facts.registry}: {judged.why}",
            f"where you know that they go together: --skip {SKEW_NAME} --skip-reason WHY",
            SKEW_NAME,
        )


def _data_blocked(facts: Facts, roll: Sequence[str]) -> Iterator[Blocked]:
    if facts.dropped and facts.dropped_found:
        kinds = " and ".join(facts.dropped)
        example = f", such as {facts.dropped_example}" if facts.dropped_example else ""
        yield Blocked(
            f"{facts.registry}: {facts.dropped_found} {kinds} manifests are stored{example}: the target does "
            "not serve them, and its garbage collector fails beside them",
            "push these images again with a client of today and delete the old ones, then collect garbage",
        )
    elif facts.dropped and facts.dropped_found is None:
        yield Blocked(
            f"{facts.registry}: whether {' and '.join(facts.dropped)} manifests are stored could not be told",
            "the storage must be readable from here: see `regctl status`",
            DROPPED_NAME,
        )
    database = facts.database
    if database is None:
        return
    for node in facts.nodes:
        if node.host in roll and node.target is None and way(node) == "in-place":
            yield Blocked(
                f"{facts.registry}/{node.host}: the new program must migrate database {database.name} before "
                "a node is rolled, and a package that replaces it where it lies comes too late",
                "install it first (a process that runs stays as it is), or beside the old one: `upgrade: "
                "{binary: ...}`",
            )
    if database.newer:
        yield Blocked(
            f"database {database.name} was migrated by a newer program than the target: "
            f"{_few(database.newer)}",
            "upgrade to the version that did, or to a newer one",
        )
    if database.unfinished:
        yield Blocked(
            f"database {database.name}: post-deployment migrations of the version that runs now are not "
            f"applied: {_few(database.unfinished)}; a next version may build on them",
            f"end the last upgrade first: regctl database migrate up {facts.registry}",
            UNFINISHED_NAME,
        )


def by_hand(node: NodeFacts, target: Version) -> tuple[str, ...]:
    """Say what must be done by hand where regctl has no way to lead a node to its target."""
    if node.target_binary in ("", node.binary):
        return (
            f"install version {target} at {node.binary}, or name the command that does so in the site: "
            "`upgrade: {install: [...]}` of the node",
        )
    return (
        f"its service of kind {node.kind} starts {node.binary}, which is no symbolic link: make it one, or "
        f"have the service start a link that leads to it, and name that as `binary` in the site",
    )


def _few(ids: Iterable[str], count: int = 3) -> str:
    named = list(ids)
    more = f" and {len(named) - count} more" if len(named) > count else ""
    return ", ".join(named[:count]) + more
