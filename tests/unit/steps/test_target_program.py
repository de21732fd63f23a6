"""A node's environment in words that the target does not take."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.version import Version

from ctl.steps.node_doors import NodeDoors
from ctl.steps.target_program import environment_for, same_release
from tests.support.memory_node import Node

THREE = Version("3.1.1")


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        (b"REGISTRY_REDIS_ADDR=cache:6379", "sets redis.addr, which 3.1.1 does not take"),
        (b"REGISTRY_REDIS_POOL_MAXIDLE=3", "sets redis.pool.maxidle"),
        (b"REGISTRY_REPORTING_BUGSNAG_APIKEY=x", "sets reporting.bugsnag.apikey"),
    ],
)
def test_a_variable_for_2_8_is_told(tmp_path: Any, variable: bytes, said: str) -> None:
    found = told(tmp_path, variable)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize("variable", [b"REGISTRY_HTTP_SECRET=x", b"REGISTRY_REDIS_ADDRS=[a]", b"HOME=/"])
def test_what_both_take_is_not(tmp_path: Any, variable: bytes) -> None:
    assert told(tmp_path, variable) == []


def test_for_2_8_nothing_is_told(tmp_path: Any) -> None:
    assert told(tmp_path, b"REGISTRY_REDIS_ADDR=cache:6379", Version("2.8.3")) == []


def test_the_same_release_whatever_was_added() -> None:
    assert same_release(Version("2.8.2+ds1"), "2.8.2")
    assert not same_release(None, "2.8.2")


def told(folder: Any, variable: bytes, version: Version = THREE) -> list[str]:
    node = Node(str(folder))
    process = node.service.state().process
    assert process is not None
    node.host.make_directory(f"/proc/{process.pid}", mode=0o755)
    node.host.write(f"/proc/{process.pid}/environ", variable + b"\0", mode=0o400)
    return list(environment_for(NodeDoors(node.target(), "main", "here"), process, version))
