"""Whose file is it? What the header of a rendered configuration says, and whether it still holds. Pure.

- missing: there is no file.
- adopted: somebody else's file. A scope changes only its own keys and brings the original bytes back.
- managed: ours, and as we wrote it. Only `regctl config apply` changes it.
- drifted: ours, and edited since. It is shown, and nothing changes until that is settled.
- generated: another tool writes it anew from settings of its own (gitlab-ctl). regctl never writes it.

The header is the record: it travels with the file, so no state of ours can disagree with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["missing", "adopted", "managed", "drifted", "generated"]
_FIRST = b"# managed by regctl "
_HEADER = re.compile(
    rb"# managed by regctl (?P<version>\S+) for registry (?P<registry>\S+)\n"
    rb"# [^\n]*\n"
    rb"# inputs sha256: (?P<inputs>[0-9a-f]{64})\n"
    rb"# body sha256: (?P<body>[0-9a-f]{64})\n"
)


@dataclass(frozen=True)
class Ownership:
    """A file's state; the rest is what its header says, "" where there is none."""

    state: State
    version: str = ""  # of the regctl that wrote it
    registry: str = ""
    inputs: str = ""  # sha256 of what it was rendered from


def classify(data: bytes | None) -> Ownership:
    """Say whose a configuration file is, by its bytes; None for a file that is not there."""
    if data is None:
        return Ownership("missing")
    if not data.startswith(_FIRST):
        return Ownership("adopted")
    header = _HEADER.match(data)
    if header is None:
        return Ownership("drifted")
    whole = hashlib.sha256(data[header.end() :]).hexdigest() == header["body"].decode()
    return Ownership(
        "managed" if whole else "drifted",
        header["version"].decode(errors="replace"),
        header["registry"].decode(errors="replace"),
        header["inputs"].decode(),
    )


def seal(body: str, *, version: str, registry: str, inputs: str) -> bytes:
    """Put the header before a rendered configuration."""
    data = body.encode()
    header = (
        f"# managed by regctl {version} for registry {registry}\n"
        f"# Do not edit: change registries.{registry} in the site, then run: regctl config apply {registry}\n"
        f"# inputs sha256: {inputs}\n"
        f"# body sha256: {hashlib.sha256(data).hexdigest()}\n"
    )
    return header.encode() + data


def body_of(data: bytes) -> bytes:
    """Return a file without our header, or as it is if it has none."""
    header = _HEADER.match(data)
    return data[header.end() :] if header else data


def inputs_checksum(template: str, settings: Mapping[str, Any]) -> str:
    """Return the sha256 of what a file is rendered from: the template's text and the settings."""
    text = json.dumps([template, settings], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
