"""Helm's templates, as far as our charts use them, rendered without helm.

The subset: `{{ }}` with trimming dashes, comments, `define`, `include`, `if`, `else if`, `else`, `with`,
`range` over lists and mappings (with `$key, $value :=`), variables, pipelines, parentheses, paths such as
`.Values.a.b`, and the functions below. Anything else is an error, so a template cannot leave the subset
without a word. Held against helm itself when the charts were written; see docs/decisions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|\d+|:=|[()|,=]|\$?[A-Za-z_][\w]*(?:\.\w+)*|\$(?:\.\w+)*|(?:\.\w+)+|\.'
)


class TemplateError(ValueError):
    """A template that is wrong, or uses what the subset has not got."""


@dataclass
class Node:
    """A piece of a template: text, an action's words, or a block with its branches."""

    kind: str
    words: str = ""
    branches: list[tuple[str, list[Node]]] = field(default_factory=list)  # (condition, body)


def parse(text: str) -> tuple[list[Node], dict[str, list[Node]]]:
    """Return a template's nodes, and what it defines."""
    pieces = list(_pieces(text))
    defined: dict[str, list[Node]] = {}
    nodes = _block(pieces, defined, top=True)
    return nodes, defined


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    end, trim = 0, False
    for found in _ACTION.finditer(text):
        before = text[end : found.start()]
        before = before.lstrip() if trim else before
        yield "text", before.rstrip() if found[1] else before
        if not found[2].startswith("/*"):
            yield "action", found[2]
        end, trim = found.end(), bool(found[3])
    yield "text", text[end:].lstrip() if trim else text[end:]


def _block(pieces: list[tuple[str, str]], defined: dict[str, list[Node]], *, top: bool = False) -> list[Node]:
    nodes: list[Node] = []
    while pieces:
        kind, words = pieces[0]
        first = words.split()[0] if kind == "action" and words else ""
        if first in ("end", "else") and not top:
            return nodes
        pieces.pop(0)
        if kind == "text":
            nodes.append(Node("text", words))
        elif first in ("if", "with", "range", "define"):
            block = _branches(first, words.removeprefix(first).strip(), pieces, defined)
            if first == "define":
                defined[block.branches[0][0].strip('"')] = block.branches[0][1]
            else:
                nodes.append(block)
        else:
            nodes.append(Node("action", words))
    if not top:
        raise TemplateError("a block has no end")
    return nodes


def _branches(
    kind: str, condition: str, pieces: list[tuple[str, str]], defined: dict[str, list[Node]]
) -> Node:
    block = Node(kind, branches=[(condition, _block(pieces, defined))])
    while True:
        _, words = pieces.pop(0)
        if words == "end":
            return block
        rest = words.removeprefix("else").strip()
        block.branches.append((rest.removeprefix("if").strip() or "true", _block(pieces, defined)))


class Chart:
    """A chart's templates, ready to be rendered with values."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._defined: dict[str, list[Node]] = {}
        self._files: dict[str, list[Node]] = {}
        for path in sorted((folder / "templates").iterdir()):
            nodes, defined = parse(path.read_text())
            self._defined |= defined
            if path.suffix == ".yaml":
                self._files[path.name] = nodes

    def values(self, **over: Any) -> dict[str, Any]:
        """Return the chart's values with others laid over them, as helm does."""
        values: dict[str, Any] = yaml.safe_load((self.folder / "values.yaml").read_text())
        return _laid_over(values, over)

    def render(self, values: Mapping[str, Any], release: str = "jobs") -> dict[str, str]:
        """Return each file's text."""
        root = {"Values": values, "Release": {"Name": release, "Namespace": "registry"}}
        return {name: _Renderer(self._defined, root).text(nodes, root) for name, nodes in self._files.items()}

    def manifests(self, values: Mapping[str, Any], release: str = "jobs") -> list[dict[str, Any]]:
        """Return the manifests of all files."""
        texts = self.render(values, release).values()
        return [one for text in texts for one in yaml.safe_load_all(text) if one]


