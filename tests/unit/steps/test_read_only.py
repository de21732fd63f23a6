"""A read-only window leaves a node exactly as it found it, wherever regctl is killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from ctl.config.ownership import seal
from ctl.engines.distribution import Distribution
from ctl.errors import Outcome, RefusedError, RegctlError
from ctl.recipes.model import Before, Scope, StepReport, Target
from ctl.steps import read_only_node
from ctl.steps.node_doors import sha256
from ctl.steps.read_only import ReadOnly
from ctl.steps.read_only_node import ReadOnlyNode
from ctl.steps.stopped import Stopped
from tests.support.memory_node import CLOSED, CONFIG, CONFIG_FILE, Crash, Node, refuse_to_run

STEP = ReadOnly(registry="main", node="here")
STOP = Stopped(registry="main", node="here")
STARTS: dict[str, dict[str, Any]] = {
    "running": {},
    "stopped": {"running": False},
    "read-only": {"config": CLOSED},
    "read-only-stopped": {"config": CLOSED, "running": False},
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_only_node, "SETTLE", 0.0)
    monkeypatch.setattr("ctl.steps.stopped.SETTLE", 0.0)


def blocking(step: Scope, node: Node) -> list[str]:
    return [p.message for p in step.check(node.target()) if p.blocking]


# -- the window ---------------------------------------------------------------------------------


def test_within_the_window_a_write_is_refused_and_afterwards_accepted() -> None:
    node = Node("/state")
    before_all, here = node.standing(), node.target()
    assert list(STEP.check(here)) == []
    before = STEP.observe(here)
    report = STEP.apply(here, before)
    assert report.changed
    assert node.registry.read_only
    assert node.config() == Distribution().read_only_text(CONFIG)
    kept = node.host.stat(before["kept"])
    assert kept is not None
    assert (kept.mode, node.host.read(before["kept"])) == (0o600, CONFIG)
    assert list(STEP.verify(here)) == []
    STEP.leave(here, before)
    assert node.standing() == before_all


def test_the_file_keeps_mode_owner_and_group_within_the_window() -> None:
    node = Node("/state")
    here = node.target()
    STEP.apply(here, STEP.observe(here))
    info = node.host.stat(CONFIG_FILE)
    assert info is not None
    assert (info.mode, info.owner, info.group) == (0o640, "registry", "adm")


@pytest.mark.parametrize("start", ["read-only", "read-only-stopped"])
def test_what_is_read_only_already_is_not_touched(start: str) -> None:
    node = Node("/state", **STARTS[start])
    before_all, process = node.standing(), node.service.state().process
    here = node.target()
    assert not STEP.preview(here).changes
    bomb = node.arm(0)
    before = STEP.observe(here)
    assert not STEP.apply(here, before).changed
    assert list(STEP.verify(here)) == []
    STEP.leave(here, before)
    assert bomb.passed == 0
    assert (node.standing(), node.service.state().process) == (before_all, process)


def test_a_stopped_node_stays_stopped_and_its_file_is_closed_meanwhile() -> None:
    node = Node("/state", running=False)
    before_all, here = node.standing(), node.target()
    before = STEP.observe(here)
    STEP.apply(here, before)
    assert node.standing().running is False
    node.service.start()  # somebody else, in the middle of the window
    assert node.standing().read_only
    report = STEP.leave(here, before)
    assert report is not None
    assert "started by somebody meanwhile" in report.warnings[0]
    assert node.service.state().running
    assert not node.standing().read_only
    assert node.config() == before_all.config


def test_a_node_that_died_in_the_window_is_started_again() -> None:
    node = Node("/state")
    before_all, here = node.standing(), node.target()
    before = STEP.observe(here)
    STEP.apply(here, before)
    node.service.stop(read_only_node.READY)
    STEP.leave(here, before)
    assert node.standing() == before_all


# -- killed anywhere ----------------------------------------------------------------------------


def crashes(step: Scope, start: Mapping[str, Any], then: Callable[[Scope, Target, Before], None]) -> int:
    """Kill at every change of entering, and at every change of what follows; return how often.

    After each pair the same `leave` must bring the node back to what it was.
    """
    kills = 0
    for entering in _points():
        node = Node("/state", **start)
        before_all, before = node.standing(), dict(step.observe(node.target()))
        if not _killed(node, entering, partial(step.apply, node.target(), before)):
            if entering[1]:
                break  # no such change any more
            continue
        kills += 1
        for leaving in _points():
            twin = Node("/state", **start)
            seen = dict(step.observe(twin.target()))
            _killed(twin, entering, partial(step.apply, twin.target(), seen))
            cut = _killed(twin, leaving, partial(then, step, twin.target(), seen))
            kills += cut
            twin.arm(0)
            step.leave(twin.target(), seen)
            assert twin.standing() == before_all, (entering, leaving)
            if not cut and leaving[1]:
                break
    return kills


def _points() -> list[tuple[int, bool]]:
    return [(number, after) for number in range(1, 12) for after in (False, True)]


def _killed(node: Node, point: tuple[int, bool], doing: Callable[[], object]) -> bool:
    node.arm(point[0], after=point[1])
    try:
        doing()
    except Crash:
        return True
    finally:
        node.arm(0)
    return False


def leave(step: Scope, here: Target, before: Before) -> None:
    step.leave(here, before)


def go_on(step: Scope, here: Target, before: Before) -> None:
    """What `run resume` does: ask how far it came, then enter again, then leave."""
    if step.probe(here, before) != "done":
        assert [p.message for p in step.check(here) if p.blocking] == []
        step.apply(here, before)
    assert list(step.verify(here)) == []
    step.leave(here, before)


@pytest.mark.parametrize("then", [leave, go_on])
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("step", [STEP, STOP], ids=["read-only", "stopped"])
def test_killed_at_every_change_it_comes_back_to_what_it_was(
    step: Scope, start: str, then: Callable[[Scope, Target, Before], None]
) -> None:
    kills = crashes(step, STARTS[start], then)
    untouched = (step is STEP and "read-only" in start) or (step is STOP and "stopped" in start)
    assert kills == 0 if untouched else kills >= 4


class NoRestart(ReadOnly):
    """A leave that brings the bytes back and forgets the process."""

    def leave(self, here: Target, before: Before) -> StepReport:
        node = ReadOnlyNode(here, self.registry, self.node)
        if before["changes"] and sha256(node.read()) == before["ours"]:
            node.host.write(CONFIG_FILE, node.host.read(before["kept"]), mode=before["mode"])
        node.host.remove(before["kept"])
        return StepReport()


class Careless(ReadOnly):
    """A leave that lets the kept copy go before the bytes are back."""

    def leave(self, here: Target, before: Before) -> StepReport:
        node = ReadOnlyNode(here, self.registry, self.node)
        try:
            data = node.host.read(before["kept"])
        except FileNotFoundError:
            return StepReport()
        node.host.remove(before["kept"])
        node._write(data, before)
        node.service.restart(read_only_node.READY)
        return StepReport()


class Starter(ReadOnly):
    """A leave that starts what was stopped."""

    def leave(self, here: Target, before: Before) -> StepReport:
        report = super().leave(here, before)
        here.world.service(self.registry, self.node).start()
        return report


class Swapped(ReadOnly):
    """An apply that changes the file before it keeps the original."""

    def apply(self, here: Target, before: Before) -> StepReport:
        node = ReadOnlyNode(here, self.registry, self.node)
        data = node.read()
        node._write(node.engine.read_only_text(data), before)
        node.host.write(before["kept"], data, mode=0o600)
        return node.close(before)


@pytest.mark.parametrize(
    ("broken", "start"),
    [(NoRestart, "running"), (Careless, "running"), (Starter, "stopped"), (Swapped, "running")],
)
def test_control_broken_scopes_do_not_pass(broken: type[ReadOnly], start: str) -> None:
    with pytest.raises((AssertionError, RegctlError)):
        crashes(broken(registry="main", node="here"), STARTS[start], leave)


# -- what goes wrong ----------------------------------------------------------------------------


def test_a_file_that_somebody_changed_in_the_window_is_not_overwritten() -> None:
    node = Node("/state")
    here = node.target()
    before = STEP.observe(here)
    STEP.apply(here, before)
    edited = node.config() + b"# mine\n"
    node.edit(edited)
    with pytest.raises(RefusedError) as caught:
        STEP.leave(here, before)
    assert node.config() == edited
    assert node.host.read(before["kept"]) == CONFIG
    assert before["kept"] in caught.value.message
    assert CONFIG_FILE in caught.value.message
    assert STEP.probe(here, before) == "unknown"


def test_a_kept_copy_that_was_damaged_is_not_used() -> None:
    node = Node("/state")
    here = node.target()
    before = STEP.observe(here)
    STEP.apply(here, before)
    node.host.write(before["kept"], b"", mode=0o600)
    with pytest.raises(RefusedError, match="gone or damaged"):
        STEP.leave(here, before)
    assert node.registry.read_only


def test_a_registry_that_does_not_start_read_only_comes_back_writable() -> None:
    node = Node("/state")
    node.service.fails_closed = True
    before_all, here = node.standing(), node.target()
    with pytest.raises(RegctlError, match="could not be made read-only, and is as it was") as caught:
        STEP.apply(here, STEP.observe(here))
    assert caught.value.details == ("panic: no",)
    assert node.standing() == before_all


def test_a_registry_that_ignores_its_file_is_found_out() -> None:
    node = Node("/state")
    node.service.stuck_open = True
    before_all, here = node.standing(), node.target()
    with pytest.raises(RegctlError, match="not proved read-only: it is writable"):
        STEP.apply(here, STEP.observe(here))
    assert node.standing() == before_all


def test_a_registry_that_starts_no_more_is_a_loud_error_and_the_original_is_back() -> None:
    node = Node("/state")
    here = node.target()
    before = STEP.observe(here)
    node.service.fails = "disk on fire"
    with pytest.raises(RegctlError, match="NOT back as it was"):
        STEP.apply(here, before)
    assert node.config() == CONFIG
    assert node.host.read(before["kept"]) == CONFIG
    node.service.fails = ""
    STEP.leave(here, before)
    assert node.service.state().running
    assert not node.registry.read_only


def test_a_file_changed_between_look_and_write_is_left_alone() -> None:
    node = Node("/state")
    here = node.target()
    before = STEP.observe(here)
    node.edit(CONFIG + b"# new\n")
    bomb = node.arm(0)
    with pytest.raises(RefusedError, match="changed since it was looked at"):
        STEP.apply(here, before)
    assert bomb.passed == 0


def test_a_full_disk_changes_nothing() -> None:
    node = Node("/state")
    before_all, here = node.standing(), node.target()
    before = STEP.observe(here)
    node.host.full = True
    with pytest.raises(RegctlError, match="No space left"):
        STEP.apply(here, before)
    assert node.standing() == before_all


def test_a_process_that_had_to_be_killed_is_a_warning() -> None:
    node = Node("/state")
    node.service.drains = False
    process = node.service.state().process
    assert process is not None
    node.service.stop(read_only_node.READY)
    node.service.start()
    here = node.target()
    report = STEP.apply(here, STEP.observe(here))
    assert "uploads were cut" in report.warnings[0]


# -- checks -------------------------------------------------------------------------------------


def _environment(name: str) -> Callable[[Node], None]:
    return lambda node: node.set_environment({name: "x", "PATH": "/bin"})


def _broken_users(node: Node) -> None:
    node.registry.broken_users = True


def _users(node: Node) -> None:
    node.registry.users = {"a": "b"}


def _cut_off(node: Node) -> None:
    node.registry.running = False


def _closed_on_disk(node: Node) -> None:
    node.edit(CLOSED)


def _managed_and_edited(node: Node) -> None:
    data = seal(CONFIG.decode(), version="1", registry="main", inputs="0" * 64)
    node.edit(data + b"# mine\n")


def _proxy(node: Node) -> None:
    node.edit(CONFIG + b"proxy:\n  remoteurl: https://registry.example.com\n")


def _twice(node: Node) -> None:
    node.edit(CONFIG + b"http:\n  addr: :5000\n")


def _fatal(node: Node) -> None:
    node.edit(CONFIG + b"catalog: {maxentries: many}\n")


def _another_file(node: Node) -> None:
    node.service.config_file = "/etc/other.yml"
    node.host.programs["readlink"] = refuse_to_run


def _unknown_writer(node: Node) -> None:
    node.spawn("/tmp/other.yml", CONFIG.replace(b"5000", b"5001"))


def _unwritable(node: Node) -> None:
    node.host.programs["test"] = refuse_to_run


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (_environment("REGISTRY_STORAGE_MAINTENANCE_READONLY"), "REGISTRY_STORAGE_MAINTENANCE_READONLY"),
        (_environment("REGISTRY_STORAGE"), "overrides storage"),
        (_environment("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"), "overrides storage.filesystem"),
        (_broken_users, "cannot be proved"),
        (_users, "the site names no `credentials`"),
        (_cut_off, "does not answer"),
        (_closed_on_disk, "the file says read-only, the running registry is writable"),
        (_managed_and_edited, "edited by hand"),
        (_proxy, "pull-through cache"),
        (_twice, "given twice"),
        (_fatal, "would not start again"),
        (_another_file, "has loaded /etc/other.yml"),
        (_unknown_writer, "serves the same storage from /tmp/other.yml"),
        (_unwritable, "is not writable for us"),
    ],
)
def test_what_stands_in_the_way_is_said_before_anything_changes(
    prepare: Callable[[Node], None], words: str
) -> None:
    node = Node("/state")
    prepare(node)
    bomb = node.arm(0)
    assert any(words in message for message in blocking(STEP, node))
    assert bomb.passed == 0


def test_variables_that_override_other_things_are_no_obstacle() -> None:
    node = Node("/state")
    node.set_environment({"REGISTRY_HTTP_SECRET": "x", "REGISTRY_LOG_LEVEL": "debug"})
    assert blocking(STEP, node) == []


def test_a_file_newer_than_its_process_can_be_skipped_by_name() -> None:
    node = Node("/state")
    for _ in range(300):
        node.host.clock()
    node.edit(CONFIG)
    (problem,) = STEP.check(node.target())
    assert problem.blocking
    assert problem.name in ReadOnly.skippable


def test_a_missing_drain_timeout_is_a_warning() -> None:
    node = Node("/state", config=CONFIG.replace(b"  draintimeout: 5s\n", b""))
    (problem,) = STEP.check(node.target())
    assert not problem.blocking
    assert "draintimeout" in problem.message


def test_a_stopped_node_whose_port_is_taken_is_not_taken_for_stopped() -> None:
    node = Node("/state", running=False)
    node.host.ports.add(5000)
    for step in (STEP, STOP):
        assert any("something listens on port 5000" in message for message in blocking(step, node))


def test_a_node_that_is_stopped_here_is_not_closed_while_its_address_accepts_pushes() -> None:
    node = Node("/state", running=False)
    for step in (STEP, STOP):
        assert blocking(step, node) == []
    node.registry.running = True  # another machine answers at this address
    for step in (STEP, STOP):
        assert any(
            "is stopped here, but http://127.0.0.1:5000 accepts" in one for one in blocking(step, node)
        )
    node.registry.read_only = True
    for step in (STEP, STOP):
        assert blocking(step, node) == []


def test_an_unreadable_file_is_a_configuration_error() -> None:
    node = Node("/state")
    node.edit(b"version: 0.1\n\tstorage:\n")
    (problem,) = STEP.check(node.target())
    assert problem.outcome is Outcome.CONFIG
    assert "line 2" in problem.message


def test_no_secret_is_journaled_or_shown() -> None:
    node = Node("/state")
    here = node.target()
    before = STEP.observe(here)
    shown = STEP.preview(here)
    assert "canary" not in repr(before)
    assert "canary" not in repr(shown)
    assert "readonly.enabled: true" in repr(shown)


# -- stopped ------------------------------------------------------------------------------------


def test_within_stopped_nothing_runs_and_nothing_listens() -> None:
    node = Node("/state")
    before_all, here = node.standing(), node.target()
    assert list(STOP.check(here)) == []
    before = STOP.observe(here)
    STOP.apply(here, before)
    assert not node.service.state().running
    assert not node.host.listening(5000)
    assert list(STOP.verify(here)) == []
    STOP.leave(here, before)
    assert node.standing() == before_all


def test_stopped_leaves_a_stopped_node_stopped() -> None:
    node = Node("/state", running=False)
    here = node.target()
    assert not STOP.preview(here).changes
    bomb = node.arm(0)
    before = STOP.observe(here)
    assert not STOP.apply(here, before).changed
    STOP.leave(here, before)
    assert bomb.passed == 0


def test_a_node_that_was_read_only_before_is_read_only_after() -> None:
    node = Node("/state", config=CLOSED)
    before_all, here = node.standing(), node.target()
    before = STOP.observe(here)
    STOP.apply(here, before)
    STOP.leave(here, before)
    assert node.standing() == before_all
    assert node.registry.read_only


def test_a_node_that_comes_back_otherwise_is_an_error() -> None:
    node = Node("/state")
    here = node.target()
    before = STOP.observe(here)
    STOP.apply(here, before)
    node.edit(CLOSED)
    with pytest.raises(RegctlError, match="is read-only and was writable before"):
        STOP.leave(here, before)
