"""A site over a real registry, driven by the installed command or by its module, in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.support.embedded import let_pass
from tests.support.registry import RegistryServer
from tests.support.transfer import Client
from tests.support.waiting import clean_environment

REPOSITORY_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """How a call of regctl ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found

    def __str__(self) -> str:
        return f"exit {self.exit_code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


class RegctlCalls:
    """What calls regctl on the site file of a folder."""

    folder: Path

    @property
    def site_file(self) -> Path:
        """The site file."""
        return self.folder / "site.yml"

    def command(self, *arguments: str) -> list[str]:
        """The argv of a call."""
        return [sys.executable, "-m", "ctl", "--site", str(self.site_file), *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a call."""
        return clean_environment(PYTHONPATH=str(REPOSITORY_ROOT), **more)

    def regctl(
        self, *arguments: str, output: str = "json", timeout: float = 120.0, **environment: str
    ) -> Done:
        """Run regctl to its end."""
        done = subprocess.run(
            self.command("--output", output, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env=self.environment(**environment),
            cwd=self.folder,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str, output: str = "json", **environment: str) -> subprocess.Popen[bytes]:
        """Start regctl and return at once; the caller waits for it or kills it."""
        return subprocess.Popen(
            self.command("--output", output, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(**environment),
            cwd=self.folder,
        )

    def ok(self, *arguments: str, **options: Any) -> dict[str, Any]:
        """Run regctl, demand exit 0, return its JSON object."""
        done = self.regctl(*arguments, **options)
        assert done.exit_code == 0, str(done)
        return done.json


@dataclass
class SiteUnderTest(RegctlCalls):
    """One registry (its process kept by regctl), one site file, one state folder.

    `server` describes the registry; it is never started by the test's own hands. Use as a context manager:
    on leaving, every process of the site is stopped by its pid.
    """

    folder: Path
    server: RegistryServer
    database: bool = False
    binary: str = ""  # another binary for the node, such as a wrapper
    overlay: dict[str, Any] = field(default_factory=dict)
    engine: str = "distribution"

    @cached_property
    def state_dir(self) -> Path:
        """regctl's own folder, where PostgreSQL's user may pass through: pytest's folders are closed."""
        place = Path(tempfile.mkdtemp(prefix="regctl-state-"))
        place.chmod(0o711)
        weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)  # also of a site never entered
        return place / "state"

    def description(self) -> dict[str, Any]:
        """The site as data."""
        node = {
            "host": "here",
            "binary": self.binary or self.server.binary,
            "config_file": str(self.server.config_file),
            "url": self.server.url,
            "service": {"kind": "process", "name": "registry"},
        }
        registry: dict[str, Any] = {
            "engine": self.engine,
            "storage": {"filesystem": {"rootdirectory": str(self.server.storage)}},
            "nodes": [node],
        }
        site: dict[str, Any] = {
            "version": 1,
            "state_dir": str(self.state_dir),
            "hosts": {"here": {"connection": "local"}},
            "registries": {"main": registry},
        }
        if self.database:
            site["databases"] = {"metadata": {"embedded": True}}
            site["control_database"] = "metadata"
            registry["database"] = "metadata"
        return {**site, **self.overlay}

    def write(self) -> SiteUnderTest:
        """Write the registry's configuration and the site file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.database:
            let_pass(self.folder)
        self.server.write_config()
        self.site_file.write_text(yaml.safe_dump(self.description(), sort_keys=False))
        self.site_file.chmod(0o640)
        return self

    def client(self) -> Client:
        """A client of the registry."""
        return Client(self.server.url)

    def __enter__(self) -> SiteUnderTest:
        self.write()
        try:
            self.ok("service", "start")
            if self.database:
                self.ok("database", "migrate", "up", "--yes")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything of this site, also what was only written or half started; forget its state."""
        try:
            if self.database:
                self.regctl("database", "stop", "--yes", "--skip", "sessions", "--skip-reason", "test over")
            self.regctl("service", "stop", "--yes")
        finally:
            self.kill_leftovers()
            shutil.rmtree(self.state_dir.parent, ignore_errors=True)

    def kill_leftovers(self) -> None:
        """End what still runs of this site."""
        for _, pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)

    def processes(self) -> list[tuple[str, int]]:
        """List the processes whose command line names the registry's configuration or the state folder."""
        needles = os.fsencode(self.server.config_file), os.fsencode(self.state_dir.parent)
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if any(needle in line for needle in needles):
                found.append((os.fsdecode(line.replace(b"\0", b" ")), int(entry.name)))
        return sorted(found)
