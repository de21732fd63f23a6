"""Keep secrets out of what leaves the machine: every one that is known, in every form that it takes. Pure.

What is known by its value is blotted out wherever it stands; what only looks like a secret by its
surroundings (a header, a URL, a `password=`) is blotted out too. `found_in` is the proof at the end.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator

from ctl.secret import spellings

SHOWN = "***"
SHORTEST = 4  # characters: a shorter value would blot out ordinary words
_NAMES = r"password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|credential\w*"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        f"(private key {SHOWN})",
    ),
    (
        re.compile(r"(?i)\b((?:proxy-)?authorization\\?[\"']?\s*[:=]\s*\\?[\"'\[]*)[^\r\n\"'\\\]]+"),
        rf"\1{SHOWN}",
    ),
    (re.compile(r"(?i)\b((?:set-)?cookie\\?[\"']?\s*[:=]\s*\\?[\"'\[]*)[^\r\n\"'\\\]]+"), rf"\1{SHOWN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {SHOWN}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?"), SHOWN),
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/@\s:\"']*):[^/@\s\"']+@"), rf"\1:{SHOWN}@"),
    (re.compile(r"([?&](?:_state|signature|sig|x-amz-[a-z-]+|token)=)[^&\s\"']+", re.I), rf"\1{SHOWN}"),
    (
        re.compile(
            rf"(?i)(\b[\w.-]*(?:{_NAMES})\\?[\"']?\s*[:=]\s*)(\\?[\"'])(?!(?:file|env|command):)[^\"'\\\r\n]+"
        ),
        rf"\1\2{SHOWN}",
    ),
    (
        re.compile(
            rf"(?i)(\b[\w.-]*(?:{_NAMES})[ \t]*[:=][ \t]*)"
            r"(?!(?:file|env|command):|\*\*\*|null|true|false|[\[{\"'\\])[^\s,;&\"'}]+"
        ),
        rf"\1{SHOWN}",
    ),
)


class Redactor:
    """Blots out secrets. `known` are the values; users are for the form of HTTP's basic authentication."""

    def __init__(self, known: Iterable[str], users: Iterable[str] = ()) -> None:
        values = {value for value in known if len(value.strip()) >= SHORTEST}
        forms = {form for value in values for form in _forms(value, tuple(users))}
        # the longest first: one may be a part of another
        self._forms = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, self._forms))) if self._forms else None

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        if self._known is not None:
            text = self._known.sub(SHOWN, text)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def data(self, data: bytes) -> bytes:
        """Return bytes without secrets; what is no UTF-8 is replaced."""
        return self.text(data.decode("utf-8", "replace")).encode()

    def found_in(self, data: bytes) -> bool:
        """Say whether any known secret, in any of its forms, still stands in there."""
        text = data.decode("utf-8", "replace")
        return self._known is not None and self._known.search(text) is not None


def _forms(value: str, users: tuple[str, ...]) -> Iterator[str]:
    """Yield the ways in which a value may be written: as it is, in JSON, in a URL, in base64, by lines."""
    for one in (value, value.strip(), *_long_lines(value)):
        yield from spellings(one)
        yield json.dumps(json.dumps(one)[1:-1])[1:-1]
        yield one.encode().hex()
        for text in (one, *(f"{user}:{one}" for user in users)):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                yield encode(text.encode()).decode().rstrip("=")


def _long_lines(value: str) -> Iterator[str]:
    lines = value.splitlines()
    if len(lines) > 1:  # a key: each of its lines is as secret as the whole
        yield from (line for line in lines if len(line) >= 16 and not line.startswith("-----"))
