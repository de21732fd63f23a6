"""What stands on the nodes of a registry before an upgrade, as values. Pure.

A node is led to its target in one of four ways:

    site        its service starts what the site names: the site is changed by regctl's own drop-in
    link        its binary is a symbolic link, which is led to the other program
    in-place    a package replaces the program where it lies, by the operator's own install command
    by-hand     none of these: the plan says what to do
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from packaging.version import Version

from ctl.skew import Skew, release_of

Way = Literal["site", "link", "in-place", "by-hand"]


@dataclass(frozen=True)
class NodeFacts:
    """A node as it stands, asked of its binary, its process and its file."""

    host: str
    kind: str = "process"  # of its service
    binary: str = ""
    is_link: bool = False
    installed: Version | None = None  # what the binary says; None: it is not there
    running: Version | None = None  # what its process says; None: it is stopped
    target_binary: str = ""  # "" : the node's own binary is replaced where it lies
    target: Version | None = None  # what the target says; None: it is not there
    installs: bool = False  # the site names a command that puts it there
    drains: bool = False
    config: str = "adopted"  # whose file: managed, adopted, drifted, generated, missing
    config_changes: tuple[str, ...] = ()  # what is translated for the target
    config_problems: tuple[str, ...] = ()  # why its file cannot be used or translated
    notes: tuple[str, ...] = ()  # what means something else from then on
    by_hand: tuple[str, ...] = ()  # what regctl does not write
    unreachable: str = ""  # why its host does not answer
    seconds: float | None = None  # that rolling it took the last time, or a restart


@dataclass(frozen=True)
class DatabaseFacts:
    """The metadata database, seen by the target's program (`newer`: applied, and unknown to that one)."""

    name: str
    pre: tuple[str, ...] | None = None  # pending before the deployment; None: nobody could ask
    post: tuple[str, ...] | None = None
    newer: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()  # post-deployment migrations of the version that runs now
    reason: str = ""  # why nobody could ask
    seconds: float | None = None


@dataclass(frozen=True)
class Facts:
    """Everything that a plan is made from."""

    registry: str
    engine: str
    nodes: tuple[NodeFacts, ...]
    skew: tuple[Skew, ...] = ()
    wanted: Version | None = None  # as told by --to
    database: DatabaseFacts | None = None
    dropped: tuple[str, ...] = ()  # kinds of manifests that the target serves no more
    dropped_found: int | None = None  # manifests of them in the storage; None: not counted
    dropped_example: str = ""
    next_options: str = ""  # of the command line that was typed, for the next one


def way(node: NodeFacts) -> Way:
    """Say how a node is led to its target."""
    if node.target_binary in ("", node.binary):
        changed = node.installed is not None and node.running is not None and node.installed != node.running
        return "in-place" if node.installs or changed else "by-hand"
    if node.kind == "process":
        return "site"
    return "link" if node.is_link else "by-hand"


def target_of(node: NodeFacts, wanted: Version | None) -> Version | None:
    """Say which version a node is to run: what its target says of itself, else what was asked for."""
    return node.target if node.target is not None else wanted


def is_done(node: NodeFacts, wanted: Version | None) -> bool:
    """Say whether a node runs its target already (a stopped one: would, once started)."""
    target = target_of(node, wanted)
    now = node.running if node.running is not None else node.installed
    if target is None or now is None or release_of(now) != release_of(target):
        return False
    return node.target_binary in ("", node.binary) or node.binary == node.target_binary
