"""One node on its way from one program to another: what stands, what is to stand, and how it is proved.

Everything is told by the world, never by memory: which bytes the file holds, where the link leads, which
program the process executes. So a run that was killed anywhere finds out how far it came.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from packaging.version import Version
from pydantic import BaseModel, ConfigDict

from ctl.hosts.base import Command
from ctl.plans.upgrade_facts import Way
from ctl.recipes.model import Target
from ctl.steps.read_only_node import ReadOnlyNode
from ctl.steps.target_program import demand, link_of, running_version, text_for, version_of, with_program

if TYPE_CHECKING:
    from ctl.hosts.base import Host, ProcessInfo
    from ctl.hosts.services import Service

SEARCHED = 20  # repositories that are looked into for an image to pull


class Roll(BaseModel):
    """What a node is led from and to: the arguments of every step that rolls it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: str
    node: str
    way: Way
    was: str  # the node's binary in the site, before
    target: str  # the program that is to run; the same path where a package replaces it
    version: str  # of the target
    running: bool  # whether its service ran when this was planned
    install: tuple[str, ...] = ()  # the operator's command that replaces the program where it lies
    site: str = ""  # the site file
    secrets: str = ""  # the folder of its secrets

    @property
    def name(self) -> str:
        """The node as messages call it."""
        return f"{self.registry}/{self.node}"

    @property
    def after(self) -> str:
        """The node's binary in the site, afterwards."""
        return self.target if self.way == "site" else self.was


@dataclass(frozen=True)
class RollingNode:
    """A node with the doors of before and of after."""

    here: Target
    roll: Roll

    @cached_property
    def old(self) -> ReadOnlyNode:
        """The node as it is described before."""
        return self._seen(self.roll.was)

    @cached_property
    def new(self) -> ReadOnlyNode:
        """The node as it is described afterwards."""
        return self._seen(self.roll.after)

    @property
    def host(self) -> Host:
        """The node's host."""
        return self.here.world.host(self.roll.node)

    def paths(self) -> dict[str, str]:
        """Return where this run keeps what the way back needs."""
        run = self.here.run.id
        folder, name = os.path.split(self.old.config_file)
        where, program = os.path.split(self.roll.was)
        return {
            "kept": os.path.join(folder, f"{name}.before-{run}"),
            "kept_new": os.path.join(folder, f".{name}.regctl-upgraded-{run}"),
            "kept_program": os.path.join(where, f".{program}.regctl-before-{run}"),
        }

    def _seen(self, binary: str) -> ReadOnlyNode:
        world = with_program(self.here.world, self.roll.registry, self.roll.node, binary)
        return ReadOnlyNode(Target(world, self.here.run), self.roll.registry, self.roll.node)

    # -- the configuration -----------------------------------------------------------------------

    def target_text(self, data: bytes) -> bytes:
        """Return the file's bytes as the target needs them; RefusedError where that is not ours to say."""
        return text_for(self.old, data, Version(self.roll.version), self.roll.secrets)

    # -- the program -----------------------------------------------------------------------------

    def version_at(self, path: str) -> Version | None:
        """Ask a program for its version; None where it is not there, or is no registry's."""
        return version_of(self.here.world, self.roll.registry, self.roll.node, path)

    def link(self) -> str:
        """Return where the binary leads as a symbolic link, in its own words; "" where it is none."""
        return link_of(self.host, self.roll.was)

    def lead_link(self, target: str) -> None:
        """Have the link lead elsewhere, in one rename."""
        path = self.roll.was
        aside = f"{path}.regctl-{self.here.run.id}"
        self.here.run.guard()
        demand(self.host, ("ln", "-sfn", "--", target, aside), f"{path} could not be led to {target}")
        demand(self.host, ("mv", "-T", "--", aside, path), f"{path} could not be led to {target}")

    def copy_program(self, source: str, path: str) -> None:
        """Copy a program over another name, in one rename, with its mode and owner."""
        aside = f"{path}.regctl-part"
        self.here.run.guard()
        demand(self.host, ("cp", "-pL", "--", source, aside), f"{source} could not be kept")
        demand(self.host, ("mv", "-T", "--", aside, path), f"{source} could not be kept")

    def same_program(self, one: str, other: str) -> bool:
        """Say whether two files hold the same bytes."""
        return self.host.run(Command(("cmp", "-s", "--", one, other))).exit_code == 0

    # -- the process -----------------------------------------------------------------------------

    def services(self) -> tuple[Service, ...]:
        """The services that may run the node: the one of after, then (where it differs) that of before."""
        return (
            (self.new.service,) if self.roll.was == self.roll.after else (self.new.service, self.old.service)
        )

    def process(self) -> ProcessInfo | None:
        """Return the process that serves the node, of whichever program."""
        for service in self.services():
            state = service.state()
            if state.running:
                return state.process
        return None

    def stop(self) -> bool:
        """Stop whatever serves the node; True if it ended by itself."""
        drained = True
        for service in self.services():
            if service.state().running:
                self.here.run.guard()
                drained = service.stop(self.old.grace()) and drained
        return drained

    def running_version(self) -> Version | None:
        """Say which version the process is, by the very file that it executes; None if nothing runs."""
        return running_version(self.here.world, self.roll.registry, self.roll.node, self.process())

    def pull_sample(self) -> tuple[str, ...]:
        """Choose an image that the node serves now: (repository, digest); () where it has none."""
        client = self.old.client
        for number, repository in enumerate(client.repositories()):
            for tag in client.tags(repository)[:3]:
                digest = client.digest_of(repository, tag)
                if digest is not None:
                    return repository, digest
            if number >= SEARCHED:
                break
        return ()
