"""What distribution's configuration and GitLab's have in common: the version, and who is let in. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ctl.engines.base import ConfigMistake
from ctl.engines.distribution_values import meant
from ctl.engines.schema_walk import IGNORED

Kinds = Mapping[str, Mapping[str, object]]  # the keys that each kind of `auth` has


def version_mistakes(config: Mapping[str, Any]) -> Iterator[ConfigMistake]:
    """Yield what is wrong with `version`."""
    if "version" not in config:
        yield ConfigMistake("version", "missing", "add: version: 0.1", fatal=True)
    elif str(config["version"]) != "0.1":
        message = f"{config['version']!r} is not known; there is only 0.1"
        yield ConfigMistake("version", message, "write: version: 0.1", fatal=True)


def auth_mistakes(
    auth: Any, known: Kinds, required: Mapping[str, tuple[str, ...]], there_are: str = ""
) -> Iterator[ConfigMistake]:
    """Yield what is wrong with `auth`. `there_are` is the hint where nothing similar is known."""
    if auth is None:
        return
    if isinstance(auth, str):
        auth = {auth: {}}
    if not isinstance(auth, Mapping):
        yield ConfigMistake("auth", "a section (a map) was expected", fatal=True)
        return
    if len(auth) > 1:
        message = f"exactly one kind is possible, there are {len(auth)}: {', '.join(auth)}"
        yield ConfigMistake("auth", message, "keep one of them", fatal=True)
    for name, options in auth.items():
        if name not in known:
            yield ConfigMistake(f"auth.{name}", "unknown kind", meant(name, known) or there_are, fatal=True)
            continue
        given = options if isinstance(options, Mapping) else {}
        for key in given:
            if key not in known[name]:
                hint = meant(key, known[name])
                yield ConfigMistake(f"auth.{name}.{key}", f"unknown key; {IGNORED}", hint)
        for key in required.get(name, ()):
            if not given.get(key):
                yield ConfigMistake(f"auth.{name}.{key}", "missing", "the kind needs it", fatal=True)
        if name == "silly":
            yield ConfigMistake("auth.silly", "lets everybody in; it is a toy", severity="warning")
