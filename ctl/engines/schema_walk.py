"""Hold values against a schema of keys and types, as a Go program with yaml.v2 reads them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ctl.engines.base import ConfigMistake
from ctl.engines.distribution_parsers import parse_duration
from ctl.engines.distribution_schema import TEXTS, Kind
from ctl.engines.distribution_values import meant

IGNORED = "the registry ignores it without a word"


def typed(path: str, value: Any, kind: Kind) -> Iterator[ConfigMistake]:
    """Yield what is wrong with the type of a value, and the keys that nobody reads."""
    if value is None or kind.name == "any":
        return
    if kind.name == "section":
        yield from _section(path, value, kind.keys)
    elif kind.name == "list":
        yield from _list(path, value, kind.keys)
    elif kind.name == "headers":
        yield from _headers(path, value)
    else:
        message, fatal = _scalar(value, kind)
        if message:
            hint = meant(str(value), kind.choices) if kind.name == "choice" else _HINTS.get(kind.name, "")
            yield ConfigMistake(path, message, hint, fatal=fatal)


_HINTS = {
    "bool": "write true or false, without quotes",
    "int": "write a whole number, without quotes",
    "duration": "write it with Go's units, such as 168h, 5m30s or 500ms; there are no days",
    "texts": "write a list, one `- value` a line",
}


def _scalar(value: Any, kind: Kind) -> tuple[str, bool]:
    """Return (what is wrong, whether the registry would not start); ("", False) if nothing is."""
    name = kind.name
    plain = isinstance(value, str | int | float | bool)
    if name == "bool" and not isinstance(value, bool):
        return f"{value!r} is not true or false", True
    if name == "int" and (isinstance(value, bool) or not isinstance(value, int)):
        return f"{value!r} is not a whole number", True
    if name == "float" and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"{value!r} is not a number", True
    if name == "text" and not plain:
        return "a text was expected", True
    if name == "texts" and not (
        isinstance(value, list) and all(isinstance(v, str | int | float) for v in value)
    ):
        # yaml.v2 takes a single word for a list of one
        return ("", False) if isinstance(value, str) else ("a list of texts was expected", True)
    if name == "map" and not isinstance(value, Mapping):
        return "a map was expected", True
    if name == "duration":
        return _duration(value)
    if name == "choice":
        word = str(value).lower() if kind.lower else str(value)
        if word not in kind.choices:
            return f"{value!r} is none of {', '.join(kind.choices)}", True
    return "", False


def _duration(value: Any) -> tuple[str, bool]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return "a duration was expected", True
    if isinstance(value, str):
        return ("", False) if parse_duration(value) is not None else (f"{value!r} is not a duration", True)
    return (f"{value} without a unit means {value} nanoseconds", False) if value else ("", False)


def _section(path: str, value: Any, keys: Mapping[str, Kind]) -> Iterator[ConfigMistake]:
    if not isinstance(value, Mapping):
        yield ConfigMistake(path, "a section (a map) was expected", fatal=True)
        return
    for name, inner in value.items():
        if name in keys:
            yield from typed(f"{path}.{name}", inner, keys[name])
        else:
            yield ConfigMistake(f"{path}.{name}", f"unknown key; {IGNORED}", meant(name, keys))


def _list(path: str, value: Any, keys: Mapping[str, Kind]) -> Iterator[ConfigMistake]:
    if not isinstance(value, list):
        yield ConfigMistake(path, "a list was expected", fatal=True)
        return
    for number, entry in enumerate(value):
        yield from _section(f"{path}[{number}]", entry, keys)


def _headers(path: str, value: Any) -> Iterator[ConfigMistake]:
    if not isinstance(value, Mapping):
        yield ConfigMistake(path, "a map of header names was expected", fatal=True)
        return
    for name, inner in value.items():
        message, fatal = _scalar(inner, TEXTS)
        if message:
            yield ConfigMistake(f"{path}.{name}", message, "write it as [value]", fatal=fatal)
