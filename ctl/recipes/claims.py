"""Claims: on each node's host lies a file that says which run, of which controller, changes this node.

It stands beside the file that it guards: `/etc/docker/registry/config.yml` is claimed by
`/etc/docker/registry/.config.yml.regctl-claim`. The lock keeps two runs of one controller apart; the
claim keeps two controllers apart, and stops a run that somebody else has taken over.
"""

from __future__ import annotations

import json
import os.path
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ctl.errors import LockedError, RefusedError, RegctlError, UnreachableError
from ctl.recipes import failpoints
from ctl.recipes.identity import controller_id
from ctl.recipes.journal import FencedError

if TYPE_CHECKING:
    from ctl.recipes.lock import Locks
    from ctl.world import World

_BEFORE_LIMIT = 65536  # bytes of states before in a claim: they help a person, and must not fill /etc


@dataclass(frozen=True)
class Claim:
    """Who changes a node."""

    registry: str
    run: str
    epoch: int
    controller: str
    controller_host: str
    recipe: str
    operator: str
    since: str
    before: Mapping[str, Any] = field(default_factory=dict)  # of the entered scopes, by path

    def dump(self) -> bytes:
        """Return the file's content."""
        before: Mapping[str, Any] = self.before
        if len(json.dumps(before)) > _BEFORE_LIMIT:
            before = {path: "too large; see the journal" for path in before}
        return json.dumps({**vars(self), "before": before}, indent=1, sort_keys=True).encode() + b"\n"

    def describe(self) -> str:
        """Say who, what, where and since when."""
        where = f"{self.operator}@{self.controller_host}"
        return f"run {self.run} ({self.recipe}) of {where}, controller {self.controller}, since {self.since}"


@dataclass(frozen=True)
class Spot:
    """Where a node's claim lies."""

    registry: str
    host: str
    path: str


def claim_path(config_file: str) -> str:
    """Return the path of the claim beside a node's configuration file."""
    folder, name = os.path.split(config_file)
    return os.path.join(folder, f".{name}.regctl-claim")


def spots(world: World, resources: Iterable[str]) -> list[Spot]:
    """Return where the claims of the registries among the resources lie, one for each node.

    A Pulp has none: whoever works on its content holds a lock in its own database.
    """
    found = []
    for resource in resources:
        kind, _, name = resource.partition("/")
        if kind == "registry" and name not in world.site.pulps:
            for node in world.registry(name).nodes:
                found.append(Spot(name, node.host, claim_path(node.config_file)))
    return found


