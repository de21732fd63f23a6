"""Read a registry's YAML as the registry reads it, and change one key of its text. Pure.

The binaries read by yaml.v2, which differs from PyYAML where it matters: `12:30` and `2024-01-01` are
texts, a repeated section wins silently, and only the first document counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ctl.engines.base import ConfigMistake, ParsedConfig

if TYPE_CHECKING:
    import yaml

LIMIT = 1024 * 1024  # bytes; a registry's configuration has a few kilobytes
_DEPTH = 40
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def parse(data: bytes) -> ParsedConfig:
    """Read a file; what cannot be read, or is read otherwise than it looks, comes as mistakes."""
    import yaml

    if len(data) > LIMIT:
        return _unreadable(f"the file has {len(data)} bytes; more than {LIMIT} are not read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _unreadable(f"not UTF-8 at byte {error.start}")
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return _unreadable(_yaml_reason(error))
    if not nodes or not isinstance(nodes[0], yaml.MappingNode):
        return _unreadable("the file holds no configuration (a map was expected)")
    mistakes: list[ConfigMistake] = []
    if len(nodes) > 1:
        mistakes.append(
            ConfigMistake("", "a second YAML document", "the registry reads only the first; remove ---")
        )
    walker = _Walker(mistakes)
    try:
        loaded = walker.value(nodes[0], "", 0)
    except _NotFollowedError as error:
        return _unreadable(str(error))
    return ParsedConfig(loaded, tuple(mistakes))


def with_read_only(text: str) -> str:
    """Return the text with storage.maintenance.readonly.enabled: true and all else as it stands.

    Comments and layout stay where the file is written in blocks. The caller compares what both texts
    mean; a text whose layout fits no rule comes back dumped anew.
    """
    import yaml

    node = yaml.compose(text, Loader=yaml.SafeLoader)
    edited = _edit_in_place(text, node) if isinstance(node, yaml.MappingNode) else None
    return edited if edited is not None else _edit_nodes(node)


class _NotFollowedError(Exception):
    """The file means something that we do not follow."""


class _Walker:
    """Turn nodes into values by yaml.v2's rules, noting repeated keys."""

    def __init__(self, mistakes: list[ConfigMistake]) -> None:
        import yaml

        self._yaml = yaml
        self._mistakes = mistakes
        self._constructor = yaml.constructor.SafeConstructor()
        self._budget = 10_000  # nodes, aliases counted each time they are used

    def value(self, node: yaml.Node, path: str, depth: int) -> Any:
        self._budget -= 1
        if depth > _DEPTH or self._budget < 0:
            raise _NotFollowedError("nested too deeply, or aliases that multiply")
        if not isinstance(node, self._yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            raise _NotFollowedError(f"{path}: the tag {node.tag} is not followed")
        if isinstance(node, self._yaml.MappingNode):
            return self._map(node, path, depth)
        if isinstance(node, self._yaml.SequenceNode):
            return [self.value(one, f"{path}[{n}]", depth + 1) for n, one in enumerate(node.value)]
        return self._scalar(node, path)

    def _map(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, self._yaml.ScalarNode) else None
            if key is None:
                raise _NotFollowedError(
                    f"line {key_node.start_mark.line + 1}: a key that is not a plain word"
                )
            value = self.value(value_node, f"{path}.{key}" if path else key, depth + 1)
            if key_node.tag == "tag:yaml.org,2002:merge":
                for part in value if isinstance(value, list) else [value]:
                    merged = {**(part if isinstance(part, dict) else {}), **merged}
                continue
            line = key_node.start_mark.line + 1
            if key in lines:
                self._mistakes.append(
                    ConfigMistake(
                        f"{path}.{key}" if path else key,
                        f"given twice, in lines {lines[key]} and {line}",
                        "the registry takes one of them without a word; put both together",
                    )
                )
            lines[key] = line
            result[key] = value
        return {**merged, **result}

    def _scalar(self, node: yaml.Node, path: str) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind == "str" or (kind in ("timestamp", "value") and not node.value.startswith("!")):
            return node.value
        if kind in ("int", "float") and ":" in node.value:  # base 60 is YAML 1.1's, not Go's
            return node.value
        if kind not in ("int", "float", "bool", "null"):
            raise _NotFollowedError(f"{path}: the tag {node.tag} is not followed")
        try:
            return self._constructor.construct_object(node)
        except (ValueError, self._yaml.YAMLError) as error:
            raise _NotFollowedError(f"{path}: {error}") from error


def _unreadable(message: str) -> ParsedConfig:
    mistake = ConfigMistake("", message, "the registry does not start with this file", fatal=True)
    return ParsedConfig({}, (mistake,), readable=False)


def _yaml_reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error) or type(error).__name__
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    if "'\\t'" in problem:
        problem += " (a tab; YAML is indented by spaces)"
    return f"{place}{problem}"


def _child(node: yaml.Node, name: str) -> yaml.Node | None:
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == name:
                found: yaml.Node = value
                return found
    return None


def _edit_in_place(text: str, root: yaml.MappingNode) -> str | None:
    """Change one scalar, or put the missing lines in; None where the layout fits no rule."""
    import yaml

    missing = ["storage", "maintenance", "readonly", "enabled"]
    node: yaml.Node = root
    while missing and (child := _child(node, missing[0])) is not None:
        node = child
        missing.pop(0)
    if not missing:
        if not isinstance(node, yaml.ScalarNode) or node.start_mark.line != node.end_mark.line:
            return None
        return text[: node.start_mark.index] + "true" + text[node.end_mark.index :]
    if not isinstance(node, yaml.MappingNode) or node.flow_style or not node.value:
        return None
    start = node.value[0][0].start_mark
    line_start = start.index - start.column
    indent = text[line_start : start.index]
    if node is root or not re.fullmatch(r" +", indent):
        return None
    lines = [f"{indent}{'  ' * n}{key}:" for n, key in enumerate(missing)]
    return text[:line_start] + "\n".join(lines) + " true\n" + text[line_start:]


def _edit_nodes(root: yaml.Node | None) -> str:
    """Set the key among the nodes and write them: scalars keep their spelling, comments go."""
    import yaml

    text_tag, map_tag = "tag:yaml.org,2002:str", "tag:yaml.org,2002:map"
    true = yaml.ScalarNode("tag:yaml.org,2002:bool", "true")
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("the configuration is not a map")
    node: yaml.MappingNode = root
    for name in ("storage", "maintenance", "readonly"):
        child = _child(node, name)
        if not isinstance(child, yaml.MappingNode):
            fresh = yaml.MappingNode(map_tag, [], flow_style=False)
            if name == "storage" and isinstance(child, yaml.ScalarNode) and child.value:
                # a driver named by one word, such as `storage: inmemory`
                driver = yaml.ScalarNode(text_tag, child.value)
                fresh.value.append((driver, yaml.MappingNode(map_tag, [], flow_style=True)))
            _put(node, name, fresh)
            child = fresh
        node = child
    _put(node, "enabled", true)
    written: str = yaml.serialize(root, Dumper=yaml.SafeDumper, width=1000, allow_unicode=True)
    return written


def _put(node: yaml.MappingNode, name: str, value: yaml.Node) -> None:
    import yaml

    kept = [(k, v) for k, v in node.value if k.value != name]
    node.value = [*kept, (yaml.ScalarNode("tag:yaml.org,2002:str", name), value)]
