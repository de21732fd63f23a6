"""Sites whose registry moves into its metadata database: what must not change, and what must hold after."""

from __future__ import annotations

import http.client
import shutil
from pathlib import Path
from typing import Any

from ctl.catalog.seeding import Seeded, SeedPlan, seed_tree
from tests.support.collecting import mode
from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.transfer import Pulled

ENABLE = ("enable-db", "--yes")
LOCKS = "docker/registry/lockfiles"


class PlainServer(GitlabServer):
    """A registry whose own file names no database yet; the site does."""

    def config(self) -> dict[str, Any]:
        """Return the configuration without a `database` section."""
        config = super().config()
        config.pop("database", None)
        return config


class EnablingSite(GitlabSite):
    """A site of GitLab's registry that is left without asking regctl to stop anything."""

    admin: dict[str, Any] | None = None  # one more database of the site

    def description(self) -> dict[str, Any]:
        """The site as data."""
        found = super().description()
        if self.admin:
            found["databases"]["admin"] = self.admin
        return found

    def __enter__(self) -> EnablingSite:
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End every process of the site and forget its state."""
        self.kill_leftovers()
        shutil.rmtree(self.state_dir.parent, ignore_errors=True)

    def seeded(self, repositories: int = 3, tags: int = 3, garbage: float = 10.0) -> Seeded:
        """Fill the storage before the registry ever starts."""
        plan = SeedPlan(repositories=repositories, tags_per_repository=tags, garbage=garbage)
        return seed_tree(str(self.server.storage), plan)

    def mode(self) -> str:
        """What a write would meet: "writable", "read-only" or "stopped"."""
        return mode(self.server)

    def header(self) -> str:
        """What the registry says that it serves: "true", "false", or "" where it does not run."""
        return header(self.server)

    def locks(self) -> list[str]:
        """The lock files of the storage."""
        folder = self.server.storage / LOCKS
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def snapshot(self) -> dict[str, Any]:
        """All that must be as it was after a refusal or a failure: tree, configuration, site folder."""
        config = self.server.config_file
        return {
            "tree": files(self.server.storage),
            "config": (config.read_bytes(), config.stat().st_mode & 0o7777),
            "beside": sorted(path.name for path in config.parent.iterdir()),
            "site": files(self.folder),
        }

    def pull_everything(self) -> dict[tuple[str, str], Pulled]:
        """Pull every tag, layer by layer."""
        with self.client() as client:
            return client.pull_everything()


def header(server: GitlabServer | Any) -> str:
    """Ask a registry what it serves, without regctl."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().getheader("Gitlab-Container-Registry-Database-Enabled") or ""
    except OSError:
        return ""
    finally:
        connection.close()


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and every empty folder as such."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file():
            found[name] = path.read_bytes()
        elif path.is_dir() and not any(path.iterdir()):
            found[name + "/"] = b""
    return found