def read_claim(world: World, spot: Spot) -> Claim | None:
    """Read a claim; None if there is none. LockedError if the file says nothing readable."""
    try:
        data = world.host(spot.host).read(spot.path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return Claim(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise LockedError(
            f"the claim {spot.path} on {spot.host} cannot be read: {error}",
            hint=f"make sure that no other regctl changes {spot.registry}, then delete that file",
        ) from error


def foreign(
    world: World, resources: Iterable[str], controller: str, without: Collection[str] = ()
) -> list[tuple[Spot, Claim]]:
    """Return the claims of other controllers on the resources, some hosts left aside; only reads."""
    found = []
    for spot in spots(world, resources):
        if spot.host in without:
            continue
        claim = read_claim(world, spot)
        if claim is not None and claim.controller != controller:
            found.append((spot, claim))
    return found


def refusal(spot: Spot, claim: Claim) -> LockedError:
    """Say that another controller is at work."""
    return LockedError(
        f"{spot.registry} on {spot.host} is claimed by {claim.describe()}",
        hint=f"finish it there (`regctl run resume {claim.run}`); if that controller is gone for good:"
        f" regctl lock break {claim.run} --reason WHY",
    )


def break_claims(world: World, locks: Locks, run_id: str, reason: str, *, dry_run: bool) -> int:
    """Remove the claims of another controller's run; return how many there are.

    RefusedError if the run is one of this controller's: that is resumed or abandoned.
    """
    own = controller_id(world.state_dir, create=False)
    count = 0
    for spot in spots(world, [f"registry/{name}" for name in world.site.registries]):
        claim = read_claim(world, spot)
        if claim is None or claim.run != run_id:
            continue
        if claim.controller == own:
            raise RefusedError(
                f"run {run_id} is this controller's own", hint=f"regctl run resume {run_id}, or abandon"
            )
        count += 1
        if not dry_run:
            locks.audit_claim(f"registry/{spot.registry}", vars(claim), reason)
            world.host(spot.host).remove(spot.path)
    return count


class Claims:
    """The claims of one run.

    `rows` are the hosts that rows of their own work on. One of them that does not answer keeps only its own
    row from working; any other host keeps the whole run.
    """

    def __init__(
        self,
        world: World,
        claim: Claim,
        boundary: failpoints.Boundary = failpoints.off,
        rows: Collection[str] = (),
    ) -> None:
        self._world = world
        self._claim = claim  # of no registry yet: each spot gets its own
        self._boundary = boundary
        self._rows = frozenset(rows)
        self._placed: dict[Spot, Claim] = {}
        self._away: dict[Spot, UnreachableError] = {}  # where nothing can be asked any more

    def place(self, resources: Iterable[str], without: Collection[str] = ()) -> None:
        """Claim every node of the registries; LockedError if another controller has one of them.

        Nothing is claimed on the hosts in `without`: nothing will be done there.
        """
        for spot in spots(self._world, resources):
            if spot.host not in without:
                self._place(spot)
        self.guard()  # of two controllers that claim at once, the earlier writer finds out here

    def _place(self, spot: Spot) -> None:
        try:
            there = read_claim(self._world, spot)
            if there is not None and there.controller != self._claim.controller:
                raise refusal(spot, there)
            # No directory, no configuration: there is nothing yet that a claim could guard.
            if self._world.host(spot.host).stat(os.path.dirname(spot.path)) is not None:
                self._placed[spot] = self._claim
                self._write(spot)
        except UnreachableError as error:
            if spot.host not in self._rows:
                raise
            self._away[spot] = error

    def entered(self, path: str, before: Mapping[str, Any], host: str = "") -> None:
        """Add the state before a scope to the claims, for whoever finds one without its controller.

        With `host` only to the claims there, where the scope's row works.
        """
        for spot in self._spots(host):
            claim = self._placed[spot]
            self._placed[spot] = Claim(**{**vars(claim), "before": {**claim.before, path: before}})
            self._guard(spot)
            self._write(spot)

    def guard(self, host: str = "") -> None:
        """Raise FencedError unless every claim is still this run's, with its epoch.

        With `host` only the claims there are asked, where a row is about to write; UnreachableError if
        they cannot be. Without, a row's host that does not answer any more is passed over.
        """
        if host:
            for spot, error in list(self._away.items()):
                if spot.host == host:
                    raise error
        for spot in self._spots(host):
            try:
                self._guard(spot)
            except UnreachableError as error:
                if host or spot.host not in self._rows:
                    raise
                self._away[spot] = error

    def _spots(self, host: str) -> list[Spot]:
        there = [spot for spot in list(self._placed) if spot not in self._away]
        return [spot for spot in there if spot.host == host] if host else there

    def _guard(self, spot: Spot) -> None:
        there = read_claim(self._world, spot)
        if there is None or (there.run, there.epoch) != (self._claim.run, self._claim.epoch):
            who = there.describe() if there else "nobody: the claim is gone"
            raise FencedError(
                f"this run's claim on {spot.registry} at {spot.host} was taken; now it is {who}",
                hint="nothing more is changed here; see `regctl run list` and `regctl lock status`",
            )

    def remove(self) -> None:
        """Take the claims away, those that are still ours; raise at the end what stood in the way of some."""
        failures: list[RegctlError] = list(self._away.values())
        for spot in self._spots(""):
            try:
                there = read_claim(self._world, spot)
                if there is not None and (there.run, there.epoch) == (self._claim.run, self._claim.epoch):
                    with self._boundary(f"claim remove {spot.host}"):
                        self._world.host(spot.host).remove(spot.path)
            except RegctlError as error:
                failures.append(error)
        self._placed.clear()
        if failures:
            raise failures[0]

    def _write(self, spot: Spot) -> None:
        data = Claim(**{**vars(self._placed[spot]), "registry": spot.registry}).dump()
        with self._boundary(f"claim write {spot.host}"):
            self._world.host(spot.host).write(spot.path, data, mode=0o600)
