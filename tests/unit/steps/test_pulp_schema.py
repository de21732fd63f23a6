"""What keeps a Pulp's schema from being migrated, as its database, its API and its host tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ctl.config.pulp import PulpRegistry
from ctl.engines.pulp_migrations import LiveService
from ctl.errors import Outcome, RegctlError, UnreachableError
from ctl.hosts.base import ProcessInfo
from ctl.steps.pulp_schema import HostSchema, already_migrating, api_answers, busy, few, problems

INSTALLED = {"core": "3.73.47", "container": "2.24.15"}
OLD = {"core": "3.49.72", "container": "2.18.1"}
PENDING = HostSchema(
    "katello",
    "a",
    INSTALLED,
    {"core": "0117_task_unblocked_at", "container": "0037_x"},
    pending=("core.0118_x",),
    code=1,
)
NODE = {
    "host": "a",
    "role": "server",
    "manager": "/usr/bin/pulpcore-manager",
    "settings_file": "/etc/pulp/settings.py",
    "url": "http://a.example.com",
}


class FakeWorld:
    """One Pulp on one host."""

    def __init__(self, answer: Any = None, processes: Mapping[int, tuple[str, bytes]] | None = None) -> None:
        self.answer, self.found = answer, processes or {}

    def pulp(self, name: str) -> PulpRegistry:
        return PulpRegistry.model_validate({"engine": "pulp", "nodes": [NODE]})

    def pulp_client(self, pulp: str, host: str) -> Any:
        def status() -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return SimpleNamespace(status=status)

    def host(self, name: str) -> Any:
        def read(path: str) -> bytes:
            return self.found[int(path.split("/")[2])][1]

        made = [
            ProcessInfo(pid, 1, "boot", "pulp", tuple(line.split())) for pid, (line, _) in self.found.items()
        ]
        return SimpleNamespace(processes=lambda: made, read=read)


def status(versions: Mapping[str, str], **online: Mapping[str, str]) -> dict[str, Any]:
    apps = {
        f"online_{kind}": [{"name": f"1@{kind}", "versions": dict(seen)}] for kind, seen in online.items()
    }
    components = [{"component": part, "version": one} for part, one in versions.items()]
    return {"versions": components, "database_connection": {"connected": True}, **apps}


def messages(found: Any) -> list[str]:
    return [problem.message for problem in found]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status(INSTALLED), []),
        (UnreachableError("down"), []),
        (status(OLD), ["http://a.example.com is up and runs container 2.18.1, core 3.49.72"]),
        (status(INSTALLED, workers=OLD), ["1@workers is up and runs container 2.18.1"]),
        (RegctlError("answers HTTP 500"), ["its API is up, and cannot say what it runs: answers HTTP 500"]),
    ],
)
def test_what_the_api_tells_of_itself(answer: Any, words: list[str]) -> None:
    found = messages(api_answers(FakeWorld(answer), PENDING))  # type: ignore[arg-type]
    assert len(found) == len(words)
    assert all(word in one for word, one in zip(words, found, strict=True))


def test_where_nothing_is_pending_nobody_asks_who_lives() -> None:
    ready = replace(PENDING, pending=(), code=0, services=(LiveService("api", "1@a", OLD),))
    assert list(busy(ready)) == []
    assert list(api_answers(FakeWorld(status(OLD)), ready)) == []  # type: ignore[arg-type]


def test_who_lives_and_is_not_what_is_installed_is_named_with_when_it_is_forgotten() -> None:
    living = replace(
        PENDING,
        services=(LiveService("worker", "77@old", OLD, 12.0), LiveService("api", "1@new", INSTALLED)),
    )
    [problem] = busy(living)
    assert "the worker 77@old lives and runs container 2.18.1, core 3.49.72" in problem.message
    assert "installed is container 2.24.15, core 3.73.47" in problem.message
    assert "this one in 12 s" in problem.hint


def test_preparing_and_not_knowing_who_lives_keep_it_from_beginning() -> None:
    [preparing] = busy(replace(PENDING, preparing=True))
    assert preparing.outcome is Outcome.LOCKED
    [migrating] = busy(replace(PENDING, migrating=1))
    assert migrating.outcome is Outcome.LOCKED
    [silent] = busy(replace(PENDING, silent="LookupError: core"))
    assert "nobody can tell which of its services live" in silent.message


def test_a_schema_that_newer_code_has_migrated_is_refused() -> None:
    [problem] = problems(replace(PENDING, newer=("core.0145_domainize",)))
    assert "was migrated by a newer Pulp than what is installed: core.0145_domainize" in problem.message


def test_a_judgement_that_contradicts_its_plan_is_believed_by_nobody() -> None:
    """An exit code of 1 with nothing pending is no "pending"; 0 with something pending is no "done"."""
    assert list(problems(PENDING)) == []
    for wrong in (replace(PENDING, code=0), replace(PENDING, pending=())):
        [problem] = problems(wrong)
        assert "they contradict each other" in problem.message
    assert replace(PENDING, pending=()).up_to_date is False
    assert replace(PENDING, code=None).up_to_date is None


def test_a_migration_that_is_at_work_is_told_by_its_settings() -> None:
    manager = "python3.11 /usr/bin/pulpcore-manager"
    ours, other = b"A=1\0PULP_SETTINGS=/etc/pulp/settings.py\0", b"PULP_SETTINGS=/srv/other.py\0"
    processes = {
        10: (f"{manager} migrate --noinput", ours),
        11: (f"{manager} migrate --noinput", other),
        12: (f"{manager} migrate --check", ours),
        13: (f"{manager} shell", ours),
        14: (f"{manager} migrate", b"HOME=/"),  # the default is the same file
    }
    node = FakeWorld().pulp("katello").nodes[0]
    found = list(already_migrating(FakeWorld(None, processes), node))  # type: ignore[arg-type]
    assert [one.message for one in found] == [
        "a: somebody migrates already (process 10)",
        "a: somebody migrates already (process 14)",
    ]
    assert {one.outcome for one in found} == {Outcome.LOCKED}


def test_few_are_named() -> None:
    assert few(["a", "b"]) == "a, b"
    assert few([*"abcdefgh"], 3) == "a, b, c and 5 more"
