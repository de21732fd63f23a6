"""What `regctl status` found out, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctl.database.base import DatabaseStatus
    from ctl.probing import NoAnswer
    from ctl.recipes.lock import LockState
    from ctl.recipes.state import RunState
    from ctl.steps.metadata_statistics import MetadataStatistics
    from ctl.steps.pulp_look import PulpView
    from ctl.storage.base import Space


@dataclass(frozen=True)
class NodeView:
    """One node. `None` stands for what could not be found out; `problems` says why."""

    host: str
    url: str
    state: str  # running | stopped | unknown
    listening: bool | None
    version: str | None
    backend: str  # filesystem | database | unknown
    read_only: bool | None
    pid: int | None = None
    since: float | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class CatalogView:
    """A registry's catalog copy: which import made it, when, and whether the tree changed since."""

    generation: int | None
    imported_at: str | None
    stale: bool | None
    missing: str  # why there is no copy; "" where there is one


@dataclass(frozen=True)
class RegistryView:
    """One registry: its nodes, its storage, its catalog copy, its last collection."""

    name: str
    engine: str
    nodes: tuple[NodeView, ...]
    storage: str  # the driver
    place: str  # where the storage is, in the driver's words
    space: Space | None
    database: str | None
    catalog: CatalogView | None
    last_collection: RunState | None
    problems: tuple[str, ...] = ()
    metadata: MetadataStatistics | None = None  # where the engine has a metadata database

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions of its nodes' programs, each once; several while it is being upgraded."""
        return tuple(sorted({node.version.partition("+")[0] for node in self.nodes if node.version}))


@dataclass(frozen=True)
class SiteView:
    """Everything `regctl status` shows."""

    registries: tuple[RegistryView, ...]
    databases: Mapping[str, DatabaseStatus | NoAnswer]
    locks: tuple[LockState, ...] = ()
    open_runs: tuple[RunState, ...] = ()
    working: frozenset[str] = frozenset()  # ids of the open runs that somebody is at work on
    problems: tuple[str, ...] = ()
    pulps: tuple[PulpView, ...] = ()

    def all_problems(self) -> list[str]:
        """Return every problem with its place; nothing is wrong where there is none."""
        found = list(self.problems)
        for registry in self.registries:
            found += [f"{registry.name}: {problem}" for problem in registry.problems]
            for node in registry.nodes:
                found += [f"{registry.name} on {node.host}: {problem}" for problem in node.problems]
        return found + [problem for pulp in self.pulps for problem in pulp.all_problems()]
