"""YAML text -> values that remember where they stood.

Two dialects. SITE is for our own files: safe, no aliases, no tags, and only `true`, `false`, `null` and
plain decimal numbers are anything but text (`no`, `12:30` and `010` stay what was typed). REGISTRY reads a
registry's configuration as the registry's own reader does (Go, YAML 1.1 words, octal numbers, aliases and
merge keys), so that what we check is what it will do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ctl.config.words import Dialect, Scalar, resolve
from ctl.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_NODES = 10_000
MAX_DEPTH = 32
NAME_WIDTH = 63  # characters of a name of a host, a registry or a database

_SHOWN_PARTS = 14

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a value stands; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in a file."""

    origin: Origin
    path: Path
    what: str

    def line(self) -> str:
        """Return `file:line:column: path: what`."""
        return f"{self.origin}: {show_path(self.path)}: {self.what}"


@dataclass(frozen=True, slots=True)
class Located:
    """A value and where it (and the key that names it) stands; `span` is a scalar's place in the text."""

    value: Scalar | dict[str, Located] | list[Located]
    origin: Origin
    key: Origin | None = None
    span: tuple[int, int] = (0, 0)

    def plain(self) -> Any:
        """Return the bare value."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def walk(self, path: Path = ()) -> Iterator[tuple[Path, Located]]:
        """Yield every value with its path, parents first."""
        yield path, self
        if isinstance(self.value, dict):
            for key, child in self.value.items():
                yield from child.walk((*path, key))
        elif isinstance(self.value, list):
            for index, child in enumerate(self.value):
                yield from child.walk((*path, index))


@dataclass(frozen=True)
class Document:
    """A parsed file. `root` is None if nothing usable could be read; `mistakes` says why."""

    file: str
    root: Located | None
    mistakes: tuple[Mistake, ...]


def show_path(path: Path) -> str:
    """Write a path as people do: registries.main.nodes[0].host."""
    text = ""
    for part in path[:_SHOWN_PARTS]:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if re.fullmatch(r"[\w-]+", part) else repr(part)
            text += f".{shown}" if text else shown
    return f"{text}..." if len(path) > _SHOWN_PARTS else text or "(the file)"


def read_document(data: bytes, file: str, dialect: Dialect = Dialect.SITE) -> Document:
    """Parse one file; never raises for what stands in it."""
    start = Origin(file, 1, 1)
    if len(data) > MAX_BYTES:
        return Document(file, None, (Mistake(start, (), f"is larger than {MAX_BYTES} bytes"),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = _position(file, data[: error.start].decode("utf-8-sig", "replace"))
        return Document(file, None, (Mistake(where, (), "is not UTF-8 text from here on"),))
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        where = _position(file, text[: forbidden.start()])
        what = f"holds a character that YAML does not allow (U+{ord(forbidden.group()):04X})"
        return Document(file, None, (Mistake(where, (), what),))
    builder = _Builder(file, dialect)
    try:
        builder.build(text)
    except _UnreadableError as stop:
        return Document(file, None, (*builder.mistakes, stop.mistake))
    return Document(file, builder.root, tuple(builder.mistakes))


_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _position(file: str, before: str) -> Origin:
    """Say where a text goes on."""
    return Origin(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


def read_registry_config(data: bytes, file: str) -> dict[str, Any]:
    """Parse a registry's configuration file as the registry would; ConfigError lists the mistakes."""
    root = locate_registry_config(data, file).plain()
    assert isinstance(root, dict)  # noqa: S101 - locate_registry_config saw to it
    return root


def locate_registry_config(data: bytes, file: str) -> Located:
    """Like `read_registry_config`, with the place of every value."""
    document = read_document(data, file, Dialect.REGISTRY)
    mistakes = list(document.mistakes)
    if (document.root is None or not isinstance(document.root.value, dict)) and not mistakes:
        mistakes.append(Mistake(Origin(file, 1, 1), (), "holds no settings"))
    if mistakes or document.root is None:
        raise ConfigError(
            f"{file} cannot be read as a registry's configuration",
            hint="correct the file; regctl changes nothing in a file that it cannot read",
            details=tuple(mistake.line() for mistake in mistakes),
        )
    return document.root


class _UnreadableError(Exception):
    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.what)
        self.mistake = mistake


@dataclass
class _Frame:
    """A collection that is being read."""

    items: dict[str, Located] | list[Located]
    origin: Origin
    path: Path
    key_origin: Origin | None
    anchor: str | None
    pending: tuple[str, Origin, bool] | None = None  # a key, its place, and whether it stands unquoted
    merges: list[Located] = field(default_factory=list)


