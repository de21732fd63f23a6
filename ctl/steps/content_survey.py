"""How far a Pulp's hosts are with preparing their content, as values. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from ctl.engines.pulp_releases import CONTAINER, CORE, PRE_MIGRATIONS, PreMigration, version_of
from ctl.probing import NoAnswer, ask
from ctl.steps.pulp_doors import PATIENCE, ask_one, pulp_nodes

if TYPE_CHECKING:
    from ctl.config.pulp import PulpNode
    from ctl.world import World

SAMPLE = 60  # manifests that are rehearsed, with nothing written, to learn how fast a machine is
BROKEN = ("lost", "manifest-file-missing")  # what no release serves
SKIPPED = ("config-not-stored", "config-file-missing")  # served as it is, and passed over for ever


@dataclass(frozen=True)
class HostSurvey:
    """How one host stands. `remaining` None: its database has not the columns yet; numbers are manifests."""

    host: str
    role: str
    container: Version | None = None
    core: Version | None = None
    mode: str = "none"  # chunks, whole, none: how Pulp's own code there can be driven
    total: int = 0
    remaining: int | None = None
    named: Mapping[str, int] = field(default_factory=dict)  # left to do by each pre-migration
    hindered: Mapping[str, int] = field(default_factory=dict)  # cannot be done, by the reason
    relinkable: int = 0
    cleanups: int = 0  # of orphans, waiting or running
    preparing: bool = False  # somebody prepares there now
    pending: tuple[str, ...] = ()  # migrations of the schema
    history: str = ""  # why its migrations contradict each other
    startup: float = 0.0  # seconds that its manager takes to start
    seconds_each: float | None = None  # for a manifest, as a rehearsal says
    kept: Mapping[str, Any] = field(default_factory=dict)  # folder, free, writable, rows, needed: of a copy
    unreachable: str = ""  # why nothing is known
    cache: bool = False  # whether what it serves is kept in Redis

    @property
    def broken(self) -> int:
        """How many have lost what they are read from."""
        return sum(self.hindered.get(why, 0) for why in BROKEN)

    @property
    def skipped(self) -> int:
        """How many Pulp passes over, and goes on serving."""
        return sum(self.hindered.get(why, 0) for why in SKIPPED)

    @property
    def doable(self) -> int:
        """How many are left that can be done now."""
        return max(0, (self.remaining or 0) - self.broken - self.skipped)

    @property
    def estimated_seconds(self) -> float | None:
        """How long preparing takes here, from a start of the manager on; None where nobody can tell."""
        if self.unreachable or self.remaining is None or self.mode == "none":
            return None
        if not self.doable:
            return 0.0
        if self.seconds_each is None:
            return None
        return round(self.startup + self.doable * self.seconds_each, 1)

    def left(self, one: PreMigration) -> int | None:
        """Return how many a pre-migration still has to do; None where it does not exist here."""
        return self.named.get(one.name)


def survey(
    world: World, registry: str, hosts: Sequence[str] = (), *, sample: int = SAMPLE, files: bool = True
) -> tuple[HostSurvey, ...]:
    """Ask all hosts at once; one that does not answer is a survey that says why."""
    nodes = pulp_nodes(world, registry, hosts)
    content = world.pulp(registry).content
    request = {"sample": sample, "chunk": content.chunk, "files": files, "folder": content.keep_folder or ""}
    questions = {node.host: partial(ask_one, world, registry, node.host, "survey", request) for node in nodes}
    answers_ = ask(questions, PATIENCE.total_seconds())
    return tuple(_survey(node, answers_[node.host]) for node in nodes)


def _survey(node: PulpNode, answer: Any) -> HostSurvey:
    if isinstance(answer, NoAnswer):
        return HostSurvey(node.host, node.role, unreachable=answer.why)
    return HostSurvey(
        node.host,
        node.role,
        version_of(answer["versions"].get(CONTAINER)),
        version_of(answer["versions"].get(CORE)),
        answer["mode"],
        answer["total"],
        answer["remaining"],
        answer["named"],
        answer["hindered"],
        answer["relinkable"],
        answer["cleanups"],
        answer["preparing"],
        tuple(answer["pending"]),
        answer["history"],
        answer["startup"],
        answer["seconds_each"],
        answer["kept"],
        cache=answer["cache"],
    )


def names() -> tuple[str, ...]:
    """Return the pre-migrations by their names, in the order of the releases that brought them."""
    return tuple(one.name for one in PRE_MIGRATIONS)
