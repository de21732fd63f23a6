"""What a host's answers to `content verify` come to, and what is shown of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ctl.config.pulp import PulpNode
from ctl.errors import Outcome
from ctl.probing import NoAnswer
from ctl.report.model import Table
from ctl.steps.verify_content import Verified, verified
from ctl.steps.verify_report import SHOWN, verify_report

NODE = PulpNode(host="proxy1", role="proxy", manager="/bin/m", settings_file="/etc/s")


def problem(digest: str = "sha256:1", **changes: Any) -> dict[str, Any]:
    return {
        "regctl": "problem",
        "digest": digest,
        "media_type": "application/vnd.oci.image.manifest.v1+json",
        "reason": "lost",
        "words": "",
        "file": "",
        "has_text": False,
        "repositories": [{"name": "apps", "kind": "pushed", "current": True}],
        "tags": ["apps:1"],
        **changes,
    }


def end(**changes: Any) -> dict[str, Any]:
    return {
        "regctl": "verify",
        "versions": {"core": "3.73.47", "container": "2.24.15"},
        "total": 10,
        "remaining": 0,
        "doable": 0,
        "untried": 0,
        "problems": 0,
        "cleanups": 0,
        **changes,
    }


def test_nothing_remains() -> None:
    found = verified(NODE, [end()])
    assert (found.proved, found.remaining, found.total, str(found.container)) == (True, 0, 10, "2.24.15")
    report = verify_report("katello", [found])
    assert report.outcome is Outcome.OK
    assert report.data["remaining"] == 0


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [problem()],  # cut off before its end
        [end(problems=2, remaining=2), problem()],
        [problem(), end(problems=2, remaining=2)],  # one was lost on the way
    ],
)
def test_an_answer_that_is_not_whole_proves_nothing(answers: list[dict[str, Any]]) -> None:
    found = verified(NODE, answers)
    assert (found.proved, found.unreachable) == (False, "its answer is not whole")
    assert verify_report("katello", [found]).outcome is Outcome.UNREACHABLE


def test_a_host_that_does_not_answer_is_no_success_of_the_others() -> None:
    away = verified(NODE, NoAnswer("no route"))
    report = verify_report("katello", [verified(NODE, [end()]), away])
    assert report.outcome is Outcome.UNREACHABLE
    hosts: Any = report.data["hosts"]
    assert [(one["result"], one["reason"]) for one in hosts] == [("ok", ""), ("unreachable", "no route")]


def test_before_2_20_nothing_can_be_proved() -> None:
    found = verified(NODE, [end(remaining=None, doable=None, untried=None)])
    assert not found.proved
    assert verify_report("katello", [found]).outcome is Outcome.WARNING


def test_broken_and_passed_over_are_told_apart_and_each_has_its_remedy() -> None:
    found = verified(
        NODE,
        [
            problem("sha256:1"),
            problem("sha256:2", reason="config-not-stored"),
            problem("sha256:3", reason="unlinked"),
            end(problems=3, remaining=4, doable=1),
        ],
    )
    assert (found.broken, found.skipped, found.doable) == (2, 1, 1)
    report = verify_report("katello", [found])
    assert report.outcome is Outcome.WARNING
    assert report.hints == ("regctl content repair katello", "regctl content prepare katello")
    hosts: Any = report.data["hosts"]
    assert [(one["state"], one["action"], one["served"]) for one in hosts[0]["problems"]] == [
        ("broken", "push-again", False),
        ("skipped", "push-again", True),
        ("broken", "relink", False),
    ]
    assert {"digest", "reason", "repositories", "tags", "remedy"} <= hosts[0]["problems"][0].keys()
    json.dumps(report.data)


def test_a_long_list_is_shortened_for_people_and_whole_for_scripts() -> None:
    many = [problem(f"sha256:{number}") for number in range(SHOWN + 30)]
    found = verified(NODE, [*many, end(problems=len(many), remaining=len(many))])
    report = verify_report("katello", [found])
    hosts: Any = report.data["hosts"]
    assert len(hosts[0]["problems"]) == SHOWN + 30
    tables = [block for block in report.blocks if isinstance(block, Table)]
    assert len(tables[-1].rows) == SHOWN
    assert any("and 30 more" in str(block) for block in report.blocks)


def test_what_was_not_tried_is_told() -> None:
    found = verified(NODE, [end(remaining=9, doable=9, untried=9)])
    report = verify_report("katello", [found])
    assert report.outcome is Outcome.WARNING
    assert any("9 were not tried" in str(block) for block in report.blocks)
    assert isinstance(found, Verified)
