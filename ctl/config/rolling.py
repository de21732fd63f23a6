"""What a site says about rolling a node: how it is drained, what it is upgraded to, what it was led to."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ctl.config.fields import AbsolutePath, Argv, Model, Name


class Drain(Model):
    """What takes a node out of what sends clients to it, and puts it back: programs, run on a host."""

    host: Name | None = None  # where they run; the node's own host unless given
    out: Argv
    into: Argv = Field(alias="in")
    settle_seconds: Annotated[int, Field(ge=0, le=3600)] = 0  # until the last client has gone elsewhere


class UpgradeTo(Model):
    """The program that `regctl upgrade` leads a node to."""

    binary: AbsolutePath | None = None  # absent: a package replaces the node's binary where it lies
    install: Argv | None = None  # what puts it there; regctl installs nothing by itself


class Moved(Model):
    """Written by `regctl upgrade`: a node's binary since then, as long as the site still says `was`."""

    was: AbsolutePath
    binary: AbsolutePath


def on_their_new_programs(registry: dict[str, Any]) -> dict[str, Any]:
    """Return a described registry with the binaries that `upgraded` tells; an edited site wins over it.

    What has not the right shape is left for the models to judge.
    """
    moved, nodes = registry["upgraded"], registry.get("nodes")
    if not isinstance(moved, dict) or not isinstance(nodes, list | tuple):
        return registry

    def led(node: Any) -> Any:
        told = moved.get(node.get("host")) if isinstance(node, dict) else None
        if not isinstance(told, dict) or told.get("was") != node.get("binary") or "binary" not in told:
            return node
        return {**node, "binary": told["binary"]}

    return {**registry, "nodes": [led(node) for node in nodes]}
