"""A stand-in for gitlab-ctl: reads lines of gitlab.rb as data, writes a file as its template does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ASSIGNMENT = re.compile(r"registry\['(\w+)'\] = ")


class NotRubyError(AssertionError):
    """The text is no literal that we know."""


class Reader:
    """Reads Ruby literals: hashes, arrays, strings, numbers, true, false, nil, and File.read('...').chomp."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def value(self) -> Any:
        """Read one literal."""
        self._space()
        rest = self.text[self.at :]
        for word, value in (("true", True), ("false", False), ("nil", None)):
            if rest.startswith(word):
                self.at += len(word)
                return value
        if rest.startswith("File.read("):
            self.at += len("File.read(")
            path = self.value()
            self._take(").chomp")
            return Path(path).read_text().rstrip("\n")
        if rest[:1] in "'\"":
            return self._string(rest[0])
        if rest[:1] == "[":
            return self._list()
        if rest[:1] == "{":
            return self._hash()
        number = re.match(r"-?\d+(\.\d+)?(e[+-]?\d+)?", rest)
        if number is None:
            raise NotRubyError(rest[:40])
        self.at += number.end()
        return float(number[0]) if number[1] or number[2] else int(number[0])

    def _space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _take(self, word: str) -> None:
        self._space()
        if not self.text.startswith(word, self.at):
            raise NotRubyError(f"expected {word!r} at {self.text[self.at : self.at + 40]!r}")
        self.at += len(word)

    def _next_is(self, word: str) -> bool:
        self._space()
        return self.text.startswith(word, self.at)

    def _string(self, quote: str) -> str:
        self.at += 1
        found = ""
        while self.text[self.at] != quote:
            character = self.text[self.at]
            if quote == '"' and self.text.startswith("#{", self.at):
                raise NotRubyError("interpolation")
            if character == "\\":
                found += self._escaped(quote)
                continue
            found += character
            self.at += 1
        self.at += 1
        return found

    def _escaped(self, quote: str) -> str:
        following = self.text[self.at + 1]
        code = re.compile(r"\\u\{([0-9a-f]+)\}").match(self.text, self.at)
        if quote == '"' and code is not None:
            self.at = code.end()
            return chr(int(code[1], 16))
        if quote == "'" and following not in "'\\":  # a backslash of its own
            self.at += 1
            return "\\"
        self.at += 2
        return following

    def _list(self) -> list[Any]:
        self._take("[")
        found = []
        while not self._next_is("]"):
            found.append(self.value())
            if not self._next_is("]"):
                self._take(",")
        self._take("]")
        return found

    def _hash(self) -> dict[str, Any]:
        self._take("{")
        found = {}
        while not self._next_is("}"):
            key = self.value()
            self._take("=>")
            found[key] = self.value()
            if not self._next_is("}"):
                self._take(",")
        self._take("}")
        return found


def assignments(text: str) -> dict[str, Any]:
    """Read `registry['name'] = literal` lines; everything else must be a comment or empty."""
    found: dict[str, Any] = {}
    while text.strip():
        text = text.lstrip()
        if text.startswith("#"):
            text = text.partition("\n")[2]
            continue
        match = ASSIGNMENT.match(text)
        if match is None:
            raise NotRubyError(text[:60])
        reader = Reader(text[match.end() :])
        found[match[1]] = reader.value()
        text = reader.text[reader.at :]
    return found


DEFAULTS: dict[str, Any] = {
    "log_level": "info",
    "log_formatter": "json",
    "health_storagedriver_enabled": True,
    "validation_enabled": False,
}


def render(settings: dict[str, Any]) -> str:
    """Write the file as gitlab-ctl's template does, from `registry[...]` settings."""
    said = {**DEFAULTS, **settings}
    lines = [
        "version: 0.1",
        "log:",
        f"  level: {said['log_level']}",
        f"  formatter: {said['log_formatter']}",
        "  fields:",
        "    service: registry",
        "    environment: production",
        f"storage: {json.dumps(said['storage'])}",
        "http:",
        f"  addr: {said['registry_http_addr']}",
        f'  secret: "{said["http_secret"]}"',
        "  headers:",
        "    X-Content-Type-Options: [nosniff]",
    ]
    if "http_draintimeout" in said:
        lines.append(f"  draintimeout: {said['http_draintimeout']}")
    lines += [
        "health:",
        "  storagedriver:",
        f"    enabled: {json.dumps(said['health_storagedriver_enabled'])}",
        "    interval: 10s",
        "    threshold: 3",
        "validation:",
        f"  disabled: {json.dumps(not said['validation_enabled'])}",
    ]
    lines += [
        f"{name}: {json.dumps(said[name])}"
        for name in ("middleware", "database", "gc", "redis")
        if name in said
    ]
    return "\n".join(lines) + "\n"
