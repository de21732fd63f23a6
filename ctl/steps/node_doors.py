"""One node of a registry with its doors, and how to look at its configuration file. Reads only."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ctl.errors import ConfigError
from ctl.hosts.base import Command
from ctl.recipes.model import Target
from ctl.steps.service import grace_for

if TYPE_CHECKING:
    from datetime import timedelta

    from packaging.version import Version

    from ctl.config.models import Node
    from ctl.engines.base import Engine, ParsedConfig
    from ctl.hosts.base import FileInfo, Host, ProcessInfo
    from ctl.hosts.services import Service
    from ctl.http import RegistryClient

KEPT_MARK = ".regctl-original-"


@dataclass(frozen=True)
class NodeDoors:
    """A node of a registry: its doors, its configuration file, and what runs have kept beside that."""

    here: Target
    registry: str
    host_name: str

    @cached_property
    def node(self) -> Node:
        """The node's description."""
        return self.here.world.node(self.registry, self.host_name)

    @cached_property
    def host(self) -> Host:
        """The node's host."""
        return self.here.world.host(self.host_name)

    @cached_property
    def engine(self) -> Engine:
        """The registry's engine."""
        return self.here.world.engine(self.registry)

    @cached_property
    def version(self) -> Version:
        """The version of the node's binary."""
        return self.here.world.version(self.registry, self.host_name)

    @property
    def service(self) -> Service:
        """The node's service."""
        return self.here.world.service(self.registry, self.host_name)

    @property
    def client(self) -> RegistryClient:
        """The node over HTTP."""
        return self.here.world.client(self.registry, self.host_name)

    @property
    def name(self) -> str:
        """The node as messages call it."""
        return f"{self.registry}/{self.host_name}"

    @cached_property
    def config_file(self) -> str:
        """The real file behind config_file: a symbolic link stays a link."""
        info = self.host.stat(self.node.config_file)
        if info is None or info.kind != "symlink":
            return self.node.config_file
        result = self.host.run(Command(("readlink", "-f", "--", self.node.config_file)))
        return os.fsdecode(result.stdout).rstrip("\n") or self.node.config_file

    def read(self) -> bytes:
        """Read the configuration; ConfigError if there is none."""
        try:
            return self.host.read(self.config_file)
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self.name}: the configuration {self.config_file} is not there",
                hint="correct `config_file` of the node in the site",
            ) from error

    def info(self) -> FileInfo:
        """Describe the configuration file."""
        info = self.host.stat(self.config_file)
        if info is None or info.kind != "file":
            raise ConfigError(f"{self.name}: {self.config_file} is not a file")
        return info

    def parsed(self, data: bytes) -> ParsedConfig:
        """Read the configuration as the registry would."""
        return self.engine.parse_config(data)

    def kept_path(self, run: str) -> str:
        """Return where a run keeps the original bytes."""
        folder, name = os.path.split(self.config_file)
        return os.path.join(folder, f".{name}{KEPT_MARK}{run}")

    def kept_copies(self) -> list[str]:
        """Return the originals that runs have left beside the file."""
        folder, name = os.path.split(self.config_file)
        start = f".{name}{KEPT_MARK}"
        try:
            names = self.host.list_directory(folder)
        except FileNotFoundError:
            return []
        return [os.path.join(folder, n) for n in names if n.startswith(start)]

    def grace(self) -> timedelta:
        """Return how long a stop may take before it becomes a KILL: longer than the node drains."""
        return grace_for(self.here.world, self.registry, self.host_name)


def identity(process: ProcessInfo | None) -> list[Any]:
    """Return what names a process for ever, JSON-able; [] for none."""
    return [process.pid, process.start_time, process.boot_id] if process else []


def sha256(data: bytes) -> str:
    """Return the checksum as text."""
    return hashlib.sha256(data).hexdigest()
