"""A node is taken out by the site's commands, and put back only once it answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ctl.config.rolling import Drain
from ctl.errors import RegctlError
from ctl.hosts.base import Command
from ctl.steps import out_of_rotation
from ctl.steps.out_of_rotation import OutOfRotation
from ctl.testing import Script
from tests.support.memory_node import Node

STEP = OutOfRotation(registry="main", node="here")


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_rotation, "READY", timedelta(0))


class Drained(Node):
    """A node with a drain, whose calls are kept."""

    def __init__(self, state_dir: str, *, running: bool = True, exit_code: int = 0) -> None:
        super().__init__(state_dir, running=running)
        self.calls: list[tuple[str, ...]] = []
        self.exit_code = exit_code
        self.host.programs["pool"] = self._pool
        drain = Drain.model_validate({"out": ["pool", "out"], "in": ["pool", "in"]})
        node = self.world.site.registries["main"].nodes[0].model_copy(update={"drain": drain})
        described = self.world.site.registries["main"].model_copy(update={"nodes": (node,)})
        self.world.site = self.world.site.model_copy(update={"registries": {"main": described}})

    def _pool(self, command: Command) -> Script:
        self.calls.append(command.argv)
        return Script(self.exit_code, b"", b"no such pool\n" if self.exit_code else b"")


def test_out_and_in(tmp_path: Any) -> None:
    node = Drained(str(tmp_path))
    assert list(STEP.check(node.target())) == []
    before = STEP.observe(node.target())
    STEP.apply(node.target(), before)
    STEP.leave(node.target(), before)
    assert node.calls == [("pool", "out"), ("pool", "in")]


def test_one_that_does_not_answer_is_never_put_back(tmp_path: Any) -> None:
    node = Drained(str(tmp_path))
    before = STEP.observe(node.target())
    STEP.apply(node.target(), before)
    node.service.stop(timedelta(0))
    with pytest.raises(RegctlError, match="stays out of rotation"):
        STEP.leave(node.target(), before)
    assert node.calls == [("pool", "out")]
    node.service.start()
    STEP.leave(node.target(), before)
    assert node.calls[-1] == ("pool", "in")


def test_one_that_did_not_serve_is_neither_taken_out_nor_put_in(tmp_path: Any) -> None:
    node = Drained(str(tmp_path), running=False)
    before = STEP.observe(node.target())
    assert STEP.apply(node.target(), before).not_applicable
    STEP.leave(node.target(), before)
    assert node.calls == []


def test_a_command_that_fails_is_told_with_its_words(tmp_path: Any) -> None:
    node = Drained(str(tmp_path), exit_code=3)
    with pytest.raises(RegctlError, match="could not be taken out of rotation: pool on here ended with") as e:
        STEP.apply(node.target(), STEP.observe(node.target()))
    assert e.value.details == ("no such pool",)


def test_a_site_without_a_drain_is_refused(tmp_path: Any) -> None:
    problems = list(STEP.check(Node(str(tmp_path)).target()))
    assert [one.message for one in problems] == ["the site says no `drain` for main/here"]
