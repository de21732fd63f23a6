"""Reports and events as plain JSON values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any

from ctl.report.events import Event


def plain(value: Any) -> Any:
    """Return a value made of dicts, lists, strings, integers and floats only.

    Times become RFC 3339 in UTC, what is not a number becomes null, and whatever has no JSON form becomes its
    text, so that a Secret prints as ***.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | PurePath):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Set):
        return sorted((plain(entry) for entry in value), key=str)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(entry) for entry in value]
    return str(value)


def event_object(event: Event) -> dict[str, Any]:
    """Return an event as the object of one line: its kind, the time, and its fields."""
    return {"event": event_name(type(event)), "time": now(), **plain(event)}


def event_name(kind: type[Event]) -> str:
    """Return the word for a kind of event: StepStarted is "step-started"."""
    words = "".join(f"-{c.lower()}" if c.isupper() else c for c in kind.__name__)
    return words.lstrip("-")


def now() -> str:
    """Return the time in RFC 3339, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