class _Builder:
    """Build a tree from YAML events without recursion, so that depth cannot exhaust the stack."""

    def __init__(self, file: str, dialect: Dialect) -> None:
        self.file = file
        self.dialect = dialect
        self.mistakes: list[Mistake] = []
        self.root: Located | None = None
        self._stack: list[_Frame] = []
        self._nodes = 0
        self._documents = 0
        self._anchors: dict[str, Located] = {}

    def build(self, text: str) -> None:
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            for event in yaml.parse(text, Loader=loader):
                self._event(event, yaml)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = " ".join(part for part in (error.context, error.problem) if part)
            if mark is not None and text[mark.index : mark.index + 1] == "\t":
                what += " (a tab: YAML is indented by spaces)"
            raise _UnreadableError(Mistake(self._at(mark), (), f"is not YAML: {what}")) from None
        except yaml.YAMLError as error:
            raise _UnreadableError(Mistake(Origin(self.file, 1, 1), (), f"is not YAML: {error}")) from None

    def _at(self, mark: Any) -> Origin:
        return Origin(self.file, mark.line + 1, mark.column + 1) if mark else Origin(self.file, 1, 1)

    def _event(self, event: Any, yaml: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(event, "holds a second document (---): write one")
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, yaml)
        elif isinstance(event, yaml.CollectionEndEvent):
            frame = self._stack.pop()
            self._merge(frame)
            self._attach(Located(frame.items, frame.origin, frame.key_origin), frame.anchor)

    def _node(self, event: Any, yaml: Any) -> None:
        self._count(event, 1)
        self._refuse_extras(event)
        scalar = isinstance(event, yaml.ScalarEvent)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.items, dict) and frame.pending is None:
            if not scalar or (event.value == "" and not event.style):
                self._stop(event, "has a key that is not a word")
            frame.pending = (event.value, self._at(event.start_mark), not event.style)
            return
        key = frame.pending[1] if frame and frame.pending else None
        if scalar:
            plain = not event.style  # libyaml says "", the Python reader None
            value = resolve(event.value, self.dialect) if plain else event.value
            span = (event.start_mark.index, event.end_mark.index)
            self._attach(Located(value, self._at(event.start_mark), key, span), event.anchor)
            return
        if len(self._stack) >= MAX_DEPTH:
            self._stop(event, f"nests deeper than {MAX_DEPTH} levels")
        items: dict[str, Located] | list[Located] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_Frame(items, self._at(event.start_mark), self._path(), key, event.anchor))

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(event, f"holds more than {MAX_NODES} values")

    def _refuse_extras(self, event: Any) -> None:
        if event.anchor and self.dialect is Dialect.SITE:
            self._stop(event, f"uses an anchor (&{event.anchor}): write the value out")
        if event.tag and event.tag != "!":
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self._stop(event, f"uses a tag ({tag}): write the plain value")

    def _alias(self, event: Any) -> None:
        if self.dialect is Dialect.SITE:
            self._stop(event, f"uses an alias (*{event.anchor}): write the value out")
        found = self._anchors.get(event.anchor)
        frame = self._stack[-1] if self._stack else None
        if found is None or frame is None or (isinstance(frame.items, dict) and frame.pending is None):
            self._stop(event, f"uses an alias (*{event.anchor}) in a place that regctl does not read")
        assert frame is not None  # noqa: S101 - _stop raised otherwise
        assert found is not None  # noqa: S101
        self._count(event, sum(1 for _ in found.walk()))
        key = frame.pending[1] if frame.pending else None
        self._attach(Located(found.value, self._at(event.start_mark), key, found.span), None)

    def _attach(self, value: Located, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = value
        if not self._stack:
            self.root = value
            return
        frame = self._stack[-1]
        if isinstance(frame.items, list):
            frame.items.append(value)
            return
        assert frame.pending is not None  # noqa: S101 - a value in a mapping follows its key
        key, origin, bare = frame.pending
        frame.pending = None
        if key == "<<" and bare and self.dialect is Dialect.REGISTRY:
            frame.merges.append(value)
        elif key in frame.items:
            first = frame.items[key].key
            where = f"line {first.line}" if first else "above"
            self.mistakes.append(Mistake(origin, (*frame.path, key), f"stands twice (first on {where})"))
        else:
            frame.items[key] = value

    def _merge(self, frame: _Frame) -> None:
        for source in frame.merges:
            options = source.value if isinstance(source.value, list) else [source]
            for option in options:
                if isinstance(option.value, dict) and isinstance(frame.items, dict):
                    for key, value in option.value.items():
                        frame.items.setdefault(key, value)

    def _path(self) -> Path:
        if not self._stack:
            return ()
        frame = self._stack[-1]
        if isinstance(frame.items, list):
            return (*frame.path, len(frame.items))
        return (*frame.path, frame.pending[0]) if frame.pending else frame.path

    def _stop(self, event: Any, what: str) -> None:
        raise _UnreadableError(Mistake(self._at(event.start_mark), self._path(), what))
