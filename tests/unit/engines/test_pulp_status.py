"""What the status of a Pulp's API means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.engines.pulp_status import problems, read_status

VERSIONS = {"core": "3.73.47", "container": "2.24.15"}


def app(name: str, **versions: str) -> dict[str, Any]:
    return {"name": name, "last_heartbeat": "2026-01-01T00:00:00Z", "versions": {**VERSIONS, **versions}}


def status(**changes: Any) -> dict[str, Any]:
    return {
        "versions": [{"component": name, "version": version} for name, version in VERSIONS.items()],
        "online_workers": [app("1@host")],
        "online_api_apps": [app("2@host")],
        "online_content_apps": [app("3@host")],
        "database_connection": {"connected": True},
        "redis_connection": {"connected": False},
        "storage": {"total": 1000, "used": 500, "free": 500},
        "domain_enabled": False,
        **changes,
    }


def test_a_healthy_one() -> None:
    found = read_status(status())
    assert (found.versions, found.count("worker"), found.count("content app")) == (VERSIONS, 1, 1)
    assert (found.database, found.redis, found.others, found.free_bytes) == (True, False, (), 500)
    assert list(problems(found)) == []


@pytest.mark.parametrize(
    ("changes", "cache", "words"),
    [
        ({"database_connection": {"connected": False}}, None, "no connection to its database"),
        ({"online_workers": []}, None, "no worker is online"),
        ({"online_content_apps": []}, None, "no content app is online"),
        ({"storage": {"total": 1000, "used": 990, "free": 10}}, None, "nearly full"),
        ({}, True, "no connection to Redis"),
        (
            {"online_content_apps": [app("3@host", container="2.22.13")]},
            None,
            "content app 3@host (container 2.22.13",
        ),
        ({"online_workers": [app("1@host", core="3.63.0")]}, None, "core 3.63.0"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], cache: bool | None, words: str) -> None:
    (found,) = problems(read_status(status(**changes)), cache)
    assert words in found


def test_an_older_release_and_an_object_store_have_less_to_say() -> None:
    answer = status(storage={"total": None, "used": 5, "free": None})
    del answer["online_api_apps"]
    for one in (*answer["online_workers"], *answer["online_content_apps"]):
        del one["versions"]
    found = read_status(answer)
    assert (found.total_bytes, found.count("API app")) == (None, 0)
    assert list(problems(found)) == []


@given(
    st.dictionaries(
        st.sampled_from(sorted(status())),
        st.none() | st.integers() | st.text() | st.lists(st.none() | st.text(), max_size=2),
    )
)
def test_a_strange_answer_is_unhealthy_and_no_crash(changes: dict[str, Any]) -> None:
    found = read_status(status(**changes))
    if changes.keys() & {"database_connection", "online_workers", "online_content_apps"}:
        assert list(problems(found))
