"""Which environment variables override which keys, by GitLab's rules; and its feature flags. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ctl.engines import gitlab_schema as schema
from ctl.engines.distribution_schema import Kind

_PREFIX = "REGISTRY_"
_FREE = ("any", "map", "headers")  # a map without a schema: any name below it counts
# the site's `features` and the variables that carry them; always written, so that no default decides
FLAGS: dict[str, str] = {
    "enforce_lockfiles": "REGISTRY_FF_ENFORCE_LOCKFILES",
    "bbm": "REGISTRY_FF_BBM",
    "dynamic_media_types": "REGISTRY_FF_DYNAMIC_MEDIA_TYPES",
    "ongoing_rename_check": "REGISTRY_FF_ONGOING_RENAME_CHECK",
}


def feature_environment(features: Mapping[str, bool]) -> dict[str, str]:
    """Return the variables of feature flags, in the small letters that the program wants."""
    return {FLAGS[name]: "true" if value else "false" for name, value in features.items() if name in FLAGS}


def overriding(environment: Mapping[str, str]) -> dict[str, str]:
    """Return {variable: dotted path} of the variables that override the file; others only cause a warning.

    A variable's name is made of Go's field names, which are not always the keys of the file.
    """
    found = {}
    for name in environment:
        if not name.startswith(_PREFIX) or name.startswith("REGISTRY_FF_"):
            continue
        path = _path(_split(name)[1:])
        if path:
            found[name] = path
    return found


def _split(name: str) -> list[str]:
    """Part a name at its underscores, but not at those of a protected word."""
    for number, word in enumerate(schema.PROTECTED):
        name = f"_{name}_".replace(f"_{word}_", f"_\0{number}\0_")[1:-1]
    parts = []
    for part in name.split("_"):
        mark = part.strip("\0")
        parts.append(schema.PROTECTED[int(mark)] if part.startswith("\0") else part)
    return parts


def _path(parts: list[str]) -> str:
    """Follow field names through the schema; "" where they lead to nothing."""
    kind, path = Kind("section", schema.TOP), ""
    for part in parts:
        if kind.name == "list" and part.isdigit():
            path, kind = f"{path}[{part}]", Kind("section", kind.keys)
            continue
        if kind.name in _FREE:
            path = f"{path}.{part.lower()}"
            continue
        step = _field(path, kind, part)
        if step is None:
            return ""
        path, kind = f"{path}.{step}" if path else step, kind.keys[step]
    return path


def _field(path: str, kind: Kind, part: str) -> str | None:
    if kind.name != "section":
        return None
    bare = "".join(piece.partition("[")[0] + "." for piece in path.split(".") if piece)
    for key in kind.keys:
        if schema.ENVIRONMENT_NAMES.get(f"{bare}{key}", key.upper()) == part:
            return key
    return None


def variable_of(path: tuple[str | int, ...]) -> str | None:
    """Return the variable that overrides a setting; None where the program has none for it."""
    words, bare = ["REGISTRY"], ""
    for part in path:
        if isinstance(part, int):
            words.append(str(part))
            continue
        bare = f"{bare}.{part}" if bare else part
        words.append(schema.ENVIRONMENT_NAMES.get(bare, part.upper()))
    name = "_".join(words)
    return name if _path(_split(name)[1:]) else None
