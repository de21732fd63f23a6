"""What a site's registry was before a trial, and the way back to it, for loops of kills at every boundary."""

from __future__ import annotations

import shutil

from tests.support.site import SiteUnderTest


class Kept:
    """A site's storage and configuration as they are now. Its registry must be at rest, or only serve."""

    def __init__(self, site: SiteUnderTest) -> None:
        self.site = site
        self.storage = site.folder.parent / "storage-before"
        shutil.copytree(site.server.storage, self.storage)
        self.config = site.server.config_file.read_bytes()
        self.mode = site.server.config_file.stat().st_mode & 0o7777

    def put_back(self) -> None:
        """End its processes; put back storage and file, and forget what the site remembers."""
        site = self.site
        site.kill_leftovers()
        shutil.rmtree(site.server.storage)
        shutil.copytree(self.storage, site.server.storage)
        site.server.config_file.write_bytes(self.config)
        site.server.config_file.chmod(self.mode)
        for left in site.server.folder.glob(".config.yml.regctl-*"):
            left.unlink()
        shutil.rmtree(site.folder / "site.d", ignore_errors=True)
