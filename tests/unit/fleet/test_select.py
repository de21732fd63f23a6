"""A pattern of hosts means exactly what set arithmetic over the site says, and nothing that is misspelled."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.config.models import Site, site_model
from ctl.errors import UsageError
from ctl.fleet.select import select


def site_of(hosts: dict[str, dict[str, str]], registries: dict[str, list[str]] | None = None) -> Site:
    """Build a site of hosts by their labels; the first is local."""
    first = next(iter(hosts))
    described: dict[str, Any] = {
        name: {
            "labels": labels,
            **({} if name == first else {"connection": "ssh", "address": f"{name}.test"}),
        }
        for name, labels in hosts.items()
    }
    found = {
        name: {
            "engine": "distribution",
            "storage": {"filesystem": {"rootdirectory": "/srv"}},
            "nodes": [
                {
                    "host": host,
                    "binary": "/usr/bin/registry",
                    "config_file": "/etc/registry.yml",
                    "url": "http://127.0.0.1:5000",
                    "service": {"kind": "process", "name": "registry"},
                }
                for host in nodes
            ],
        }
        for name, nodes in (registries or {}).items()
    }
    return site_model().model_validate({"version": 1, "hosts": described, "registries": found})


SITE = site_of(
    {
        "main": {"role": "server"},
        "proxy2": {"role": "content-proxy", "zone": "eu"},
        "proxy1": {"role": "content-proxy", "zone": "us"},
        "mirror": {"zone": "us"},
    },
    {"hub": ["main", "proxy1"], "edge": ["mirror"]},
)


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("proxy1", "proxy1"),
        ("proxy*", "proxy2 proxy1"),
        ("proxy1,proxy2,proxy1", "proxy2 proxy1"),
        ("all", "main proxy2 proxy1 mirror"),
        ("*", "main proxy2 proxy1 mirror"),
        ("local", "main"),
        ("role=content-proxy", "proxy2 proxy1"),
        ("role=*", "main proxy2 proxy1"),
        ("zone=us & role=content-proxy", "proxy1"),
        ("all&!role=content-proxy", "main mirror"),
        ("all!proxy1", "main proxy2 mirror"),
        ("role=content-proxy!zone=us, local", "main proxy2"),
        ("registry=hub", "main proxy1"),
        ("registry=*&!main", "proxy1 mirror"),
        ("proxy[2-9]", "proxy2"),
    ],
)
def test_a_pattern_means(pattern: str, hosts: str) -> None:
    assert select(SITE, pattern) == tuple(hosts.split())


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("proxi1", "no host 'proxi1'", "did you mean 'proxy1'?"),
        ("all,proxi1", "no host 'proxi1'", "did you mean 'proxy1'?"),
        ("all&!proxi1", "no host 'proxi1'", "did you mean 'proxy1'?"),
        ("locl", "no host 'locl'", "did you mean 'local'?"),
        ("node*", "no host that matches 'node*'", "main, proxy2, proxy1, mirror"),
        ("rolle=server", "has a label 'rolle'", "did you mean 'role'?"),
        ("role=content-prox", "has the label role=content-prox", "did you mean 'content-proxy'?"),
        ("registry=hubb", "no registry 'hubb'", "did you mean 'hub'?"),
        ("main&proxy1", "no host of the site is meant", "host list"),
        ("!proxy1", "says only which hosts are not meant", "all&!proxy1"),
        ("main,!proxy1", "says only which hosts are not meant", "all&!proxy1"),
        ("", "is empty", "NAME"),
        ("main,", "is empty", "NAME"),
        ("main&&proxy1", "is empty", "NAME"),
        ("&main", "is empty", "NAME"),
        ("role=", "is empty", "NAME"),
        ("=server", "is empty", "NAME"),
    ],
)
def test_a_mistake_is_told(pattern: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        select(SITE, pattern)
    assert message in error.value.message
    assert hint in error.value.hint


def test_a_host_called_all_is_meant_by_its_name() -> None:
    assert select(site_of({"all": {}, "other": {}}), "all") == ("all",)


def test_there_may_be_no_local_host() -> None:
    far = SITE.model_copy(update={"hosts": {"proxy1": SITE.hosts["proxy1"]}})
    with pytest.raises(UsageError, match="no local host"):
        select(far, "local")


NAMES = st.lists(st.from_regex(r"[ab][ab12]{0,2}", fullmatch=True), min_size=1, max_size=6, unique=True)
LABELS = st.dictionaries(st.sampled_from(["role", "zone"]), st.sampled_from(["x", "y", "xy"]), max_size=2)


@st.composite
def sites(draw: st.DrawFn) -> Site:
    """Sites of few hosts with few labels."""
    return site_of({name: draw(LABELS) for name in draw(NAMES)})


TERMS = st.one_of(
    st.sampled_from(["all", "local"]),
    st.from_regex(r"[ab*?][ab12*?]{0,2}", fullmatch=True),
    st.tuples(st.sampled_from(["role", "zone"]), st.sampled_from(["x", "y", "*", "x*"])).map("=".join),
)
ALTERNATIVES = st.tuples(TERMS, st.lists(st.tuples(st.sampled_from(["&", "&!", "!"]), TERMS), max_size=3))


def holds(site: Site, name: str, term: str) -> bool:
    """Whether one host is meant by one term, said as plainly as can be."""
    key, equals, value = term.partition("=")
    if equals:
        return key in site.hosts[name].labels and fnmatchcase(site.hosts[name].labels[key], value)
    if term in ("all", "local"):
        return term == "all" or site.hosts[name].connection == "local"
    return fnmatchcase(name, term)


@given(sites(), st.lists(ALTERNATIVES, min_size=1, max_size=3))
def test_it_is_set_arithmetic(site: Site, alternatives: list[tuple[str, list[tuple[str, str]]]]) -> None:
    pattern = ",".join(first + "".join(sign + term for sign, term in rest) for first, rest in alternatives)
    wanted = tuple(
        name
        for name in site.hosts
        if any(
            holds(site, name, first) and all(holds(site, name, term) == (sign == "&") for sign, term in rest)
            for first, rest in alternatives
        )
    )
    try:
        found = select(site, pattern)
    except UsageError:
        named = [term for first, rest in alternatives for term in (first, *(one for _, one in rest))]
        unknown = [term for term in named if not any(holds(site, name, term) for name in site.hosts)]
        assert unknown or not wanted, "only what names nothing is refused"
    else:
        assert found == wanted


@given(sites(), st.text(alphabet="ab12,&!=*?[] role", max_size=20) | st.text(max_size=12))
def test_any_text_is_a_choice_or_a_mistake_that_is_told(site: Site, pattern: str) -> None:
    try:
        found = select(site, pattern)
    except UsageError as error:
        assert error.hint  # noqa: PT017 - what the operator reads
    else:
        assert found == tuple(name for name in site.hosts if name in found)
        assert re.search(r"\S", pattern)
