"""What to put into GitLab's gitlab.rb so that gitlab-ctl writes a registry's file as it is wanted. Pure.

gitlab-ctl renders the file from a fixed template: some settings are values of their own, some are whole
hashes that replace what stood there, and what the template does not name can only come from the environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ctl.config.document import Path
from ctl.config.secrets import SHOWN
from ctl.secret import Secret

# sections that gitlab.rb holds as one hash (a list, for notifications): what is left out is gone
WHOLE: dict[Path, str] = {
    ("storage",): "storage",
    ("database",): "database",
    ("gc",): "gc",
    ("redis",): "redis",
    ("middleware",): "middleware",
    ("reporting",): "reporting",
    ("notifications", "endpoints"): "notifications",
}
SINGLE: dict[Path, str] = {
    ("log", "level"): "log_level",
    ("log", "formatter"): "log_formatter",
    ("http", "addr"): "registry_http_addr",
    ("http", "secret"): "http_secret",
    ("http", "draintimeout"): "http_draintimeout",
    ("http", "debug", "addr"): "debug_addr",
    ("health", "storagedriver", "enabled"): "health_storagedriver_enabled",
    ("auth", "token", "autoredirect"): "autoredirect",
    ("auth", "token", "rootcertbundle"): "rootcertbundle",
}
_REALM, _REALM_TAIL = ("auth", "token", "realm"), "/jwt/auth"
_VALIDATION = ("validation", "disabled")


@dataclass(frozen=True)
class FromFile:
    """A secret that stays in its file: gitlab.rb is Ruby, and can read it."""

    path: str


@dataclass(frozen=True)
class Fragment:
    """Lines for gitlab.rb. `text` may hold secrets in clear, `shown` never does."""

    text: str
    shown: str
    paths: tuple[str, ...]  # the settings that it changes
    unsaid: tuple[str, ...] = ()  # settings that gitlab.rb cannot say


@dataclass
class _Lines:
    values: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    unsaid: list[str] = field(default_factory=list)


def fragment(
    wanted: Mapping[str, Any],
    changed: Iterable[Path],
    variable: Callable[[Path], str | None],
    environment: Mapping[str, str] | None = None,
) -> Fragment:
    """Return the lines that make the changed settings what they are in `wanted`.

    Secrets in `wanted` are Secret or FromFile. `variable` names the environment variable of a setting that
    has no line of its own; `environment` are more variables that are wanted.
    """
    lines, paths = _Lines(environment=dict(environment or {})), []
    for path in changed:
        paths.append(".".join(map(str, path)))
        _say(lines, wanted, path, variable)
    return Fragment(
        _text(lines, shown=False), _text(lines, shown=True), tuple(paths), tuple(sorted(set(lines.unsaid)))
    )


def ruby(value: Any, indent: int = 0, *, shown: bool = False) -> str:
    """Write a value as a Ruby literal; secrets hidden where it is shown."""
    if isinstance(value, Secret):
        return ruby(SHOWN if shown else value.reveal())
    if isinstance(value, FromFile):
        return f"File.read({ruby(value.path)}).chomp"
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        pad = "  " * (indent + 1)
        inner = [f"{pad}{ruby(str(k))} => {ruby(v, indent + 1, shown=shown)}" for k, v in value.items()]
        return "{\n" + ",\n".join(inner) + "\n" + "  " * indent + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(ruby(one, indent, shown=shown) for one in value) + "]"
    return _string(str(value))


def _string(text: str) -> str:
    """Single quotes know two escapes and interpolate nothing; other characters need double ones."""
    if all(character.isprintable() for character in text):
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    parts = []
    for character in text:
        if character in '"\\#':
            parts.append(f"\\{character}")
        else:
            parts.append(character if character.isprintable() else f"\\u{{{ord(character):x}}}")
    return '"' + "".join(parts) + '"'


def _say(
    lines: _Lines, wanted: Mapping[str, Any], path: Path, variable: Callable[[Path], str | None]
) -> None:
    for whole, name in WHOLE.items():
        if path[: len(whole)] == whole:
            lines.values[name] = _spoken(_at(wanted, whole))
            return
    value = _at(wanted, path)
    if value is None:
        lines.unsaid.append(f"{'.'.join(map(str, path))} cannot be taken away there")
    elif path in SINGLE:
        lines.values[SINGLE[path]] = value
    elif path == _VALIDATION:
        lines.values["validation_enabled"] = not value
    elif path == _REALM and isinstance(value, str) and value.endswith(_REALM_TAIL):
        lines.values["token_realm"] = value.removesuffix(_REALM_TAIL)
    else:
        named = variable(path)
        if named is None or isinstance(value, Secret | FromFile):
            lines.unsaid.append(f"{'.'.join(map(str, path))} has no name there")
        else:
            lines.environment[named] = value if isinstance(value, str) else json.dumps(value)


def _spoken(value: Any) -> Any:
    """A hash without what gitlab-ctl puts in by itself, its own marks."""
    if isinstance(value, Mapping):
        return {key: _spoken(below) for key, below in value.items() if not str(key).startswith("_")}
    return value


def _at(settings: Any, path: Path) -> Any:
    for part in path:
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings


def _text(lines: _Lines, *, shown: bool) -> str:
    said = [f"registry['{name}'] = {ruby(value, shown=shown)}" for name, value in lines.values.items()]
    if lines.environment:
        said.append("# beside what registry['env'] says already:")
        said.append(f"registry['env'] = {ruby(dict(sorted(lines.environment.items())), shown=shown)}")
    return "\n".join(said)
