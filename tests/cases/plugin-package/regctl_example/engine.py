"""An engine: distribution under another name, with a setting of its own."""

from __future__ import annotations

from typing import Literal

from packaging.version import Version

from ctl.config.models import Registry
from ctl.engines.distribution import Distribution


class ShelfRegistry(Registry):
    """What the site says of a shelf."""

    engine: Literal["shelf"]
    boards: int = 3


class Shelf(Distribution):
    """Knows shelves."""

    name = "shelf"
    site_model = ShelfRegistry

    def template(self, version: Version) -> str:
        return "shelf/any.yml.j2"
