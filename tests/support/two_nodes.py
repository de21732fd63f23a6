"""A registry with a second node, on a second host, over the same storage."""

from __future__ import annotations

from typing import Any, Self

from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest


class TwoNodes(SiteUnderTest):
    """Stands before another kind of site in the bases of a test's own."""

    other: RegistryServer

    def description(self) -> dict[str, Any]:
        found = super().description()
        found["hosts"]["there"] = {"connection": "local"}
        first = found["registries"]["main"]["nodes"][0]
        second = {**first, "host": "there", "config_file": str(self.other.config_file), "url": self.other.url}
        found["registries"]["main"]["nodes"].append(
            {**second, "service": {**first["service"], "name": "two"}}
        )
        return found

    def write(self) -> Self:
        storage = {"storage": {"filesystem": {"rootdirectory": str(self.server.storage)}}}
        self.other = type(self.server)(self.folder.parent / "other", overlay=storage)
        self.other.write_config()
        super().write()
        return self

    def kill_leftovers(self) -> None:
        super().kill_leftovers()
        SiteUnderTest(self.folder, self.other).kill_leftovers()
