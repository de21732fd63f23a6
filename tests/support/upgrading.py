"""Two nodes on one storage behind nginx, from Debian's 2.8 to 3.x, and clients that never rest."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support import programs
from tests.support.images import Image, image, index
from tests.support.nginx import Nginx
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest
from tests.support.sshd import SshServer
from tests.support.transfer import Client
from tests.support.two_nodes import TwoNodes

# what 3.x does not know any more, in a file that 2.8 serves by
OLD_WORDS: dict[str, Any] = {
    "compatibility": {"schema1": {"enabled": False}},
    "redis": {"addr": "127.0.0.1:1", "dialtimeout": "10ms", "pool": {"maxidle": 4, "idletimeout": "60s"}},
}
REPOSITORIES, TAGS = 3, 3


class UpgradingSite(TwoNodes, SiteUnderTest):
    """Both nodes on 2.8; `drains` says whether the site knows how to take them out of nginx."""

    nginx: Nginx
    drains: bool = True
    retries: bool = False  # whether nginx hides a node that is down by itself
    settle_seconds: int = 1
    upgrade: dict[str, Any] | None = None  # of every node; None names the 3.x program
    sshd: SshServer | None = None  # of the second node's host; None is a local one

    def description(self) -> dict[str, Any]:
        found = super().description()
        if self.sshd is not None:
            found["hosts"]["there"] = self.sshd.described(state_dir=str(self.folder / "far-state"))
        for node in found["registries"]["main"]["nodes"]:
            node["upgrade"] = self.upgrade or {"binary": programs.registry3()}
            if self.drains:
                node["drain"] = self.nginx.drain(node["host"], self.settle_seconds, host="here")
        return found

    def write(self) -> UpgradingSite:
        self.server.write_config()
        shared = {"storage": {"filesystem": {"rootdirectory": str(self.server.storage)}}, **OLD_WORDS}
        self.other = RegistryServer(self.folder.parent / "other", overlay=shared)
        self.other.write_config()
        self.nginx = Nginx(
            self.folder.parent / "nginx",
            {"here": self.server.address, "there": self.other.address},
            retries=self.retries,
        )
        SiteUnderTest.write(self)
        return self

    def __enter__(self) -> UpgradingSite:
        if self.sshd is not None:
            self.sshd.start()
        super().__enter__()
        try:
            self.nginx.__enter__()
            self.images = self.seed()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        self.nginx.__exit__()
        super().close()
        if self.sshd is not None:
            self.sshd.stop()

    def seed(self) -> dict[tuple[str, str], str]:
        """Push some images through nginx; return {(repository, tag): digest}."""
        found = {}
        with Client(self.nginx.url) as client:
            for repository in range(REPOSITORIES):
                for tag in range(TAGS):
                    made: Image = image(f"{repository}-{tag}")
                    if tag == 0:
                        made = index([made, image(f"{repository}-{tag}-arm")])
                    name = f"team/app{repository}"
                    found[name, f"v{tag}"] = client.push(name, f"v{tag}", made)
        return found

    def versions(self) -> dict[str, str]:
        """What every node runs, by its process."""
        rows = self.regctl("upgrade", "plan", "main").json["rows"]
        return {row["host"]: row["current"] for row in rows if row["component"] == "program"}

    def settings(self, server: RegistryServer) -> dict[str, Any]:
        """A node's configuration as data."""
        found = yaml.safe_load(server.config_file.read_text())
        assert isinstance(found, dict)
        return found

    def binaries(self) -> dict[str, str]:
        """What regctl takes for each node's binary, from the site and its drop-in."""
        from ctl.config.load import load_site

        site = load_site(str(self.site_file)).site
        return {node.host: node.binary for node in site.registries["main"].nodes}


@dataclass
class Clients:
    """Threads that pull whole images, and one that pushes, until they are told to stop."""

    url: str
    images: dict[tuple[str, str], str]
    pullers: int = 2
    pause: float = 0.0  # seconds between two pulls of one of them
    pulls: int = 0
    pushes: int = 0
    failures: list[str] = field(default_factory=list)
    pushed: dict[tuple[str, str], str] = field(default_factory=dict)
    longest: float = 0.0  # seconds of one pull

    def __enter__(self) -> Clients:
        self._stop = threading.Event()
        self._mutex = threading.Lock()
        self._began = time.monotonic()
        targets = [*[self._pull] * self.pullers, self._push]
        self._threads = [threading.Thread(target=one, args=(n,)) for n, one in enumerate(targets)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self.seconds = time.monotonic() - self._began

    def _pull(self, number: int) -> None:
        chooser, known = random.Random(number), sorted(self.images)
        while not self._stop.is_set():
            repository, tag = chooser.choice(known)
            began = time.monotonic()
            try:
                with Client(self.url) as client:
                    pulled = client.pull(repository, tag)
                assert self.images[repository, tag] in pulled.manifests
            except Exception as error:
                self._failed(f"pull {repository}:{tag}: {error}")
            with self._mutex:
                self.pulls += 1
                self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(self.pause)

    def _push(self, number: int) -> None:
        while not self._stop.is_set():
            name, tag = "team/pushed", f"v{self.pushes}"
            try:
                with Client(self.url) as client:
                    self.pushed[name, tag] = client.push(name, tag, image(f"pushed-{self.pushes}"))
            except Exception as error:
                self._failed(f"push {name}:{tag}: {error}")
            self.pushes += 1
            time.sleep(0.02)

    def _failed(self, what: str) -> None:
        with self._mutex:
            self.failures.append(what)

    def told(self) -> str:
        """The figures in a line."""
        return (
            f"{self.pulls} pulls and {self.pushes} pushes in {self.seconds:.1f} s, "
            f"{len(self.failures)} failed, longest pull {self.longest * 1000:.0f} ms"
        )


def upgrading_site(folder: Path, **facts: Any) -> UpgradingSite:
    """Describe a site; enter it to have both nodes and nginx run."""
    site = UpgradingSite(folder / "site", RegistryServer(folder / "registry", overlay=dict(OLD_WORDS)))
    for name, value in facts.items():
        setattr(site, name, value)
    return site
