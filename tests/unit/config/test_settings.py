"""Settings as data: the site over the defaults, and back from any file."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.config.models import Registry, site_model
from ctl.config.settings import ALWAYS, compose, config_for, differences, is_contained, listen_address
from ctl.errors import ConfigError
from ctl.templates import defaults_for

DEFAULTS = defaults_for("distribution/2.yml.j2")
REFERENCE = "file:/s/main.http.secret"


def registry(config: dict[str, Any] | None = None, url: str = "http://127.0.0.1:5000") -> Registry:
    node = {
        "host": "reg1",
        "binary": "/usr/bin/docker-registry",
        "config_file": "/etc/docker/registry/config.yml",
        "url": url,
        "service": {"kind": "process", "name": "main"},
    }
    main = {
        "engine": "distribution",
        "storage": {"filesystem": {"rootdirectory": "/srv/images"}},
        "config": config or {},
        "nodes": [node],
    }
    site = site_model().model_validate({"version": 1, "hosts": {"reg1": {}}, "registries": {"main": main}})
    return site.registries["main"]


def composed(config: dict[str, Any] | None = None, url: str = "http://127.0.0.1:5000") -> dict[str, Any]:
    described = registry(config, url)
    return compose(described, described.nodes[0], DEFAULTS, REFERENCE)


def test_an_empty_config_gives_the_defaults_the_storage_and_the_address() -> None:
    found = composed()
    assert found["storage"]["filesystem"] == {"rootdirectory": "/srv/images"}
    assert found["http"]["addr"] == "127.0.0.1:5000"
    assert (found["http"]["draintimeout"], found["http"]["secret"]) == ("60s", REFERENCE)


def test_config_lies_over_the_defaults_and_null_takes_one_away() -> None:
    found = composed({"log": {"level": "debug"}, "health": None, "storage": {"delete": {"enabled": False}}})
    assert found["log"] == {"fields": {"service": "registry"}, "level": "debug"}
    assert "health" not in found
    assert found["storage"]["delete"] == {"enabled": False}


def test_drain_and_secret_cannot_be_taken_away() -> None:
    found = composed({"http": {"draintimeout": None, "secret": None}})
    assert (found["http"]["draintimeout"], found["http"]["secret"]) == ("60s", REFERENCE)
    assert composed({"http": None})["http"] == {
        "draintimeout": "60s",
        "secret": REFERENCE,
        "addr": "127.0.0.1:5000",
    }
    assert composed({"http": {"draintimeout": "5s"}})["http"]["draintimeout"] == "5s"


@pytest.mark.parametrize("config", [{"storage": None}, {"storage": {"filesystem": None}}, {"version": None}])
def test_where_images_are_cannot_be_taken_away(config: dict[str, Any]) -> None:
    found = composed(config)
    assert found["storage"]["filesystem"] == {"rootdirectory": "/srv/images"}
    assert found["version"] == 0.1


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:5000", "127.0.0.1:5000"),
        ("https://10.0.0.7", "10.0.0.7:443"),
        ("http://[::1]:5001/prefix", "[::1]:5001"),
        ("http://localhost:5000", "127.0.0.1:5000"),
        ("https://registry.example.com", ""),
    ],
)
def test_where_to_listen_is_told_from_an_address_only(url: str, address: str) -> None:
    assert listen_address(url) == address


def test_a_name_is_no_address_to_listen_on() -> None:
    with pytest.raises(ConfigError, match="cannot be told"):
        composed(url="https://registry.example.com")
    assert composed({"http": {"addr": ":5000"}}, "https://registry.example.com")["http"]["addr"] == ":5000"


WORDS = st.sampled_from(["a", "b", "level", "fields", "service", "delete", "enabled", "cache", "addr"])
LEAVES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["x", "y", "60s"]) | st.just({})
)
TREES: st.SearchStrategy[Any] = st.recursive(
    LEAVES | st.lists(st.integers(0, 3), max_size=2),
    lambda below: st.dictionaries(WORDS, below, max_size=3),
    max_leaves=8,
)
SECTIONS = st.dictionaries(WORDS, TREES, max_size=3)
FILES = st.fixed_dictionaries(
    {"version": st.just(0.1)},
    optional={"log": SECTIONS, "health": SECTIONS, "redis": SECTIONS, "auth": SECTIONS, "http": SECTIONS},
)


@settings(max_examples=300, deadline=None)
@given(FILES, SECTIONS)
def test_whatever_a_file_says_the_site_says_after_adopting_it(found: dict[str, Any], before: Any) -> None:
    found["storage"] = {"filesystem": {"rootdirectory": "/srv/images"}}
    found["http"] = {"addr": ":5000", **(found.get("http") or {})}
    if not found["http"]["addr"] or not isinstance(found["http"]["addr"], str):
        found["http"]["addr"] = ":5000"
    described = registry({"log": before})
    laid_over = config_for(described, described.nodes[0], DEFAULTS, found)
    from ctl.config.persist import laid_over as merge

    after = described.model_copy(update={"config": merge(described.config, laid_over)})
    result = compose(after, after.nodes[0], DEFAULTS, REFERENCE)
    assert is_contained(found, result), (list(differences(found, result)), laid_over)


def test_what_is_added_is_only_what_every_managed_file_has() -> None:
    before = {"http": {"addr": ":5000"}}
    assert is_contained(before, {"http": {"addr": ":5000", "draintimeout": "60s", "secret": "x"}})
    assert not is_contained(before, {"http": {"addr": ":5000"}, "log": {"level": "info"}})
    assert not is_contained({"http": {"secret": "a"}}, {"http": {"secret": "b"}})
    assert not is_contained(before, {"http": {}})
    assert ALWAYS == (("http", "draintimeout"), ("http", "secret"))


def test_differences_name_every_setting() -> None:
    found = list(differences({"a": {"b": 1, "c": [1]}, "d": None}, {"a": {"b": True}, "e": {"f": "x"}}))
    assert found == [(("a", "b"), 1, True), (("a", "c"), [1], None), (("e", "f"), None, "x")]
