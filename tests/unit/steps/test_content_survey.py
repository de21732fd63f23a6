"""What the hosts' answers to `content status` come to, and what is shown of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from packaging.version import Version

from ctl.config.models import site_model
from ctl.engines.pulp_releases import PRE_MIGRATIONS
from ctl.errors import Outcome, UsageError
from ctl.report.model import Text
from ctl.steps.content_report import by_when, status_report
from ctl.steps.content_survey import HostSurvey, survey
from ctl.testing import MemoryHost, MemoryWorld
from ctl.testing.hosts import Program, Script

NODE = {"manager": "/usr/bin/pulpcore-manager", "settings_file": "/etc/pulp/settings.py"}
SITE = site_model().model_validate(
    {
        "version": 1,
        "hosts": {"proxy1": {}, "katello": {}},
        "registries": {
            "katello": {
                "engine": "pulp",
                "nodes": [
                    {"host": "proxy1", "role": "proxy", **NODE},
                    {"host": "katello", "role": "server", **NODE},
                ],
            }
        },
    }
)
ANSWER = {
    "regctl": "survey",
    "versions": {"container": "2.24.15", "core": "3.73.47"},
    "mode": "chunks",
    "total": 1200,
    "remaining": 1000,
    "named": {"artifactless-manifests": 1000, "image-nature": 1000, "image-details": 1000},
    "hindered": {},
    "relinkable": 0,
    "cleanups": 0,
    "preparing": False,
    "pending": [],
    "history": "",
    "startup": 3.0,
    "seconds_each": 0.02,
    "kept": {},
    "cache": False,
}


def says(**changes: Any) -> Program:
    text = f"Pulp's own words\n{json.dumps({**ANSWER, **changes})}\n"
    return lambda command: Script(stdout=text.encode())


def look(**programs: Program) -> tuple[HostSurvey, ...]:
    hosts = {
        name: MemoryHost(name, {"/usr/bin/pulpcore-manager": program}) for name, program in programs.items()
    }
    return survey(MemoryWorld(SITE, hosts=hosts), "katello", tuple(programs))


def one(**changes: Any) -> HostSurvey:
    (found,) = look(katello=says(**changes))
    return found


def test_the_server_comes_first_and_one_that_fails_does_not_hide_the_other() -> None:
    error = b"Traceback\ndjango.db.utils.OperationalError: connection refused\n"
    found = look(proxy1=says(), katello=lambda command: Script(1, stderr=error))
    assert [(one.host, one.role) for one in found] == [("katello", "server"), ("proxy1", "proxy")]
    assert "connection refused" in found[0].unreachable
    assert (found[1].unreachable, found[1].doable, found[1].total) == ("", 1000, 1200)
    report = status_report("katello", found, 30)
    assert report.outcome is Outcome.UNREACHABLE


@pytest.mark.parametrize("output", [b"", b'{"regctl": "survey", "versions": {"cont', b"garbage\n"])
def test_an_answer_that_is_cut_off_is_no_answer(output: bytes) -> None:
    (found,) = look(katello=lambda command: Script(stdout=output))
    assert found.unreachable
    assert found.estimated_seconds is None


def test_a_host_that_the_pulp_has_not_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="no node on the host 'proxy9'"):
        survey(MemoryWorld(SITE), "katello", ("proxy9",))


def test_the_time_comes_from_what_was_measured_there() -> None:
    assert one().estimated_seconds == pytest.approx(3.0 + 1000 * 0.02, rel=1.0)
    assert one(seconds_each=0.04).estimated_seconds > one().estimated_seconds  # type: ignore[operator]
    assert one(remaining=0, named={}).estimated_seconds == 0.0
    assert one(seconds_each=None).estimated_seconds is None
    assert one(mode="none").estimated_seconds is None
    assert one(remaining=None).estimated_seconds is None


def test_what_cannot_be_done_is_not_counted_as_to_do() -> None:
    found = one(
        hindered={"lost": 3, "manifest-file-missing": 2, "config-not-stored": 4, "config-file-missing": 1}
    )
    assert (found.broken, found.skipped, found.doable) == (5, 5, 990)
    report = status_report("katello", [found], 30)
    assert report.outcome is Outcome.WARNING
    told = "\n".join(block.text for block in report.blocks if isinstance(block, Text))
    for reason in ("3 lost", "2 manifest-file-missing", "4 config-not-stored", "1 config-file-missing"):
        assert reason in told


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"remaining": 0}, "done"),
        ({"versions": {"container": "2.27.14"}}, "now: pulls of these fail"),
        ({"remaining": None, "versions": {"container": "2.19.1"}}, "after the upgrade to 2.20"),
        ({}, "before 2.25.0 to 2.26.14, or 2.27"),
        ({"versions": {"container": "2.26.19"}}, "before 2.25.0 to 2.26.14, or 2.27"),
    ],
)
def test_by_when_it_is_needed(changes: dict[str, Any], words: str) -> None:
    assert words in by_when(one(**changes))


def test_each_pre_migration_has_a_status_of_its_own() -> None:
    found = one(named={"artifactless-manifests": 0, "image-nature": 0, "image-details": 7}, remaining=7)
    report = status_report("katello", [found], 30)
    hosts: Any = report.data["hosts"]
    assert hosts[0]["pre_migrations"] == {
        "image-nature": 0,
        "artifactless-manifests": 0,
        "image-details": 7,
        "artifactless-config-blobs": None,
    }
    listed: Any = report.data["pre_migrations"]
    assert [named["name"] for named in listed] == [named.name for named in PRE_MIGRATIONS]


def test_the_exit_code_says_that_something_is_left_only_where_asked_for() -> None:
    left, done = one(), one(remaining=0, named={})
    assert (status_report("katello", [left], 30).outcome, status_report("katello", [left], 30).exit_code) == (
        Outcome.OK,
        None,
    )
    assert status_report("katello", [left], 30, detailed=True).exit_code == 4
    assert status_report("katello", [done], 30, detailed=True).outcome is Outcome.NOTHING_TO_DO


def test_a_version_that_is_none_is_unknown_and_no_crash() -> None:
    found = one(versions={"container": "not a version"})
    assert found.container is None
    status_report("katello", [found], 30)
    assert one().container == Version("2.24.15")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"relinkable": 4}, "regctl content repair"),
        ({"history": "a before b"}, "contradict each other"),
        ({"pending": ["container.0044_x"]}, "container.0044_x"),
        ({"preparing": True}, "is being prepared now"),
        ({"cleanups": 1}, "cleanup of orphans"),
        ({"mode": "none"}, "no command for old content"),
    ],
)
def test_what_an_operator_must_know_is_told(changes: dict[str, Any], words: str) -> None:
    report = status_report("katello", [one(**changes)], 30)
    assert words in "\n".join(block.text for block in report.blocks if isinstance(block, Text))
