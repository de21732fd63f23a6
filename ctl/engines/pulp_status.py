"""What the status of a Pulp's API means: who is online, in which versions, and what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LITTLE_ROOM = 0.02  # of the storage: below it syncs and pushes will soon fail
_APPS = (
    ("API app", "online_api_apps"),
    ("content app", "online_content_apps"),
    ("worker", "online_workers"),
)


@dataclass(frozen=True)
class App:
    """A process of Pulp that gives signs of life."""

    kind: str
    name: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class PulpStatus:
    """A Pulp as its API describes it; bytes are None where its storage does not tell."""

    versions: Mapping[str, str]  # of the API's own process, by Pulp's names of the parts
    apps: tuple[App, ...]
    database: bool
    redis: bool  # False also where it uses none: its API does not tell the two apart
    total_bytes: int | None = None
    free_bytes: int | None = None
    domains: bool = False

    def count(self, kind: str) -> int:
        """Return how many processes of a kind are online."""
        return sum(app.kind == kind for app in self.apps)

    @property
    def others(self) -> tuple[App, ...]:
        """The processes that are of another version than the API that answered."""
        return tuple(
            app
            for app in self.apps
            if any(app.versions.get(part, version) != version for part, version in self.versions.items())
        )


def read_status(answer: Mapping[str, Any]) -> PulpStatus:
    """Read what the API answered; what is missing, as in older releases, is not there."""
    storage = _mapping(answer.get("storage"))
    return PulpStatus(
        {str(one["component"]): str(one["version"]) for one in _mappings(answer.get("versions"))},
        tuple(
            App(
                kind,
                str(one.get("name", "")),
                {str(k): str(v) for k, v in _mapping(one.get("versions")).items()},
            )
            for kind, key in _APPS
            for one in _mappings(answer.get(key))
        ),
        _mapping(answer.get("database_connection")).get("connected") is True,
        _mapping(answer.get("redis_connection")).get("connected") is True,
        storage.get("total"),
        storage.get("free"),
        answer.get("domain_enabled") is True,
    )


def problems(status: PulpStatus, cache: bool | None = None) -> Iterator[str]:
    """Say what keeps it from being healthy. `cache` says whether it uses Redis, where that is known."""
    if not status.database:
        yield "its API has no connection to its database"
    if cache and not status.redis:
        yield "its cache is on, and its API has no connection to Redis"
    if not status.count("worker"):
        yield "no worker is online: syncs, uploads and cleanups wait"
    if not status.count("content app"):
        yield "no content app is online: nothing is served"
    if status.others:
        names = ", ".join(f"{app.kind} {app.name} ({_text(app.versions)})" for app in status.others[:3])
        yield f"not all of it is of one version ({_text(status.versions)}): {names}; restart what is older"
    if status.free_bytes is not None and status.free_bytes < LITTLE_ROOM * (status.total_bytes or 0):
        yield "its storage is nearly full"


def _text(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{part} {versions[part]}" for part in ("container", "core") if part in versions)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
