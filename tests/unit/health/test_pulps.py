"""The health checks of Pulps, on what is known of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from packaging.version import Version

from ctl.engines.pulp_status import read_status
from ctl.health.model import Looker, worst
from ctl.health.pulps import pulp_content, pulp_migrations, pulp_services
from ctl.steps.content_survey import HostSurvey
from ctl.steps.pulp_look import PulpNodeView, PulpView, ServiceView
from tests.unit.engines.test_pulp_status import status

RUNNING = ServiceView("pulpcore-api", "systemd", "running", "active (running)")


def looker(
    *hosts: HostSurvey, nodes: tuple[PulpNodeView, ...] = (), pulps: tuple[str, ...] = ("katello",)
) -> Looker:
    view = SimpleNamespace(pulps=(PulpView("katello", nodes),) if pulps else ())
    return cast(Looker, SimpleNamespace(pulps=pulps, surveys=dict.fromkeys(pulps, hosts), view=view))


def host(**changes: Any) -> HostSurvey:
    usual = {"container": Version("2.24.15"), "mode": "chunks", "total": 10, "remaining": 0}
    return HostSurvey("proxy1", "proxy", **{**usual, **changes})


@pytest.mark.parametrize(
    ("one", "word", "words"),
    [
        (host(), "ok", "all of its 10 manifests are prepared"),
        (host(remaining=4), "warned", "4 manifests are not prepared: needed before"),
        (host(remaining=4, container=Version("2.27.14")), "failed", "pulls of them fail"),
        (host(remaining=4, container=Version("2.26.19")), "warned", "needed before"),
        (host(remaining=2, hindered={"lost": 2}), "failed", "have lost what they are read from"),
        (host(remaining=2, hindered={"config-not-stored": 2}), "warned", "passed over"),
        (host(remaining=None), "not-applicable", "nothing to prepare yet"),
        (host(unreachable="no route"), "failed", "no route"),
    ],
)
def test_content(one: HostSurvey, word: str, words: str) -> None:
    (seen,) = pulp_content(looker(one))
    assert (seen.where, seen.word) == ("katello/proxy1", word)
    assert words in seen.message


@pytest.mark.parametrize(
    ("one", "word"),
    [
        (host(), "ok"),
        (host(pending=("container.0044_x",)), "failed"),
        (host(history="a before b"), "failed"),
        (host(unreachable="no route"), "failed"),
    ],
)
def test_migrations(one: HostSurvey, word: str) -> None:
    (seen,) = pulp_migrations(looker(one))
    assert seen.word == word


def test_services() -> None:
    well = PulpNodeView("katello", "server", "http://x", (RUNNING,), read_status(status()))
    nothing = PulpNodeView("proxy1", "proxy", None, (), None)
    stopped = PulpNodeView("proxy2", "proxy", None, (), None, ("pulpcore-api is stopped (inactive)",))
    found = list(pulp_services(looker(nodes=(well, nothing, stopped))))
    assert [(seen.where, seen.word) for seen in found] == [
        ("katello/katello", "ok"),
        ("katello/proxy1", "not-applicable"),
        ("katello/proxy2", "failed"),
    ]


@pytest.mark.parametrize(("cache", "word"), [(True, "failed"), (False, "ok")])
def test_redis_counts_only_where_the_cache_is_on(cache: bool, word: str) -> None:
    node = PulpNodeView("proxy1", "proxy", "http://x", (RUNNING,), read_status(status()))
    (seen,) = pulp_services(looker(host(cache=cache), nodes=(node,)))
    assert seen.word == word


def test_without_a_pulp_nothing_applies() -> None:
    for check in (pulp_services, pulp_content, pulp_migrations):
        assert worst(tuple(check(looker(pulps=())))) == "not-applicable"
