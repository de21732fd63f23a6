"""Set keys in a YAML text and leave the rest of it as it stands. Pure; the caller proves the result."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*\Z")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def set_keys(text: str, section: str, values: Mapping[str, Any]) -> str:
    """Return the text with these keys set below a top-level section; maps are merged, None is not written.

    Comments and layout stay, except inside a section whose layout fits no rule: that is written anew.
    ValueError if the text is no map.
    """
    edited: str | None = text
    for path, value in reversed(list(_leaves(values, (section,)))):  # each goes in on top of the last
        edited = _set(edited, path, value) if edited is not None else None
    return edited if edited is not None else _section_anew(text, section, values)


def remove_key(text: str, path: tuple[str, ...]) -> str:
    """Return the text without a key of a block mapping, its own lines only; as it is where that is not so."""
    import yaml

    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in path[:-1]:
        node = _child(node, name) if node is not None else None
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        return text
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == path[-1]:
            first = key.start_mark.line
            lines = text.splitlines(keepends=True)
            last = _last_line(value, lines)
            return "".join(lines[:first] + lines[last + 1 :])
    return text


def _last_line(value: yaml.Node, lines: list[str]) -> int:
    """Return the last line that a value takes; blank lines and comments after it are not its own."""
    mark = value.end_mark
    last = mark.line if mark.column else mark.line - 1
    last = max(min(last, len(lines) - 1), value.start_mark.line)
    if mark.column and not lines[last][: mark.column].strip():  # it ends where the next one is indented
        last -= 1
    while last > value.start_mark.line and (not lines[last].strip() or lines[last].lstrip()[0] == "#"):
        last -= 1
    return last


def scalar(value: Any) -> str:
    """Write a value on one line so that every YAML reader takes it for the same."""
    if isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _WORDS:
        return value
    if not isinstance(value, str):
        return json.dumps(value)
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if character in '"\\':
        return f"\\{character}"
    if 32 <= code < 127:
        return character
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def _leaves(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        elif value is not None:
            yield (*path, key), value


def _child(node: yaml.Node, name: str) -> yaml.Node | None:
    import yaml

    found: yaml.Node | None = None
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == name:
                found = value
    return found


def _set(text: str, path: tuple[str, ...], value: Any) -> str | None:
    """Change one scalar, or put the missing lines in; None where the layout fits no rule."""
    import yaml

    node = yaml.compose(text, Loader=yaml.SafeLoader)
    missing = list(path)
    while missing and node is not None and (child := _child(node, missing[0])) is not None:
        node = child
        missing.pop(0)
    if node is None:
        return None
    if not missing:
        plain = isinstance(node, yaml.ScalarNode) and node.start_mark.line == node.end_mark.line
        if not plain or node.start_mark.index == node.end_mark.index:
            return None
        return text[: node.start_mark.index] + scalar(value) + text[node.end_mark.index :]
    if not isinstance(node, yaml.MappingNode) or node.flow_style or not node.value:
        return None
    start = node.value[0][0].start_mark
    indent = text[start.index - start.column : start.index]
    if not re.fullmatch(r" *", indent):
        return None
    lines = [f"{indent}{'  ' * n}{key}:" for n, key in enumerate(missing)]
    addition = "\n".join(lines) + f" {scalar(value)}\n"
    if indent:
        at = start.index - start.column
        return text[:at] + addition + text[at:]
    return text + ("" if text.endswith("\n") else "\n") + addition


def _section_anew(text: str, section: str, values: Mapping[str, Any]) -> str:
    """Write a whole top-level section anew, merged, in its place."""
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("the configuration is not a map")
    whole = yaml.safe_load(text)
    old = whole.get(section)
    merged = _merged(old if isinstance(old, Mapping) else {}, values)
    block = yaml.safe_dump({section: merged}, sort_keys=False, width=1000, allow_unicode=True)
    for number, (key, _) in enumerate(root.value):
        if key.value != section:
            continue
        if root.flow_style:
            break
        following = _end(text, root, number)
        return text[: key.start_mark.index] + block + text[following:]
    if root.flow_style:
        return yaml.safe_dump({**whole, section: merged}, sort_keys=False, width=1000)
    return text + ("" if text.endswith("\n") else "\n") + block


def _end(text: str, root: yaml.MappingNode, number: int) -> int:
    """Return where a top-level entry ends: behind its last line, before comments that stand after it."""
    value = root.value[number][1]
    if getattr(value, "flow_style", True):
        newline = text.find("\n", value.end_mark.index)
        return newline + 1 if newline >= 0 else len(text)
    last = number + 1 == len(root.value)
    until = len(text) if last else root.value[number + 1][0].start_mark.index
    lines = text[:until].splitlines(keepends=True)
    while lines and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()
    return sum(map(len, lines))


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(old)
    for key, value in new.items():
        below = result.get(key)
        if isinstance(value, Mapping):
            result[key] = _merged(below if isinstance(below, Mapping) else {}, value)
        elif value is not None:
            result[key] = value
    return result
