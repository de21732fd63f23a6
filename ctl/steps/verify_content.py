"""What is not done on a Pulp's hosts, manifest by manifest, as values. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from ctl.engines.pulp_releases import CONTAINER, version_of
from ctl.engines.pulp_remedies import Broken, Shown
from ctl.probing import NoAnswer, ask
from ctl.steps.pulp_doors import PATIENCE, ask_all, pulp_nodes

if TYPE_CHECKING:
    from ctl.config.pulp import PulpNode
    from ctl.world import World

TRIES = 2000  # manifests of a host that are computed in memory; there are that many only before preparing


@dataclass(frozen=True)
class Verified:
    """How one host stands. `remaining` None: its database has not the columns yet. Numbers are manifests."""

    host: str
    role: str
    container: Version | None = None
    total: int = 0
    remaining: int | None = None
    doable: int = 0  # of those that remain: nothing stands in the way
    untried: int = 0  # of those that can be done: nobody tried, there were too many
    cleanups: int = 0  # of orphans, waiting or running
    problems: tuple[Broken, ...] = ()
    unreachable: str = ""  # why nothing is known

    @property
    def broken(self) -> int:
        """How many no release can hand out."""
        return sum(one.broken for one in self.problems)

    @property
    def skipped(self) -> int:
        """How many Pulp passes over."""
        return len(self.problems) - self.broken

    @property
    def proved(self) -> bool:
        """Whether it is proved that nothing remains."""
        return self.remaining == 0 and not self.unreachable


def verify(
    world: World, registry: str, hosts: Sequence[str] = (), *, tries: int = TRIES
) -> tuple[Verified, ...]:
    """Ask all hosts at once; one that does not answer says why."""
    nodes = pulp_nodes(world, registry, hosts)
    request = {"tries": tries}
    questions = {node.host: partial(ask_all, world, registry, node.host, "verify", request) for node in nodes}
    answers = ask(questions, PATIENCE.total_seconds())
    return tuple(verified(node, answers[node.host]) for node in nodes)


def verified(node: PulpNode, answer: Sequence[Mapping[str, Any]] | NoAnswer) -> Verified:
    """Read the answers of one host; a last one that is missing makes it one that did not answer."""
    if isinstance(answer, NoAnswer):
        return Verified(node.host, node.role, unreachable=answer.why)
    ends = [one for one in answer if one["regctl"] == "verify"]
    problems = tuple(_broken(one) for one in answer if one["regctl"] == "problem")
    if not ends or ends[-1]["problems"] != len(problems):
        return Verified(node.host, node.role, unreachable="its answer is not whole")
    end = ends[-1]
    return Verified(
        node.host,
        node.role,
        version_of(end["versions"].get(CONTAINER)),
        end["total"],
        end["remaining"],
        end["doable"] or 0,
        end["untried"] or 0,
        end["cleanups"],
        problems,
    )


def _broken(answer: Mapping[str, Any]) -> Broken:
    return Broken(
        answer["digest"],
        answer["reason"],
        tuple(Shown(one["name"], one["kind"], one["current"]) for one in answer["repositories"]),
        tuple(answer["tags"]),
        answer["words"],
        answer["file"],
        answer["media_type"],
        answer["has_text"],
    )
