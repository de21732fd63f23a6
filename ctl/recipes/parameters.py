"""Parameters of recipes: their types, what an operator may write for each, and how they stand in a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Value = str | int | float | bool

KINDS = {
    "registry": "a registry of the site",
    "pulp": "a Pulp of the site",
    "node": "the host of one of a registry's nodes",
    "host": "a host of the site",
    "database": "a database of the site",
    "string": "text",
    "integer": "a whole number",
    "duration": "a duration, as in 90s, 10m or 1h30m",
    "choice": "one of several words",
    "boolean": "true or false",
}
# what regctl gives a value: the site's file, the folder of its secrets, and what `for_each` goes through
VARIABLES = {
    "site_file": "the site file that this regctl reads",
    "secrets": "the folder where regctl keeps the site's secrets",
    "node": "within `for_each: node` (or `across` with `nodes`): the node's host",
    "host": "within `for_each: host` or `across`: the host",
}
LOOPS = frozenset({"node", "host"})
PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_]*")
SECRET_NAME = re.compile(r"(^|_)(password|passwd|passphrase|secret|token|credential)s?(_|$)")

_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>[a-z][a-z0-9_]*)\}|(?P<bare>[a-z][a-z0-9_]*))?")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_UNITS = (86400, 3600, 60, 1)
_LONGEST = 12  # digits of a number: more is a typing error, not a duration


class ParameterError(ValueError):
    """A value that is not of its parameter's type; says what would be."""


class Absent:
    """What stands for a parameter without a value."""

    def __repr__(self) -> str:
        return "(no value)"


ABSENT = Absent()


def parse_duration(text: str) -> int:
    """Return the seconds that "90s", "10m", "1h30m" or "2d" mean; ParameterError otherwise."""
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()) or any(len(part or "") > _LONGEST for part in found.groups()):
        raise ParameterError(f"must be {KINDS['duration']}, not {text!r}")
    return sum(int(part or 0) * unit for part, unit in zip(found.groups(), _UNITS, strict=True))


def duration(seconds: int) -> str:
    """Write seconds as `parse_duration` reads them."""
    words = []
    for unit, letter in zip(_UNITS, "dhms", strict=True):
        count, seconds = divmod(seconds, unit)
        if count:
            words.append(f"{count}{letter}")
    return "".join(words) or "0s"


def parse_integer(text: str, minimum: int | None = None, maximum: int | None = None) -> int:
    """Return a whole number within its bounds; ParameterError otherwise."""
    if not _INTEGER.fullmatch(text) or len(text) > _LONGEST:
        raise ParameterError(f"must be a whole number, not {text!r}")
    number = int(text)
    if minimum is not None and number < minimum:
        raise ParameterError(f"must be at least {minimum}, not {number}")
    if maximum is not None and number > maximum:
        raise ParameterError(f"must be at most {maximum}, not {number}")
    return number


def parse_boolean(text: str) -> bool:
    """Return what "true" and "false" mean; ParameterError otherwise."""
    if text not in ("true", "false"):
        raise ParameterError(f"must be true or false, not {text!r}")
    return text == "true"


def written(value: Value) -> str:
    """Write a value as `--set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def references(value: Any) -> list[str]:
    """Return the names that a value refers to, and "" for a `$` that means nothing."""
    if isinstance(value, str):
        return [
            found["braced"] or found["bare"] or ""
            for found in _REFERENCE.finditer(value)
            if not found["dollar"]
        ]
    if isinstance(value, Mapping):
        return [name for one in value.values() for name in references(one)]
    return [name for one in value for name in references(one)] if isinstance(value, list) else []


def whole_reference(value: Any) -> str | None:
    """Return the name of a parameter that is all there is of a value, as in "$registry"."""
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return (found["braced"] or found["bare"]) if found else None


def fill(value: Any, values: Mapping[str, Value | None]) -> Any:
    """Put the parameters' values into a text: typed where it is nothing else, as words within others.

    A parameter without a value that stands alone makes the whole ABSENT; its key is then left out.
    """
    if isinstance(value, str):
        name = whole_reference(value)
        if name is not None:
            known = values[name]
            return ABSENT if known is None else known
        return _REFERENCE.sub(lambda found: _word(found, values), value)
    if isinstance(value, Mapping):
        filled = {key: fill(one, values) for key, one in value.items()}
        return {key: one for key, one in filled.items() if one is not ABSENT}
    if isinstance(value, list):
        return [one for one in (fill(one, values) for one in value) if one is not ABSENT]
    return value


def _word(found: re.Match[str], values: Mapping[str, Value | None]) -> str:
    name = found["braced"] or found["bare"]
    if name is None:
        return "$"
    value = values[name]
    return "" if value is None else written(value)
