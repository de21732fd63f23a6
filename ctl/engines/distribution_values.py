"""Small questions to a parsed configuration. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from packaging.version import Version

from ctl.engines import distribution_schema as schema

_Config = Mapping[str, Any]


def section_of(config: _Config, *path: str) -> _Config:
    """Return the map at a path, an empty one where there is none."""
    value: Any = config
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def drivers_of(storage: _Config, version: Version | None = None) -> list[str]:
    """Return the storage drivers named in `storage`: everything that is not one of its other settings."""
    extras = schema.STORAGE_EXTRAS_2 if version and version.major < 3 else schema.STORAGE_EXTRAS_3
    return [name for name in storage if name not in extras]


def meant(word: str, words: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return "did you mean X?" or nothing."""
    close = difflib.get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""
