"""A site over real Pulps: the server on this machine, each content proxy behind an sshd of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.pulp import PulpUnderTest
from tests.support.site import RegctlCalls
from tests.support.sshd import SshServer

NAME = "katello"
SERVER = "server"


@dataclass
class PulpSite(RegctlCalls):
    """The registry `katello` on the host `server` and on proxies; use as a context manager.

    `nodes` and `overlay` are laid over what the site says of a node (by its host) and of the registry.
    """

    folder: Path
    server: PulpUnderTest | None = None
    proxies: Mapping[str, PulpUnderTest] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    overlay: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state_dir = Path(tempfile.mkdtemp(prefix="regctl-pulp-")) / "state"
        self.sshds = {name: SshServer(self.folder / f"sshd-{name}", name) for name in self.proxies}
        self._stack = ExitStack()

    @property
    def pulps(self) -> dict[str, PulpUnderTest]:
        """All of them by their hosts, the server first."""
        first = {SERVER: self.server} if self.server else {}
        return {**first, **self.proxies}

    def description(self) -> dict[str, Any]:
        """The site as data."""
        hosts: dict[str, Any] = {SERVER: {"connection": "local"}} if self.server else {}
        for name, sshd in self.sshds.items():
            hosts[name] = sshd.described(state_dir=str(sshd.root / "state"))
        nodes = [
            pulp.described(host, "server" if host == SERVER else "proxy", **self.nodes.get(host, {}))
            for host, pulp in self.pulps.items()
        ]
        always = {"worth_minutes": 0}  # else so little is "not needed"
        registry = {"engine": "pulp", "nodes": nodes, "content": always, **self.overlay}
        return {
            "version": 1,
            "state_dir": str(self.state_dir),
            "hosts": hosts,
            "registries": {NAME: registry},
        }

    def write(self) -> PulpSite:
        """Write the site file."""
        self.site_file.write_text(yaml.safe_dump(self.description(), sort_keys=False))
        self.site_file.chmod(0o640)
        return self

    def __enter__(self) -> PulpSite:
        self._stack.callback(shutil.rmtree, self.state_dir.parent, ignore_errors=True)
        try:
            for sshd in self.sshds.values():
                self._stack.enter_context(sshd)
        except BaseException:
            self._stack.close()
            raise
        return self.write()

    def __exit__(self, *_: object) -> None:
        self._stack.close()
