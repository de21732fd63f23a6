"""What `upgrade` remembers of a node counts as long as the site says what it said then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.config.models import Site
from ctl.config.rolling import on_their_new_programs
from ctl.errors import ConfigError

PATHS = st.sampled_from(["/a", "/b", "/c"])


def described(binary: str, upgraded: dict[str, Any], **node: Any) -> dict[str, Any]:
    place = {"config_file": "/etc/r.yml", "url": "http://127.0.0.1:5000"}
    service = {"kind": "process", "name": "r"}
    return {
        "engine": "distribution",
        "storage": {"filesystem": {"rootdirectory": "/srv"}},
        "nodes": [{"host": "a", "binary": binary, "service": service, **place, **node}],
        "upgraded": upgraded,
    }


def site(registry: dict[str, Any]) -> Site:
    return Site.model_validate({"version": 1, "hosts": {"a": {}}, "registries": {"main": registry}})


@given(PATHS, PATHS, PATHS)
def test_an_edited_site_wins(said: str, was: str, binary: str) -> None:
    found = site(described(said, {"a": {"was": was, "binary": binary}}))
    assert found.registries["main"].nodes[0].binary == (binary if said == was else said)


def test_twice_upgraded_it_is_still_the_site_that_is_compared() -> None:
    once = described("/a", {"a": {"was": "/a", "binary": "/c"}})
    assert on_their_new_programs(once)["nodes"][0]["binary"] == "/c"
    assert once["nodes"][0]["binary"] == "/a"


@pytest.mark.parametrize("odd", [[], "x", {"a": 1}, {"a": {"was": "/a"}}, {"other": {}}])
def test_what_has_not_the_shape_is_left_to_be_judged(odd: Any) -> None:
    registry = described("/a", odd)
    assert on_their_new_programs(registry)["nodes"][0]["binary"] == "/a"


def test_drain_is_written_as_people_say_it() -> None:
    node = {"drain": {"out": ["/x", "out"], "in": ["/x", "in"], "settle_seconds": 3}}
    found = site(described("/a", {}, **node)).registries["main"].nodes[0].drain
    assert found is not None
    assert (found.out, found.into, found.host, found.settle_seconds) == (
        ("/x", "out"), ("/x", "in"), None, 3,
    )  # fmt: skip


def test_a_drain_on_a_host_that_is_not_there_is_told(tmp_path: Any) -> None:
    import yaml

    from ctl.config.load import load_site

    registry = described("/a", {}, drain={"host": "lb", "out": ["x"], "in": ["y"]})
    path = tmp_path / "site.yml"
    path.write_text(yaml.safe_dump({"version": 1, "hosts": {"a": {}}, "registries": {"main": registry}}))
    with pytest.raises(ConfigError) as caught:
        load_site(str(path))
    assert "names a host 'lb' that is not in the site" in " ".join(caught.value.details)
