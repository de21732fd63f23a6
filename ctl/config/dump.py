"""Values -> YAML text that means the same to every reader: YAML 1.1, 1.2 and Go's."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ctl.config.document import read_document
from ctl.config.words import Dialect, same
from ctl.errors import RegctlError

# Text that no reader takes for anything else stands bare; all other text is quoted.
_BARE = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*|[0-9]+(ms|s|m|h)")
_WORDS = frozenset("y n yes no on off true false null inf nan".split())  # noqa: SIM905 - a list of words


def to_yaml(value: Any) -> str:
    """Return block YAML of plain values, read again and compared; RegctlError for what YAML cannot hold."""
    import yaml

    text: str = yaml.dump(
        _checked(value),
        Dumper=_dumper(yaml),
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=1 << 20,
    )
    for dialect in Dialect:
        root = read_document(text.encode(), "(dump)", dialect).root
        if root is None or not same(root.plain(), value):
            raise RegctlError("a value cannot be written as YAML so that it reads back the same")
    return text.removesuffix("...\n")


def is_bare(text: str) -> bool:
    """Say whether every reader takes this text, unquoted, for text."""
    return bool(_BARE.fullmatch(text)) and text.lower() not in _WORDS


def _checked(value: Any) -> Any:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise RegctlError("a key that is not text cannot be written")
        return {key: _checked(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(below) for below in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise RegctlError(f"the number {value} cannot be written")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise RegctlError("half a character (a lone surrogate) cannot be written")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise RegctlError(f"a {type(value).__name__} cannot be written as YAML")


def _dumper(yaml: Any) -> Any:
    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            return super().increase_indent(flow, False)

    def text(dumper: Any, value: str) -> Any:
        style = None if is_bare(value) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper
