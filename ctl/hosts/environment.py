"""A service's environment on a host: a file as systemd reads it, or a folder as runit's chpst does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ctl.errors import ConfigError

if TYPE_CHECKING:
    from ctl.hosts.base import Host

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def read_environment(host: Host, path: str | None) -> dict[str, str]:
    """Return what the file sets, {} for no path; quotes around a value go.

    A folder has a file for each variable, whose first line is the value. ConfigError if the path is not
    there, or a line is not NAME=value: half an environment is none. The message never holds a value, which
    may be a secret.
    """
    if path is None:
        return {}
    info = host.stat(path)
    if info is not None and info.kind == "directory":
        return _folder(host, path)
    try:
        text = host.read(path).decode("utf-8", "surrogateescape")
    except FileNotFoundError as error:
        raise ConfigError(
            f"environment_file {path} is not there on {host.name}",
            hint="create it, or take `environment_file` of the node out of the site",
        ) from error
    return parse_environment(text, path)


def _folder(host: Host, path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in host.list_directory(path):
        if _VARIABLE.match(name):
            text = host.read(f"{path}/{name}").decode("utf-8", "surrogateescape")
            if text:  # an empty file takes the variable away
                found[name] = text.split("\n", 1)[0].rstrip(" \t").replace("\0", "\n")
    return found


def parse_environment(text: str, path: str) -> dict[str, str]:
    """Read NAME=value lines; comments begin with # or ;. ConfigError names path and line."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        name, equals, value = line.strip().partition("=")
        if not equals or not _VARIABLE.match(name):
            raise ConfigError(f"{path}:{number}: not a NAME=value line")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[name] = value
    return found
