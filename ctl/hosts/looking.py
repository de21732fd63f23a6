"""Describe a path and read it, for hosts where each of both costs nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ctl.errors import RegctlError
from ctl.hosts.base import Look

if TYPE_CHECKING:
    from ctl.hosts.base import Host


def look(host: Host, path: str, limit: int) -> Look | None:
    """Do what `Host.look` promises."""
    info = host.stat(path)
    if info is None:
        return None
    data = None
    if info.kind == "file" and info.size <= limit:
        with suppress(RegctlError, OSError):  # closed to us, or gone meanwhile
            data = host.read(path)
    return Look(info, data if data is not None and len(data) <= limit else None)
