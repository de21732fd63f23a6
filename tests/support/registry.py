"""A real registry on a free loopback port, in a folder of its own."""

from __future__ import annotations

import http.client
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support import programs
from tests.support.waiting import clean_environment, free_port, stop_process, wait_until


class RegistryDidNotStartError(AssertionError):
    """The registry ended before it answered; the message holds the end of its log."""


@dataclass
class RegistryServer:
    """One registry process. Use it as a context manager, or call `start` and `stop` yourself.

    `folder` gets `config.yml`, `storage/`, `registry.log`. `overlay` is laid over the configuration
    (maps are merged, everything else replaced; None removes a key). The port stays the same when the
    server is started again.
    """

    folder: Path
    binary: str = ""  # "" is Debian's docker-registry
    overlay: dict[str, Any] = field(default_factory=dict)
    read_only: bool = False
    authenticated: bool = False  # ask for USERNAME and PASSWORD
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.binary = self.binary or programs.docker_registry()
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """The address as image references spell it."""
        return f"127.0.0.1:{self.port}"

    @property
    def storage(self) -> Path:
        """The root directory of the storage driver."""
        return self.folder / "storage"

    @property
    def tree(self) -> Path:
        """The storage tree: what holds blobs/ and repositories/."""
        return self.storage / "docker" / "registry" / "v2"

    @property
    def config_file(self) -> Path:
        """The configuration that the process loads."""
        return self.folder / "config.yml"

    @property
    def log_file(self) -> Path:
        """Where the process writes."""
        return self.folder / "registry.log"

    def config(self) -> dict[str, Any]:
        """Return the configuration as a value."""
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info", "formatter": "text", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {
                "addr": self.address,
                "secret": "a secret of the tests only",
                "draintimeout": "5s",
            },
        }
        if self.read_only:
            config["storage"]["maintenance"]["readonly"] = {"enabled": True}
        if self.authenticated:
            config["auth"] = {
                "htpasswd": {"realm": "tests", "path": str(self.folder / "htpasswd")},
            }
        return _laid_over(config, self.overlay)

    def write_config(self) -> Path:
        """Write config.yml (and htpasswd), taking a free port if there is none yet."""
        if not self.port:
            self.port = free_port()
        self.storage.mkdir(exist_ok=True)
        if self.authenticated:
            (self.folder / "htpasswd").write_text(HTPASSWD + "\n")
        self.config_file.write_text(yaml.safe_dump(self.config(), sort_keys=False))
        return self.config_file

    def start(self, timeout: float = 15.0) -> RegistryServer:
        """Start it and return when it answers. A port lost to somebody else is replaced once or twice."""
        chosen = bool(self.port)
        for attempt in range(3):
            if not self.config_file.exists() or (attempt and not chosen):
                self.port = self.port if chosen else 0
                self.write_config()
            try:
                return self._start_once(timeout)
            except RegistryDidNotStartError as error:
                if chosen or attempt == 2 or "address already in use" not in str(error):
                    raise
        raise AssertionError("unreachable")

    def _start_once(self, timeout: float) -> RegistryServer:
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=clean_environment(OTEL_TRACES_EXPORTER="none"),
                start_new_session=True,
            )
        process = self.process
        try:
            wait_until(
                lambda: process.poll() is not None or self.answers(),
                what=f"the registry on {self.url}",
                timeout=timeout,
            )
        except BaseException:
            self.stop(grace=1.0)
            raise
        if process.poll() is not None:
            self.process = None
            raise RegistryDidNotStartError(f"the registry ended at once:\n{self.log_tail()}")
        return self

    def answers(self) -> bool:
        """Say whether /v2/ answers (200, or 401 where users are asked for)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status in (200, 401)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, grace: float = 5.0) -> None:
        """TERM, then KILL after the grace; nothing happens when it is not running."""
        if self.process is not None:
            stop_process(self.process, grace)
            self.process = None

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self._start_once(15.0)

    def running(self) -> bool:
        """Say whether the process that we started still lives."""
        return self.process is not None and self.process.poll() is None

    def log_tail(self, lines: int = 15) -> str:
        """Return the end of the log."""
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> RegistryServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


USERNAME = "tester"
PASSWORD = "a word of the tests"
# that password by bcrypt at cost 5: constant, so that no test needs htpasswd(1)
HTPASSWD = f"{USERNAME}:$2b$05$abcdefghijklmnopqrstuu.Lsvlcg4BsIILG37MCRiKxiH06AMvK6"


def _laid_over(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return base with over's keys: maps merged, None removing a key."""
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _laid_over(result[key], value)
        else:
            result[key] = value
    return result