def _laid_over(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = (
            _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


class _Renderer:
    def __init__(self, defined: Mapping[str, list[Node]], root: Any) -> None:
        self.defined, self.root = defined, root
        self.variables: dict[str, Any] = {"$": root}

    def text(self, nodes: list[Node], dot: Any) -> str:
        return "".join(self._node(node, dot) for node in nodes)

    def _node(self, node: Node, dot: Any) -> str:
        if node.kind == "text":
            return node.words
        if node.kind == "action":
            return self._action(node.words, dot)
        if node.kind == "range":
            return self._range(node, dot)
        for condition, body in node.branches:
            value = self._value(condition, dot)
            if value:
                return self.text(body, value if node.kind == "with" else dot)
        return ""

    def _range(self, node: Node, dot: Any) -> str:
        names, declared, source = node.branches[0][0].rpartition(":=")
        items = self._value(source, dot) or []
        pairs = sorted(items.items()) if isinstance(items, Mapping) else list(enumerate(items))
        wanted = [name.strip() for name in names.split(",")] if declared else []
        texts = []
        for pair in pairs:
            self.variables |= dict(zip(wanted, pair if len(wanted) == 2 else pair[1:], strict=False))
            texts.append(self.text(node.branches[0][1], pair[1]))
        return "".join(texts)

    def _action(self, words: str, dot: Any) -> str:
        set_to = re.match(r"(\$\w+) *:?= *(.*)", words, re.DOTALL)
        if set_to:
            self.variables[set_to[1]] = self._value(set_to[2], dot)
            return ""
        return _shown(self._value(words, dot))

    # -- expressions ------------------------------------------------------------------------------

    def _value(self, words: str, dot: Any) -> Any:
        tokens = [found[0] for found in _TOKEN.finditer(words)]
        if "".join(tokens) != re.sub(r'\s+(?=(?:[^"]*"[^"]*")*[^"]*$)', "", words):
            raise TemplateError(f"not in the subset: {words}")
        value = self._pipeline(tokens, dot)
        if tokens:
            raise TemplateError(f"what is this: {' '.join(tokens)}")
        return value

    def _pipeline(self, tokens: list[str], dot: Any) -> Any:
        value = self._call(tokens, dot, ())
        while tokens and tokens[0] == "|":
            tokens.pop(0)
            value = self._call(tokens, dot, (value,))
        return value

    def _call(self, tokens: list[str], dot: Any, piped: tuple[Any, ...]) -> Any:
        head = tokens[0]
        if head in _FUNCTIONS or head == "include":
            tokens.pop(0)
            arguments = []
            while tokens and tokens[0] not in ("|", ")"):
                arguments.append(self._operand(tokens, dot))
            if head == "include":
                name, inner = (*arguments, *piped)
                body = self.defined[name]
                return _Renderer(self.defined, inner).text(body, inner)
            return _FUNCTIONS[head](*arguments, *piped)
        if piped:
            raise TemplateError(f"no such function: {head}")
        return self._operand(tokens, dot)

    def _operand(self, tokens: list[str], dot: Any) -> Any:
        token = tokens.pop(0)
        if token == "(":
            value = self._pipeline(tokens, dot)
            tokens.pop(0)
            return value
        if token[0] == '"':
            return token[1:-1].replace('\\"', '"')
        if token.isdigit():
            return int(token)
        if token in ("true", "false"):
            return token == "true"
        start, *path = token.split(".")
        if start and start not in self.variables:
            raise TemplateError(f"no such function or variable: {token}")
        value = self.variables[start] if start else dot
        for part in filter(None, path):
            if not isinstance(value, Mapping) or part not in value:
                raise TemplateError(f"{token} is not in the values")
            value = value[part]
        return value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _to_yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=True, width=10_000).rstrip("\n")


def _nindent(count: int, text: str) -> str:
    return "\n" + "\n".join(" " * count + line if line else line for line in text.split("\n"))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "concat": lambda *lists: [one for each in lists for one in each],
    "default": lambda fallback, value: value or fallback,
    "dict": lambda *pairs: dict(zip(pairs[::2], pairs[1::2], strict=True)),
    "eq": lambda one, other: one == other,
    "list": lambda *items: list(items),
    "nindent": _nindent,
    "not": lambda value: not value,
    "printf": lambda pattern, *values: pattern % values,
    "quote": lambda value: '"' + _shown(value).replace("\\", "\\\\").replace('"', '\\"') + '"',
    "toYaml": _to_yaml,
}
