"""One file on a host: written if it differs, as it should be to the byte and the bit, taken back exactly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ctl.errors import Outcome, RefusedError
from ctl.recipes.model import Before, Target
from ctl.report.model import Text
from ctl.steps.write_file import WriteFile
from ctl.testing import MemoryHost, MemoryRun, MemoryWorld
from tests.unit.fleet.test_select import site_of

PATH = "/etc/app/app.conf"
COPY = "/etc/app/.app.conf.regctl-before"


class Here:
    """One host with one folder, and the step."""

    def __init__(self, now: bytes | None = None, bits: int = 0o644, /, **arguments: object) -> None:
        self.host = MemoryHost("main")
        self.host.make_directory("/etc/app", mode=0o755)
        if now is not None:
            self.host.write(PATH, now, mode=bits)
        world = MemoryWorld(site_of({"main": {}}), hosts={"main": self.host}, secrets={"file:/s": "hunter2"})
        self.target = Target(world, MemoryRun())
        self.before_all = Target(world, MemoryRun(id=""))
        if "secret" not in arguments:
            arguments = {"content": "new\n", **arguments}
        self.step = WriteFile.model_validate({"host_name": "main", "path": PATH, **arguments})

    def problems(self) -> list[str]:
        return [problem.message for problem in self.step.check(self.before_all)]

    def apply(self) -> tuple[Before, bool]:
        assert self.problems() == []
        before = self.step.observe(self.target)
        report = self.step.apply(self.target, before)
        assert list(self.step.verify(self.target)) == []
        return before, report.changed

    def shown(self) -> str:
        return "\n".join(
            block.text for block in self.step.preview(self.target).blocks if isinstance(block, Text)
        )


def test_what_is_not_there_is_made_and_taken_away_again() -> None:
    here = Here(mode="0600")
    before, changed = here.apply()
    info = here.host.stat(PATH)
    assert changed
    assert here.host.read(PATH) == b"new\n"
    assert info is not None
    assert info.mode == 0o600
    here.step.undo(here.target, before)
    here.step.undo(here.target, before)
    assert here.host.list_directory("/etc/app") == []


def test_what_was_there_is_kept_and_comes_back_with_its_mode() -> None:
    here = Here(b"old\n", 0o640)
    before, changed = here.apply()
    assert changed
    kept = here.host.stat(COPY)
    assert kept is not None
    assert (here.host.read(COPY), kept.mode) == (b"old\n", 0o600)
    here.step.undo(here.target, before)
    info = here.host.stat(PATH)
    assert info is not None
    assert (here.host.read(PATH), info.mode) == (b"old\n", 0o640)
    assert here.host.stat(COPY) is None


def test_what_is_right_is_left_alone() -> None:
    here = Here(b"new\n")
    assert not here.step.preview(here.target).changes
    assert here.apply()[1] is False
    wrong_mode = Here(b"new\n", 0o600)
    assert "mode 0600, wanted 0644" in wrong_mode.shown()
    assert wrong_mode.apply()[1] is True
    assert wrong_mode.host.stat(COPY) is None  # the bytes are the same: nothing to keep


def test_a_crash_at_any_point_is_gone_on_from() -> None:
    here = Here(b"old\n")
    before = here.step.observe(here.target)
    assert here.step.probe(here.target, before) == "pending"
    here.host.write(COPY, b"old\n", mode=0o600)  # killed after the copy
    assert here.step.probe(here.target, before) == "pending"
    here.step.apply(here.target, before)
    assert here.step.probe(here.target, before) == "done"
    here.step.apply(here.target, before)  # killed after the write, before it was journaled
    assert here.host.read(COPY) == b"old\n"
    here.step.undo(here.target, before)
    assert here.host.read(PATH) == b"old\n"


def test_what_somebody_else_wrote_meanwhile_stays() -> None:
    here = Here(b"old\n")
    before = here.step.observe(here.target)
    here.host.write(PATH, b"theirs\n", mode=0o644)
    assert here.step.probe(here.target, before) == "unknown"
    with pytest.raises(RefusedError, match="changed since"):
        here.step.apply(here.target, before)
    with pytest.raises(RefusedError, match="left as it is"):
        here.step.undo(here.target, before)
    assert here.host.read(PATH) == b"theirs\n"


def test_without_a_whole_copy_nothing_is_taken_back() -> None:
    here = Here(b"old\n")
    before, _ = here.apply()
    here.host.write(COPY, b"damaged\n", mode=0o600)
    with pytest.raises(RefusedError, match="is not the file that was"):
        here.step.undo(here.target, before)
    assert here.host.read(PATH) == b"new\n"


def test_a_difference_is_shown_without_what_looks_like_a_secret() -> None:
    old = b"port: 1\npassword: hunter1\ntoken=abc\n"
    here = Here(old, content="port: 2\npassword: hunter2\ntoken=abc\n")
    shown = here.shown()
    assert "-port: 1\n" in shown
    assert "+port: 2\n" in shown
    assert "-password *** (1)" in shown
    assert "+password *** (3)" in shown
    assert " token *** (2)" in shown
    assert "hunter" not in shown
    assert "abc" not in shown


def test_a_secret_only_says_whether_it_differs() -> None:
    here = Here(b"hunter1", 0o600, secret="file:/s", mode="0600")
    preview = here.step.preview(here.target)
    before, changed = here.apply()
    assert changed
    assert here.host.read(PATH) == b"hunter2"
    assert "hunter" not in f"{preview} {before} {here.step!r} {here.step.model_dump()}"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda host: host.make_directory(PATH, mode=0o755), "is a directory"),
        (lambda host: host.write(PATH, b"x" * (4 * 2**20 + 1), mode=0o644), "longer than 4 MiB"),
    ],
)
def test_what_cannot_be_replaced_is_told_before(make: Any, said: str) -> None:
    here = Here()
    make(here.host)
    assert [said in text for text in here.problems()] == [True]
    with pytest.raises(RefusedError):
        here.step.observe(here.target)  # what came to be so after the checks


def test_a_folder_that_is_missing_and_a_secret_that_is_missing_are_told_before() -> None:
    assert "is not a folder" in Here(path="/no/app.conf").problems()[0]
    here = Here(secret="file:/missing", mode="0600")
    assert [problem.outcome for problem in here.step.check(here.before_all)] == [Outcome.USAGE]


@pytest.mark.parametrize(
    "arguments",
    [
        {"content": None},
        {"content": "x", "secret": "file:/s"},
        {"secret": "file:/s"},  # open to others by its default mode
        {"path": "relative"},
        {"path": "/a/../b"},
        {"path": "/a/"},
        {"mode": "644 "},
        {"mode": "0999"},
        {"mode": "4755"},
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(arguments: dict[str, object]) -> None:
    given = {
        "host_name": "main",
        "path": PATH,
        **({} if "secret" in arguments else {"content": "x"}),
        **arguments,
    }
    with pytest.raises(ValidationError):
        WriteFile.model_validate(given)


@given(
    st.one_of(st.none(), st.binary(max_size=40)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(["0600", "0644", "755"]),
)
def test_written_and_taken_back_is_as_it_was(old: bytes | None, new: str, mode: str) -> None:
    here = Here(old, 0o640, content=new, mode=mode)
    before, changed = here.apply()
    assert here.host.read(PATH) == new.encode()
    assert here.apply()[1] is False
    if changed:
        here.step.undo(here.target, before)
        assert (here.host.read(PATH) if here.host.stat(PATH) else None) == old
