"""A site of many hosts, each a real sshd on the loopback, driven by the installed command."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.site import REPOSITORY_ROOT, Done
from tests.support.sshd import SshServer, key_pair
from tests.support.waiting import clean_environment


@dataclass
class Fleet:
    """Servers h1, h2, ... with one login key; jobs of host NAME lie below `servers[NAME].root`/state."""

    folder: Path
    count: int
    labels: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.identity = self.folder / "identity"
        key_pair(self.identity)
        names = [f"h{number}" for number in range(1, self.count + 1)]
        self.servers = {name: SshServer(self.folder / name, name, identity=self.identity) for name in names}
        self.site_file = self.folder / "site.yml"
        self.state_dir = Path(tempfile.mkdtemp(prefix="regctl-fleet-")) / "state"
        self.changes: dict[str, dict[str, Any]] = {}  # of hosts, laid over
        self._stack = ExitStack()

    def hosts(self) -> dict[str, Any]:
        """The hosts as the site describes them."""
        return {
            name: {
                **server.described(state_dir=str(server.root / "state")),
                "labels": self.labels.get(name, {"role": "content-proxy"}),
                **self.changes.get(name, {}),
            }
            for name, server in self.servers.items()
        }

    def write(self) -> Fleet:
        """Write the site file."""
        site = {"version": 1, "state_dir": str(self.state_dir), "hosts": self.hosts(), "registries": {}}
        self.site_file.write_text(yaml.safe_dump(site, sort_keys=False))
        self.site_file.chmod(0o640)
        return self

    def __enter__(self) -> Fleet:
        self._stack.callback(shutil.rmtree, self.state_dir.parent, ignore_errors=True)
        try:
            for server in self.servers.values():
                self._stack.enter_context(server)
        except BaseException:
            self._stack.close()
            raise
        return self.write()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def jobs(self, name: str) -> list[str]:
        """The ids of the jobs whose files are there."""
        folder = self.servers[name].root / "state" / "jobs"
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def command(self, *arguments: str, output: str = "json") -> list[str]:
        """The argv of a call."""
        return [sys.executable, "-m", "ctl", "--site", str(self.site_file), "--output", output, *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a call."""
        return clean_environment(PYTHONPATH=str(REPOSITORY_ROOT), **more)

    def regctl(self, *arguments: str, output: str = "json", timeout: float = 120.0) -> Done:
        """Run regctl to its end."""
        done = subprocess.run(
            self.command(*arguments, output=output),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env=self.environment(),
            cwd=self.folder,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start regctl and return at once; the caller waits for it or kills it."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(),
            cwd=self.folder,
        )
