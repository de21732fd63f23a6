"""Checks of a Pulp that a recipe begins with: nothing at work that deletes, room, a way to a release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator

from ctl.errors import Outcome
from ctl.plans.pulp_upgrade_rules import SKIPPABLE, blocked
from ctl.recipes.model import Look, Problem, Target
from ctl.steps.content_copies import ask_copies
from ctl.steps.keep_content import room_problems
from ctl.steps.packages_rest import CHECK as PACKAGES
from ctl.steps.packages_rest import PackagesRest
from ctl.steps.pulp_services import database_is_stopped

CLEANUP, RELINKABLE, SPACE = "orphan-cleanup", "relinkable", "space"


def _release(text: str) -> str:
    try:
        Version(text)
    except InvalidVersion:
        raise ValueError('must be a release, as in "2.27.14"') from None
    return text


class DemandQuietPulp(Look):
    """Refuse a host of a Pulp with something at work, or waiting, that work on its content must not meet.

    A cleanup of orphans, waiting or running; a program that changes packages; too little room for a copy of
    rows; manifests whose files are still there and no longer linked, which a cleanup would delete for good.
    `strict` False: the last ones are told, and block nothing.
    """

    pulp: str
    host_name: str
    strict: bool = True

    skippable: ClassVar[tuple[str, ...]] = (CLEANUP, PACKAGES, RELINKABLE, SPACE)

    def title(self) -> str:
        """Name the host."""
        return f"see that nothing is at work on {self.host_name} that {self.pulp} must not meet"

    def host(self) -> str:
        """The host."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """Look at its processes and its Pulp."""
        yield from PackagesRest(host_name=self.host_name).check(here)
        if database_is_stopped(here, self.pulp, self.host_name):
            text = f"{self.host_name}: its PostgreSQL is stopped; what waits in it cannot be told"
            yield Problem(text, blocking=False)
            return
        found = ask_copies(here.world, self.pulp, self.host_name, "keep", {"action": "look"})
        if found["cleanups"]:
            yield Problem(
                f"{self.host_name}: {found['cleanups']} cleanups of orphans wait or run",
                hint="wait until they are done: regctl content status",
                name=CLEANUP,
            )
        if found["relinkable"]:
            yield Problem(
                f"{self.host_name}: {found['relinkable']} manifests have lost the link to their files, which "
                "a cleanup of orphans would delete for good",
                hint=f"regctl content repair {self.pulp} --host {self.host_name}",
                blocking=self.strict,
                name=RELINKABLE,
            )
        yield from room_problems(self.pulp, self.host_name, found, SPACE)


class DemandPulpUpgradable(Look):
    """Refuse where a host of a Pulp keeps it from being led to a release: all reasons of `upgrade plan`."""

    pulp: str
    to: Annotated[str, AfterValidator(_release)]

    skippable: ClassVar[tuple[str, ...]] = SKIPPABLE

    def title(self) -> str:
        """Name the release."""
        return f"see that {self.pulp} may be led to {self.to}"

    def check(self, here: Target) -> Iterator[Problem]:
        """Ask every host, as `upgrade plan` does."""
        from ctl.steps.pulp_upgrade_look import look

        for one in blocked(look(here.world, self.pulp, Version(self.to), {})):
            outcome = Outcome.UNREACHABLE if one.unreachable else Outcome.REFUSED
            yield Problem(one.message, one.hint, outcome=outcome, name=one.name)
