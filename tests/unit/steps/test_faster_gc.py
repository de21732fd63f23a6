"""A drain leaves a node's file and process as they were, wherever regctl is killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from packaging.version import Version

from ctl.engines.gitlab import Gitlab
from ctl.errors import RefusedError, RegctlError
from ctl.recipes.model import Before, Target
from ctl.steps.faster_gc import FasterGc
from ctl.steps.stopped import Stopped
from tests.support.memory_node import CONFIG, CONFIG_FILE, Crash, Node

STEP = FasterGc(registry="main", node="here", interval="200ms")
GC_CONFIG = CONFIG + b"database: {enabled: true, host: db, dbname: r, user: r, pool: {maxidle: 5}}\n"
OWN = GC_CONFIG + b"gc:\n  blobs: {interval: 10s}   # slow on purpose\n  maxbackoff: 1h\n"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctl.steps.read_only_node.SETTLE", 0.0)
    monkeypatch.setattr("ctl.steps.stopped.SETTLE", 0.0)


class GcNode(Node):
    """A node of GitLab's registry that remembers which text its process has loaded."""

    def __init__(self, config: bytes = GC_CONFIG, **options: Any) -> None:
        super().__init__("/state", config=config, **options)
        self.world.engines["main"] = Gitlab()
        self.world.versions["main", "here"] = Version("4.32.0")
        self.loaded = config if self.service.state().running else b""
        start = self.service.start

        def remember() -> None:
            start()
            self.loaded = self.config()

        self.service.start = remember  # type: ignore[method-assign]


def problems(node: GcNode) -> str:
    return "\n".join(problem.message for problem in STEP.check(node.target()) if problem.blocking)


@pytest.mark.parametrize("config", [GC_CONFIG, OWN], ids=["no section", "a section of its own"])
def test_within_it_the_process_has_short_intervals_and_afterwards_the_very_bytes(config: bytes) -> None:
    node = GcNode(config)
    before_all, here = node.standing(), node.target()
    assert problems(node) == ""
    before = STEP.observe(here)
    STEP.apply(here, before)
    gc = Gitlab().parse_config(node.loaded).data["gc"]
    assert gc["blobs"]["interval"] == gc["manifests"]["interval"] == "200ms"
    assert (gc["noidlebackoff"], gc["maxbackoff"]) == (True, "5m")
    STEP.leave(here, before)
    assert node.standing() == before_all
    assert node.loaded == config  # restarted on it


def test_killed_at_every_change_it_comes_back_to_what_it_was() -> None:
    kills = 0
    for entering in points():
        for leaving in points():
            node = GcNode()
            before_all, seen = node.standing(), dict(STEP.observe(node.target()))
            cut = killed(node, entering, STEP.apply, seen)
            again = killed(node, leaving, STEP.leave, seen)
            node.arm(0)
            STEP.leave(node.target(), seen)
            assert node.standing() == before_all, (entering, leaving)
            assert node.loaded == GC_CONFIG, (entering, leaving)
            kills += cut + again
            if not again and leaving[1]:
                break
    assert kills > 20


def points() -> list[tuple[int, bool]]:
    return [(number, after) for number in range(1, 9) for after in (False, True)]


def killed(
    node: GcNode, point: tuple[int, bool], doing: Callable[[Target, Before], object], seen: Before
) -> bool:
    node.arm(point[0], after=point[1])
    try:
        doing(node.target(), seen)
    except Crash:
        return True
    finally:
        node.arm(0)
    return False


def test_a_stopped_node_stays_stopped_and_its_file_as_it_is() -> None:
    node = GcNode(running=False)
    before_all, here = node.standing(), node.target()
    assert problems(node) == ""
    assert not STEP.preview(here).changes
    before = STEP.observe(here)
    report = STEP.apply(here, before)
    assert "stopped" in report.not_applicable
    STEP.leave(here, before)
    assert node.standing() == before_all


def test_a_file_that_somebody_edits_meanwhile_is_not_overwritten() -> None:
    node = GcNode()
    here = node.target()
    before = STEP.observe(here)
    STEP.apply(here, before)
    node.edit(GC_CONFIG + b"# mine\n")
    with pytest.raises(RefusedError, match="somebody has changed"):
        STEP.leave(here, before)
    assert node.config().endswith(b"# mine\n")
    assert node.host.read(before["kept"]) == GC_CONFIG


def test_a_node_that_does_not_come_up_is_brought_back() -> None:
    node = GcNode()
    before_all, here = node.standing(), node.target()
    before = STEP.observe(here)
    start, calls = node.service.start, []

    def once_failing() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RegctlError("the service ended at once")
        start()

    node.service.start = once_failing  # type: ignore[method-assign]
    with pytest.raises(RegctlError, match="and is as it was: the service ended at once"):
        STEP.apply(here, before)
    assert node.standing() == before_all


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (GC_CONFIG + b"gc: {disabled: true}\n", "online garbage collection is off"),
        (GC_CONFIG + b"gc: {blobs: {disabled: true}, manifests: {disabled: true}}\n", "is off"),
        (b"# managed by regctl 1 for registry main\nversion: 0.1\n", "was edited by hand"),
    ],
)
def test_what_stands_in_the_way_is_said(config: bytes, words: str) -> None:
    assert words in problems(GcNode(config))


def test_an_environment_that_overrides_the_section_stands_in_the_way() -> None:
    node = GcNode()
    node.set_environment({"REGISTRY_GC_BLOBS_INTERVAL": "10s"})
    assert "REGISTRY_GC_..." in problems(node)


def test_fault_06_a_stop_that_does_not_end_the_process_ends_the_run() -> None:
    node = GcNode()
    step = Stopped(registry="main", node="here")
    here = node.target()
    before = step.observe(here)

    def timed_out(grace: object) -> bool:
        return False  # as gitlab-ctl's stop after 30 s: nobody looked whether it helped

    node.service.stop = timed_out  # type: ignore[method-assign]
    with pytest.raises(RegctlError, match="runs"):
        step.apply(here, before)
    assert node.service.state().running
    assert node.host.read(CONFIG_FILE) == GC_CONFIG
