"""Check the paths that a configuration names, given a way to ask what is there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ctl.engines.base import ConfigMistake
from ctl.engines.distribution_values import section_of


def check_paths(config: Mapping[str, Any], kind: Callable[[str], str | None]) -> Iterator[ConfigMistake]:
    """Yield what is wrong with the files and directories that the registry would open."""
    yield from _htpasswd(config, kind)
    root = section_of(config, "storage", "filesystem").get("rootdirectory")
    if isinstance(root, str) and root and kind(root) is None:
        yield ConfigMistake(
            "storage.filesystem.rootdirectory",
            f"{root} is not there: the registry starts empty, healthy and in the wrong place",
            "mount the disk or make the directory",
        )
    tls = section_of(config, "http", "tls")
    for name in ("certificate", "key"):
        path = tls.get(name)
        if isinstance(path, str) and path and kind(path) != "file":
            message = f"{path} is {kind(path) or 'not there'}, not a file"
            yield ConfigMistake(f"http.tls.{name}", message, "name the PEM file", fatal=True)


def _htpasswd(config: Mapping[str, Any], kind: Callable[[str], str | None]) -> Iterator[ConfigMistake]:
    path = section_of(config, "auth", "htpasswd").get("path")
    if not isinstance(path, str) or not path:
        return
    found = kind(path)
    if found == "directory":
        # Debian's package ships it so; seen on 2.8.2 and 3.1.1
        yield ConfigMistake(
            "auth.htpasswd.path",
            f"{path} is a directory: nobody can log in (401 without a password, 400 with any)",
            f"name a file, such as {path.rstrip('/')}/htpasswd, or remove the auth section",
        )
    elif found is None:
        yield ConfigMistake(
            "auth.htpasswd.path",
            f"{path} is not there: the registry makes one at start, with a password that only its log shows",
            "write the file with htpasswd -B",
            severity="warning",
        )
