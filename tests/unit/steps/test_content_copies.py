"""Steps about copies of rows: what the program over there answers decides, and a refusal is told as it is."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ctl.config.pulp import ContentWork, PulpNode
from ctl.errors import CommandFailedError, Outcome, RefusedError, RegctlError
from ctl.hosts.base import Command
from ctl.recipes.model import Problem, Target
from ctl.report.model import Table
from ctl.steps.content_copies import ROOM, copies_report, copy_name
from ctl.steps.content_survey import HostSurvey
from ctl.steps.demand_pulp import DemandQuietPulp
from ctl.steps.keep_content import ForgetCopy, KeepContent
from ctl.steps.restore_content import RestoreContent
from ctl.testing import MemoryHost, MemoryRun, MemoryWorld
from ctl.testing.hosts import Script

LOOK = {
    "folder": "/var/lib/pulp/regctl-content",
    "free": 10 * ROOM,
    "writable": True,
    "rows": 9,
    "needed": ROOM,
}
HEADER = {"made_at": "2026-01-01T00:00:00Z", "versions": {"container": "2.24.15"}}


class Pulp:
    """A host whose Pulp answers what the test says, by what it is asked."""

    def __init__(self, *, run: str = "") -> None:
        self.answers: dict[str, dict[str, Any]] = {
            "look": {"regctl": "keep", "cleanups": 0, "relinkable": 0, **LOOK},
        }
        self.code, self.asked = 0, list[dict[str, Any]]()
        node = PulpNode(
            host="here", role="server", manager="/m/pulpcore-manager", settings_file="/s", user="pulp"
        )
        pulp = SimpleNamespace(nodes=(node,), content=ContentWork(keep_folder="/kept"))
        host = MemoryHost("here", {"/m/pulpcore-manager": self._manager})
        host.processes = lambda: []  # type: ignore[method-assign]
        site = SimpleNamespace(pulps={"katello": pulp}, registries={})
        self.target = Target(MemoryWorld(site, hosts={"here": host}), MemoryRun(id=run))

    def _manager(self, command: Command) -> Script:
        assert isinstance(command.stdin, bytes)
        assert command.env["PULP_SETTINGS"] == "/s"
        head = command.stdin.decode().partition("\n")[0]
        request = json.loads(json.loads(head.partition("loads(")[2].rpartition(")")[0]))
        self.asked.append(request)
        assert request["folder"] == "/kept"
        said = self.answers.get(request["action"], {})
        return Script(self.code, b"a line of Pulp's own\n" + json.dumps(said).encode() + b"\n", b"Oops: no\n")


def problems(step: Any, pulp: Pulp) -> list[Problem]:
    return list(step.check(pulp.target))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"free": ROOM}, ["has 64.0 MiB free, and a copy of rows may take 128.0 MiB"]),
        ({"writable": False}, ["cannot be written by Pulp's user"]),
        ({"rows": 0, "writable": False, "free": 0}, []),
        ({"relinkable": 3}, ["3 manifests have lost"]),
    ],
)
def test_room_is_looked_for_before_anything_is_changed(change: dict[str, Any], words: list[str]) -> None:
    pulp = Pulp()
    pulp.answers["look"] |= change
    found = problems(KeepContent(pulp="katello", host_name="here"), pulp)
    assert [word in one.message for one, word in zip(found, words, strict=True)] == [True] * len(words)
    assert [one.blocking for one in found] == ["relinkable" not in change] * len(words)
    known = HostSurvey("here", "server", kept={**LOOK, **change}, relinkable=change.get("relinkable", 0))
    step = KeepContent(pulp="katello", host_name="here").surveyed(known)
    asked = len(pulp.asked)
    assert problems(step, pulp) == found
    assert len(pulp.asked) == asked  # what is known is not asked again
    assert step == KeepContent(pulp="katello", host_name="here")


@pytest.mark.parametrize(
    ("change", "names", "blocking"),
    [
        ({}, [], []),
        ({"cleanups": 1}, ["orphan-cleanup"], [True]),
        ({"relinkable": 2}, ["relinkable"], [True]),
        ({"free": 0}, ["space"], [True]),
    ],
)
def test_a_quiet_host_is_demanded(change: dict[str, Any], names: list[str], blocking: list[bool]) -> None:
    pulp = Pulp()
    pulp.answers["look"] |= change
    found = problems(DemandQuietPulp(pulp="katello", host_name="here"), pulp)
    assert ([one.name for one in found], [one.blocking for one in found]) == (names, blocking)
    mild = problems(DemandQuietPulp(pulp="katello", host_name="here", strict=False), pulp)
    assert [one.blocking for one in mild] == [one and names != ["relinkable"] for one in blocking]


def test_a_copy_is_named_after_its_run() -> None:
    pulp = Pulp(run="20260101T000000Z-content-prepare-ab12")
    pulp.answers["write"] = {
        "regctl": "keep",
        "rows": 9,
        "path": "/kept/x.jsonl.gz",
        "bytes": 700,
        "found": False,
    }
    report = KeepContent(pulp="katello", host_name="here").apply(pulp.target, {})
    assert (report.data["rows"], report.data["copy"]) == (9, "20260101T000000Z-content-prepare-ab12")
    assert pulp.asked[-1]["name"] == "20260101T000000Z-content-prepare-ab12"
    assert copy_name("a/b c") == "a_b_c"
    pulp.answers["write"]["rows"] = 0
    assert KeepContent(pulp="katello", host_name="here").apply(pulp.target, {}).not_applicable


def restoring(pulp: Pulp, **more: Any) -> RestoreContent:
    return RestoreContent(pulp="katello", host_name="here", name="one", **more)


@pytest.mark.parametrize(
    ("version", "counts", "partial", "blocked"),
    [
        ("2.24.15", {"restorable": 5, "as-before": 1, "gone": 2}, False, 0),
        ("2.24.15", {"restorable": 5, "file-missing": 1}, False, 1),
        ("2.24.15", {"restorable": 5, "file-missing": 1}, True, 0),
        ("2.26.19", {"restorable": 5}, False, 0),
        ("2.26.14", {"restorable": 5}, False, 1),
        ("2.27.14", {"restorable": 5}, True, 1),
        ("nonsense", {"restorable": 5}, False, 1),
    ],
)
def test_a_release_that_would_not_serve_it_and_a_part_of_it_are_refused(
    version: str, counts: dict[str, int], partial: bool, blocked: int
) -> None:
    pulp = Pulp()
    samples = {word: ["sha256:ab"] for word in counts}
    pulp.answers["compare"] = {"regctl": "restore", "counts": counts, "samples": samples, "header": HEADER}
    pulp.answers["compare"]["installed"] = {"container": version}
    step = restoring(pulp, partial=partial)
    assert sum(one.blocking for one in problems(step, pulp)) == blocked
    preview = step.preview(pulp.target)
    assert (preview.changes, preview.data["counts"]) == (True, counts)
    assert len(pulp.asked) == 1


def test_what_was_not_finished_is_an_error_that_says_how_to_go_on() -> None:
    pulp = Pulp(run="r")
    answer = {"regctl": "restore", "done": 200, "left": 5, "counts": {}, "lost": {}, "stopped": True}
    pulp.answers["restore"] = answer
    with pytest.raises(RegctlError, match="5 rows are still to be brought back: it was told to stop"):
        restoring(pulp).apply(pulp.target, {})
    pulp.answers["restore"] = {**answer, "left": 0, "lost": {"file-missing": 3}}
    report = restoring(pulp, partial=True).apply(pulp.target, {})
    assert (report.data["restored"], len(report.warnings)) == (200, 1)


def test_a_refusal_over_there_is_a_refusal_here_and_no_answer_is_an_error() -> None:
    pulp = Pulp(run="r")
    pulp.answers["restore"] = {"regctl": "refused", "message": "the copy is damaged", "hint": "take another"}
    pulp.code = 3
    with pytest.raises(RefusedError, match="katello on here: the copy is damaged") as caught:
        restoring(pulp).apply(pulp.target, {})
    assert caught.value.hint == "take another"
    pulp.answers["restore"] = {}
    with pytest.raises(CommandFailedError, match="Oops: no"):
        restoring(pulp).apply(pulp.target, {})


def test_a_copy_is_forgotten_once() -> None:
    pulp = Pulp()
    pulp.answers["list"] = {"regctl": "keep", "folder": "/kept", "copies": [{"name": "one"}]}
    assert problems(ForgetCopy(pulp="katello", host_name="here", name="one"), pulp) == []
    (problem,) = problems(ForgetCopy(pulp="katello", host_name="here", name="two"), pulp)
    assert "has no copy 'two'" in problem.message
    pulp.answers["forget"] = {"regctl": "keep", "path": "/kept/one", "bytes": None}
    assert not ForgetCopy(pulp="katello", host_name="here", name="one").apply(pulp.target, {}).changed
    (problem,) = ForgetCopy(pulp="katello", host_name="here", name="one").verify(pulp.target)
    assert problem.blocking


def test_all_hosts_stand_in_the_list_of_copies() -> None:
    whole = {"name": "one", "path": "/p", "bytes": 700, "damaged": "", "rows": 9, **HEADER}
    broken = {"name": "two", "path": "/p", "bytes": 7, "damaged": "its rows are not as they were written"}
    listed = {"folder": "/kept", "copies": [whole]}
    assert copies_report("katello", [("a", listed)]).outcome is Outcome.OK
    found = copies_report("katello", [("a", {**listed, "copies": [whole, broken]})])
    (table,) = found.blocks
    assert isinstance(table, Table)
    assert (found.outcome, [row[-1] for row in table.rows]) == (Outcome.WARNING, ["whole", "damaged"])
    assert copies_report("katello", [("a", listed), ("b", "no route")]).outcome is Outcome.UNREACHABLE
