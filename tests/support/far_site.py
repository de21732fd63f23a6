"""A site whose registry is on another host: a real sshd that sees other files at the same paths.

The far host is a mount namespace of this machine: below `place` it sees `there`, and this machine sees a
decoy, another registry's tree. So whatever takes a far path for one of its own is found out.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.collecting import CollectingSite
from tests.support.registry import RegistryServer
from tests.support.sshd import SshServer

_IN_PLACE = 'mount --make-rprivate / && mount --bind "$1" "$2" && shift 2 && exec "$@"'


class FarSite(CollectingSite):
    """A registry on the host `proxy`, reached over SSH; its files are at the same path as the decoy's."""

    @classmethod
    def below(cls, folder: Path, *, database: bool = False) -> FarSite:
        """Describe one below a folder."""
        place = folder / "registry"
        site = cls(folder / "site", RegistryServer(place), database=database)
        site.there = folder / "on-proxy"
        site.there.mkdir(parents=True)
        site.sshd = SshServer(folder / "sshd", "proxy")
        site.sshd.before = ("unshare", "-m", "sh", "-c", _IN_PLACE, "sh", str(site.there), str(place))
        return site

    there: Path  # what the far host sees at the registry's place
    sshd: SshServer

    @property
    def far_storage(self) -> Path:
        """The storage of the far registry, as this machine can see it."""
        return self.there / "storage"

    def description(self) -> dict[str, Any]:
        """The site as data."""
        site = super().description()
        state = {"state_dir": str(self.server.folder / "regctl")}
        site["hosts"] = {"proxy": self.sshd.described(**state)}
        site["registries"]["main"]["nodes"][0]["host"] = "proxy"
        return site

    def local_twin(self, folder: Path) -> CollectingSite:
        """Describe a site that reads the same tree from this machine's disk."""
        storage = {"filesystem": {"rootdirectory": str(self.far_storage)}}
        server = RegistryServer(folder / "twin", overlay={"storage": storage})
        server.write_config()
        twin = CollectingSite(folder / "twin-site", server, database=self.database)
        registry = {**twin.description()["registries"]["main"], "storage": storage}
        twin.overlay = {"registries": {"main": registry}}
        return twin

    def write(self) -> FarSite:
        """Write the far registry's configuration, the decoy, and the site file."""
        super().write()
        shutil.copy(self.server.config_file, self.there / "config.yml")
        self.far_storage.mkdir(exist_ok=True)
        plan = SeedPlan(repositories=1, tags_per_repository=2, seed=99, garbage=50.0)
        seed_tree(str(self.server.storage), plan)
        return self

    def __enter__(self) -> FarSite:
        self.sshd.start()
        super().__enter__()  # writes, too
        return self

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self.sshd.stop()
