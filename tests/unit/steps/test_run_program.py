"""A program on a host: begun once, found again, and never called done or failed where nobody knows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from ctl.errors import (
    BrokenConnectionError,
    CommandFailedError,
    RefusedError,
    UnknownEffectError,
    UnreachableError,
)
from ctl.hosts.base import Command, JobTail
from ctl.recipes.model import Target
from ctl.steps import job_following
from ctl.steps.run_program import RunProgram, shown
from ctl.testing import MemoryHost, MemoryRun, MemoryWorld
from ctl.testing.hosts import FOREVER, Script
from tests.unit.fleet.test_select import site_of


class Breaking(MemoryHost):
    """A host whose connection breaks: before or after what was asked was done."""

    breaks: list[str]
    begun = 0

    def run_job(self, command: Command, job_id: str, patience: timedelta, tail: int) -> JobTail:
        how = self.breaks.pop(0) if self.breaks else ""
        if how == "away":
            raise UnreachableError("cannot reach it")
        if how == "before":
            raise BrokenConnectionError("it broke")
        if how == "claims":
            self.claim_only(job_id)
            raise BrokenConnectionError("it broke")
        found = super().run_job(command, job_id, patience, tail)
        if how == "after":
            raise BrokenConnectionError("it broke")
        return found


class Here:
    """One host called main, one run."""

    def __init__(self, script: Script, *breaks: str) -> None:
        self.calls = 0
        self.inputs: list[str] = []
        self.host = Breaking("main", {"work": self._program})
        self.host.breaks = list(breaks)
        self.script = script
        self.run = MemoryRun(step="RunProgram")
        self.world = MemoryWorld(
            site_of({"main": {}}), hosts={"main": self.host}, secrets={"file:/s": "hunter2"}
        )
        self.target = Target(self.world, self.run)

    def _program(self, command: Command) -> Script:
        self.calls += 1
        self.inputs.append("" if isinstance(command.stdin, bytes) else command.stdin.reveal())
        return self.script

    def step(self, **arguments: object) -> RunProgram:
        return RunProgram.model_validate({"host_name": "main", "argv": ("work", "a b"), **arguments})

    def apply(self, **arguments: object) -> dict[str, object]:
        report = self.step(**arguments).apply(self.target, {})
        return dict(report.data)

    @property
    def job(self) -> str:
        return str(self.run.facts["RunProgram"]["job"])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_following, "_RETRY", (0.001, 0.01))
    monkeypatch.setattr(job_following, "GRACE", timedelta(seconds=0.1))
    monkeypatch.setattr(job_following, "BEGINNING", 0.05)


def test_what_it_printed_and_its_exit_code_are_its_figures() -> None:
    here = Here(Script(0, b"out\n", b"err\n"))
    data = here.apply()
    assert (data["exit_code"], data["stdout"], data["stderr"]) == (0, "out\n", "err\n")
    assert (data["stdout_bytes"], data["rest"], data["unknown"]) == (4, "", "")
    assert here.host.job(here.job).state == "absent"  # read to its end, so its files are gone


def test_an_exit_code_that_is_not_zero_is_a_failure_with_the_last_words() -> None:
    with pytest.raises(CommandFailedError, match="exit code 3") as error:
        Here(Script(3, b"", b"1\n2\n3\n4\n5\n6\n")).apply()
    assert error.value.details == ("2", "3", "4", "5", "6")
    assert error.value.figures["exit_code"] == 3
    assert not isinstance(error.value, UnknownEffectError)


def test_the_id_is_journaled_before_anything_is_begun() -> None:
    here = Here(Script(0), "before", "before")

    def note(**facts: object) -> None:
        assert here.calls == 0
        MemoryRun.note(here.run, **facts)  # type: ignore[arg-type]
        here.run.note = lambda **more: MemoryRun.note(here.run, **more)  # type: ignore[method-assign]

    here.run.note = note  # type: ignore[method-assign]
    here.apply()
    assert here.calls == 1


@pytest.mark.parametrize(
    "breaks", [("before",), ("after",), ("after", "before", "after"), ("before", "away")]
)
def test_a_break_is_bridged_and_nothing_is_begun_twice(breaks: tuple[str, ...]) -> None:
    here = Here(Script(0, b"once\n"), *breaks)
    assert here.apply()["stdout"] == "once\n"
    assert here.calls == 1


def test_a_host_that_never_answered_is_unreachable_and_nothing_was_begun() -> None:
    here = Here(Script(0), "away")
    with pytest.raises(UnreachableError):
        here.apply()
    assert here.calls == 0


def test_a_host_that_stays_away_leaves_the_end_unknown_and_its_files_there() -> None:
    here = Here(Script(0), "after", *["away"] * 10_000)
    with pytest.raises(UnknownEffectError, match="out of reach") as error:
        here.apply(reconnect_seconds=0.05)
    assert str(error.value.figures["rest"]).endswith(f"/jobs/{here.job}")
    assert "ended" not in here.run.facts["RunProgram"]
    here.host.breaks = []
    again = Here(Script(0))
    again.host = here.host
    again.world.hosts["main"] = here.host
    assert again.apply(earlier=here.job)["exit_code"] == 0  # another run takes the end that it finds
    assert (here.calls, again.calls) == (1, 0)


def test_what_an_earlier_run_never_began_is_begun() -> None:
    here = Here(Script(0, b"new\n"))
    assert here.apply(earlier="never-there")["stdout"] == "new\n"
    assert here.calls == 1


def test_after_a_kill_the_same_job_is_followed() -> None:
    here = Here(Script(0, b"slow\n", seconds=0.2))
    here.run.note(job="the-job", began=0.0)
    here.host.start(Command(("work", "a b")), "the-job")
    assert here.step().probe(here.target, {}) == "partial"
    here.run.facts["RunProgram"]["began"] = job_following.Following.clock()
    assert here.apply()["stdout"] == "slow\n"
    assert here.calls == 1


def test_after_a_kill_a_journaled_end_is_not_asked_for_again() -> None:
    here = Here(Script(0))
    figures = here.apply()
    assert dict(here.step().apply(here.target, {}).data) == figures
    assert here.calls == 1


@pytest.mark.parametrize("obeys", [True, False])
def test_what_its_time_limit_ended_is_unknown(obeys: bool) -> None:
    here = Here(Script(0, b"half\n", seconds=FOREVER, obeys_term=obeys))
    with pytest.raises(UnknownEffectError, match=r"did not end in 0\.1 s and was ended") as error:
        here.apply(timeout_seconds=0.1)
    assert error.value.figures["timed_out"] is True
    assert not list(here.host.processes())


def test_the_limit_counts_from_the_beginning_also_after_a_kill() -> None:
    here = Here(Script(0, seconds=FOREVER))
    here.run.note(job="the-job", began=job_following.Following.clock() - 100)
    here.host.start(Command(("work", "a b")), "the-job")
    with pytest.raises(UnknownEffectError, match="did not end in 60 s"):
        here.apply(timeout_seconds=60)


def test_the_time_of_what_was_journaled_and_never_begun_begins_with_it() -> None:
    here = Here(Script(0, b"done\n"))
    here.run.note(job="the-job", began=job_following.Following.clock() - 100)
    assert here.apply(timeout_seconds=60)["stdout"] == "done\n"
    assert here.calls == 1
    assert job_following.Following.clock() - float(str(here.run.facts["RunProgram"]["began"])) < 50


def test_what_was_killed_from_outside_is_unknown() -> None:
    here = Here(Script(0, seconds=FOREVER))
    here.run.note(job="the-job", began=job_following.Following.clock())
    here.host.start(Command(("work", "a b")), "the-job")
    here.host.lose("the-job")
    with pytest.raises(UnknownEffectError, match="left no exit code"):
        here.apply()


def test_what_was_claimed_and_never_seen_to_run_is_ended_and_unknown() -> None:
    here = Here(Script(0), "claims")
    with pytest.raises(UnknownEffectError, match="nothing says whether it ever began"):
        here.apply()
    assert here.calls == 0
    assert here.host.job(here.job).state == "lost"  # whoever claimed it cannot begin it any more


def test_an_id_of_another_command_is_refused() -> None:
    here = Here(Script(0))
    here.run.note(job="the-job", began=job_following.Following.clock())
    here.host.start(Command(("work", "another")), "the-job")
    with pytest.raises(RefusedError, match="another command"):
        here.apply()


def test_backing_out_ends_what_still_runs() -> None:
    here = Here(Script(0, seconds=FOREVER))
    here.run.note(job="the-job", began=0.0)
    here.host.start(Command(("work", "a b")), "the-job")
    here.step(goes_on=True).settle(here.target, {})
    assert here.host.job("the-job").state == "running"
    here.step().settle(here.target, {})
    assert not list(here.host.processes())


def test_a_secret_goes_to_stdin_and_is_not_shown() -> None:
    here = Here(Script(1, b"I got hunter2\n"))
    step = here.step(stdin_secret="file:/s")
    assert list(step.check(here.target)) == []
    with pytest.raises(CommandFailedError) as error:
        step.apply(here.target, {})
    assert here.inputs == ["hunter2"]
    told = (error.value, error.value.details, error.value.figures, here.run.facts, step.preview(here.target))
    assert "hunter2" not in str(told)
    assert error.value.figures["stdout"] == "I got ***\n"


@pytest.mark.parametrize("word", ["--password=x", "--db-password", "-token", "--client-secret=1"])
def test_an_argument_that_looks_like_a_secret_is_told_of(word: str) -> None:
    here = Here(Script(0))
    found = list(here.step(argv=("work", word)).check(here.target))
    assert [(problem.blocking, "stdin-secret" in problem.hint) for problem in found] == [(False, True)]


def test_of_much_output_the_last_is_shown_and_all_is_kept_there() -> None:
    here = Here(Script(0, b"x" * (job_following.SHOWN + 5) + b"end"))
    data = here.apply()
    assert str(data["stdout"]).endswith("xend")
    assert len(str(data["stdout"])) == job_following.SHOWN
    assert data["stdout_bytes"] == job_following.SHOWN + 8
    assert str(data["rest"]).endswith(here.job)
    assert here.host.job(here.job).state == "exited"


@pytest.mark.parametrize("argv", [(), ("",), ("a", "b\0c")])
def test_what_no_program_can_be_is_refused_at_once(argv: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        RunProgram(host_name="main", argv=argv)


def test_a_long_call_is_cut_off_where_it_is_shown() -> None:
    assert shown(("echo", "a b"), 60) == "echo 'a b'"
    assert shown(("echo", "x" * 100), 20) == "echo " + "x" * 12 + "..."
