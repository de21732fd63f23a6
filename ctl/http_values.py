"""What the HTTP door hands out, and what carries its requests. No library is imported here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
PROBE_PATH = "regctl-probe/manifests/probe"
API_HEADER = "docker-distribution-api-version"
LARGEST_ANSWER = 8 * 1024 * 1024  # bytes; registries refuse manifests above 4 MiB

WriteState = Literal["writable", "read-only", "unproven", "unreachable"]


@dataclass(frozen=True)
class WriteProbe:
    """Whether a write would be accepted. "unproven": it answers, but not in a way that proves either."""

    state: WriteState
    detail: str = ""


@dataclass(frozen=True)
class Ping:
    """What /v2/ answers. "ready" is 200, or 401 where users are asked for."""

    state: Literal["ready", "unhealthy", "foreign", "unreachable"]
    detail: str = ""
    status: int = 0


@dataclass(frozen=True)
class Manifest:
    """A manifest as it is served."""

    digest: str
    media_type: str
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class TransportError(Exception):
    """No answer came; `again` says that a new connection may fare better."""

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class Transport(Protocol):
    """Who carries a request: httpx, or a registry in memory."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request, follow nothing; TransportError if no answer came."""
        ...

    def stream(
        self, method: str, url: str, headers: Mapping[str, str], sink: Callable[[bytes], object]
    ) -> Answer:
        """Send one request and hand the body of a 200 to `sink`, piece by piece, whatever its size."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def json_of(answer: Answer) -> Any:
    """Return the body as JSON, or None where it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def error_codes(answer: Answer) -> list[str]:
    """Return the codes of a registry's JSON errors."""
    document = json_of(answer)
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        return []
    return [str(error.get("code", "")) for error in errors if isinstance(error, dict)]


def error_text(answer: Answer) -> str:
    """Return the codes for a message: " (CODE)", or nothing."""
    codes = ", ".join(error_codes(answer)[:3])
    return f" ({codes})" if codes else ""
