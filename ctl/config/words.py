"""What an unquoted word of YAML means, to us and to a registry; and when two values are the same."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

Scalar = None | bool | int | float | str


class Dialect(Enum):
    """Whose file it is."""

    SITE = "site"
    REGISTRY = "registry"


_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
# gopkg.in/yaml.v2, resolve.go: what distribution 2.8 and 3.x read their configuration with
_GO_TRUE = _TRUE | {"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"}
_GO_FALSE = _FALSE | {"n", "N", "no", "No", "NO", "off", "Off", "OFF"}
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_GO_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)")
_GO_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def resolve(text: str, dialect: Dialect) -> Scalar:
    """Say what an unquoted word means in a dialect."""
    go = dialect is Dialect.REGISTRY
    if text in _NULL:
        return None
    if text in (_GO_TRUE if go else _TRUE):
        return True
    if text in (_GO_FALSE if go else _FALSE):
        return False
    number = _go_integer(text) if go else _integer(text)
    if number is not None:
        return number
    if (_GO_FLOAT if go else _FLOAT).fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else text
    return text


def _integer(text: str) -> int | None:
    # nothing in a site needs more than 64 bits, and longer ones are slow to convert
    return int(text) if len(text) <= 20 and _DECIMAL.fullmatch(text) else None


def _go_integer(text: str) -> int | None:
    if len(text) > 80:
        return None
    plain = text.replace("_", "") if text[:1] != "_" else text
    if not _GO_INTEGER.fullmatch(plain):
        return None
    sign = -1 if plain.startswith("-") else 1
    digits = plain.lstrip("+-").lower()
    if digits.startswith("0x"):
        value = int(digits[2:], 16)
    elif digits.startswith("0b"):
        value = int(digits[2:], 2)
    elif len(digits) > 1 and digits.startswith("0"):
        value = int(digits.lstrip("0o") or "0", 8)
    else:
        value = int(digits)
    return sign * value if -(1 << 63) <= sign * value < 1 << 63 else None


def same(first: Any, second: Any) -> bool:
    """Compare two plain values with their types: 1, 1.0 and true all differ."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and bool(first == second)
