"""Locks: one holder at a time, never a stale write after a break, nothing left behind by the dead."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ctl.errors import ConfigError, LockedError, RefusedError, UsageError
from ctl.recipes import lock as lock_module
from ctl.recipes.identity import judge, myself
from ctl.recipes.journal import FencedError
from ctl.recipes.lock import Locks, new_info, slug
from tests.unit.recipes.children import forked, until, wait, wait_stopped

RESOURCE = "registry/main"


def hold_and_die(locks: Locks) -> None:
    """Take the lock in a child that dies by SIGKILL while it holds it."""

    def child() -> None:
        locks.acquire([RESOURCE], new_info("toy", ""))
        os.kill(os.getpid(), signal.SIGKILL)

    assert wait(forked(child)) == -signal.SIGKILL


def test_a_lock_says_who_what_where_since_when_and_why(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    held = locks.acquire([RESOURCE], new_info("regctl gc", "weekly", run="r1"))
    state = locks.state(RESOURCE)
    assert state.info is not None
    assert (state.epoch, state.verdict, state.info.run) == (1, "alive", "r1")
    assert state.heartbeat is not None
    assert state.info.holder == myself()
    assert "regctl gc" in state.info.describe()
    assert "weekly" in state.info.describe()
    with pytest.raises(LockedError, match=f"pid {os.getpid()}") as error:
        locks.acquire([RESOURCE], new_info("other", ""))
    assert f"regctl lock break {state.info.id}" in error.value.hint
    held.release()
    assert (locks.state(RESOURCE).info, locks.state(RESOURCE).epoch) == (None, 1)


def test_looking_writes_nothing(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    assert locks.state(RESOURCE).info is None
    assert locks.states() == []
    assert list(tmp_path.iterdir()) == []


def test_the_epoch_only_grows_and_is_one_for_all_resources(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    for expected in (1, 2, 3):
        held = locks.acquire(["registry/a"], new_info("toy", ""))
        assert held.epoch == expected
        held.release()
    both = locks.acquire(["registry/b", "registry/a"], new_info("toy", ""))
    assert both.epoch == 4
    assert [locks.state(name).epoch for name in ("registry/a", "registry/b")] == [4, 4]
    both.release()


def test_all_resources_or_none(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    held = locks.acquire(["registry/b"], new_info("toy", ""))
    with pytest.raises(LockedError, match="registry/b"):
        locks.acquire(["registry/a", "registry/b"], new_info("toy", ""))
    assert locks.state("registry/a").info is None
    held.release()


def test_a_killed_holder_is_replaced(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    hold_and_die(locks)
    assert locks.state(RESOURCE).verdict == "dead"
    held = locks.acquire([RESOURCE], new_info("next", ""))
    assert held.epoch == 2
    held.guard()
    held.release()
    assert [name for name in os.listdir(locks.folder) if name.endswith(".held")] == []
    audit = [json.loads(line) for line in (tmp_path / "locks" / "audit.jsonl").read_text().splitlines()]
    assert [(entry["what"], entry["reason"]) for entry in audit] == [("taken-over", "the holder is dead")]


def test_a_pid_that_was_used_again_is_not_the_holder(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    hold_and_die(locks)
    path = tmp_path / "locks" / f"{slug(RESOURCE)}.json"
    data = json.loads(path.read_text())
    data["info"]["holder"]["pid"] = os.getpid()  # alive, but it started at another time
    path.write_text(json.dumps(data))
    assert locks.state(RESOURCE).verdict == "dead"


def test_another_boot_proves_death_and_another_host_proves_nothing() -> None:
    me = myself()
    assert judge(me) == "alive"
    assert judge(replace(me, boot_id="another")) == "rebooted"
    assert judge(replace(me, host="elsewhere.example.com")) == "foreign"
    assert judge(replace(me, start_time=me.start_time + 1)) == "dead"


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))

    def child() -> None:
        locks.acquire([RESOURCE], new_info("toy", ""))

    pid = forked(child)
    until(lambda: locks.state(RESOURCE).verdict == "dead")  # it has ended, and nobody waited for it yet
    assert wait(pid) == 0


def test_a_holder_in_another_pid_namespace_is_seen_by_its_file_lock(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    held = locks.acquire([RESOURCE], new_info("toy", ""))
    path = tmp_path / "locks" / f"{slug(RESOURCE)}.json"
    data = json.loads(path.read_text())
    data["info"]["holder"]["pid"] = 2**22 + 1  # no such process here
    path.write_text(json.dumps(data))
    assert locks.state(RESOURCE).verdict == "alive"
    held.close()
    assert locks.state(RESOURCE).verdict == "dead"


def test_a_killed_holders_last_child_holds_the_lock_no_longer_than_it_lives(tmp_path: Path) -> None:
    """Between fork and exec a child has the descriptors of its parent, which may be dead by then."""
    locks = Locks(str(tmp_path))
    held = locks.acquire([RESOURCE], new_info("toy", ""))
    path = tmp_path / "locks" / f"{slug(RESOURCE)}.json"
    data = json.loads(path.read_text())
    data["info"]["holder"]["pid"] = 2**22 + 1  # no such process
    path.write_text(json.dumps(data))
    soon = threading.Timer(0.3, held.close)
    soon.start()
    assert locks.state(RESOURCE).verdict == "dead"
    soon.join()


def test_of_many_that_race_exactly_one_holds(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    rounds, racers = 15, 4
    for number in range(rounds):

        def child(number: int = number) -> None:
            try:
                held = locks.acquire([RESOURCE], new_info("racer", ""))
            except LockedError:
                return
            with open(tmp_path / f"won-{number}-{os.getpid()}", "x"):
                pass
            until(lambda: (tmp_path / f"go-{number}").exists())
            held.release()

        pids = [forked(child) for _ in range(racers)]
        until(lambda number=number: bool(list(tmp_path.glob(f"won-{number}-*"))))  # type: ignore[misc]
        losers = 0
        while losers < racers - 1:
            pid, status = os.waitpid(-1, 0)
            assert (pid in pids, status) == (True, 0)
            losers += 1
            pids.remove(pid)
        assert len(list(tmp_path.glob(f"won-{number}-*"))) == 1
        (tmp_path / f"go-{number}").touch()
        assert wait(pids[0]) == 0
    assert locks.state(RESOURCE).epoch == rounds


def sleeper(tmp_path: Path, locks: Locks, *, heed_guard: bool) -> int:
    """Start a child that holds the lock, sleeps (SIGSTOP), and wakes up wanting to write."""

    def child() -> None:
        held = locks.acquire([RESOURCE], new_info("sleeper", ""))
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            held.guard()
        except FencedError:
            if heed_guard:
                held.release()
                return
        (tmp_path / "written-late").touch()

    pid = forked(child)
    wait_stopped(pid)
    return pid


def break_it(locks: Locks) -> None:
    info = locks.state(RESOURCE).info
    assert info is not None
    locks.break_(info.id, "it hangs")


def test_a_holder_that_slept_through_a_break_changes_nothing(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    pid = sleeper(tmp_path, locks, heed_guard=True)
    assert locks.state(RESOURCE).verdict == "alive"
    break_it(locks)
    held = locks.acquire([RESOURCE], new_info("next", ""))
    assert held.epoch == 3  # the break has one of its own
    os.kill(pid, signal.SIGCONT)
    assert wait(pid) == 0
    assert not (tmp_path / "written-late").exists()
    held.guard()  # and it has not given back what is ours by now
    held.release()
    audit = [json.loads(line) for line in (tmp_path / "locks" / "audit.jsonl").read_text().splitlines()]
    assert [(entry["what"], entry["reason"]) for entry in audit] == [("broken", "it hangs")]


def test_control_a_holder_that_ignores_the_guard_does_write_late(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    pid = sleeper(tmp_path, locks, heed_guard=False)
    break_it(locks)
    os.kill(pid, signal.SIGCONT)
    assert wait(pid) == 0
    assert (tmp_path / "written-late").exists()


def test_of_two_that_break_at_once_one_wins(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    for number in range(10):
        held = locks.acquire([RESOURCE], new_info("toy", ""))

        def child(lock_id: str = held.info.id, number: int = number) -> None:
            try:
                locks.break_(lock_id, "two of us")
            except UsageError:
                return
            with open(tmp_path / f"broke-{number}-{os.getpid()}", "x"):
                pass

        epoch = held.epoch
        for pid in [forked(child), forked(child)]:
            assert wait(pid) == 0
        assert len(list(tmp_path.glob(f"broke-{number}-*"))) == 1
        assert locks.state(RESOURCE).epoch == epoch + 1
        with pytest.raises(FencedError):
            held.guard()
        held.close()


def test_breaking_needs_the_id_of_a_lock_that_is_held(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no lock has the id nonsense"):
        Locks(str(tmp_path)).break_("nonsense", "why")


def test_an_operators_lock_is_held_by_nobodys_process(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    assert wait(forked(lambda: locks.acquire_by_hand(RESOURCE, "disk is being changed"))) == 0
    state = locks.state(RESOURCE)
    assert (state.verdict, state.info and state.info.reason) == ("operator", "disk is being changed")
    with pytest.raises(LockedError, match="disk is being changed") as error:
        locks.acquire([RESOURCE], new_info("regctl gc", ""))
    assert "regctl lock release main" in error.value.hint
    with pytest.raises(UsageError, match="has the id"):
        locks.release_by_hand(RESOURCE, "other")
    locks.release_by_hand(RESOURCE)
    assert locks.state(RESOURCE).info is None
    with pytest.raises(UsageError, match="nobody holds"):
        locks.release_by_hand(RESOURCE)


def test_a_runs_lock_is_not_released_by_hand(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    held = locks.acquire([RESOURCE], new_info("regctl gc", ""))
    with pytest.raises(RefusedError, match="held by a run"):
        locks.release_by_hand(RESOURCE)
    held.release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"epoch": "x", "info": null}', '{"info": null}'])
def test_a_damaged_lock_file_is_an_error_that_says_what_to_do(tmp_path: Path, content: str) -> None:
    locks = Locks(str(tmp_path))
    locks.acquire([RESOURCE], new_info("toy", "")).release()
    (tmp_path / "locks" / f"{slug(RESOURCE)}.json").write_text(content)
    with pytest.raises(ConfigError, match="damaged") as error:
        locks.acquire([RESOURCE], new_info("toy", ""))
    assert "epoch" in error.value.hint


def test_a_mutex_that_a_stopped_process_keeps_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    from ctl.errors import RegctlError
    from ctl.recipes.durable import short_lock

    path = str(tmp_path / "mutex")
    with short_lock(path), pytest.raises(RegctlError, match="has been held"), short_lock(path, seconds=0.05):
        pytest.fail("two held it")  # pragma: no cover


def test_resources_never_share_a_file() -> None:
    names = ["registry/a", "registry%2Fa", "registry/a/b", "database/a", "registry/ä", "registry/A"]
    assert len({lock_module.slug(name) for name in names}) == len(names)
    assert all("/" not in lock_module.slug(name) for name in names)
