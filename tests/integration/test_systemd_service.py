"""Service kind `systemd`, against a stand-in that keeps a state and runs real processes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ctl.errors import CommandFailedError, ConfigError
from ctl.hosts.local import LocalHost
from ctl.hosts.services_systemd import SystemdService
from tests.contracts.service_kits import SystemdKit
from tests.support.waiting import wait_until

GRACE = timedelta(seconds=10)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[SystemdKit]:
    made = SystemdKit(tmp_path)
    yield made
    made.close()


def test_the_state_is_systemds_own_and_looking_changes_nothing(kit: SystemdKit) -> None:
    stopped = kit.service.state()
    assert (stopped.enabled, stopped.detail) == (True, "inactive (dead)")
    kit.service.start()
    assert kit.service.state().detail == "active (running)"
    assert kit.service.state().process == kit.host.process(kit.systemd.main_pid("registry"))
    kit.service.tail(3)
    kit.service.loaded_config()
    assert [verb for verb in kit.systemd.calls() if verb != "show"] == ["start"]


def test_a_restart_is_one_transaction(kit: SystemdKit) -> None:
    kit.service.start()
    kit.service.restart(GRACE)
    assert [verb for verb in kit.systemd.calls() if verb != "show"] == ["start", "restart"]


def test_a_unit_whose_own_timeout_is_shorter_than_the_drain_is_told_as_killed(kit: SystemdKit) -> None:
    kit.systemd.add("registry", kit.serve().argv, timeout_stop=0.2)
    kit.configure(drain=5.0)
    kit.service.start()
    wait_until(lambda: kit.host.listening(kit.port), what="the port")
    assert not kit.service.stop(GRACE)
    assert not kit.service.state().running
    assert "timeout" in kit.service.state().detail


def test_one_that_died_is_failed_with_systemds_reason(kit: SystemdKit) -> None:
    kit.systemd.add("registry", kit.serve().argv, enabled=False)
    kit.service.start()
    kit.murder()
    wait_until(lambda: not kit.service.state().running, what="its death")
    wait_until(lambda: "failed" in kit.service.state().detail, what="systemd to see it")
    assert kit.service.state().detail == "failed (failed), exit-code"
    assert kit.service.state().enabled is False


def test_an_unknown_unit_is_a_configuration_error(kit: SystemdKit) -> None:
    service = SystemdService(kit.host, "no-such-unit", kit.port)
    with pytest.raises(ConfigError, match="no-such-unit"):
        service.state()


def test_where_systemd_does_not_answer_the_way_out_is_named(kit: SystemdKit, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "systemctl").write_text(
        "#!/bin/sh\necho 'System has not been booted with systemd' >&2\nexit 1\n"
    )
    os.chmod(broken / "systemctl", 0o755)
    host = LocalHost("local", str(tmp_path / "other-jobs"), str(broken))
    with pytest.raises(CommandFailedError, match="does not answer") as caught:
        SystemdService(host, "registry", kit.port).state()
    assert "process" in caught.value.hint
    assert caught.value.details == ("System has not been booted with systemd",)


def test_a_start_that_systemctl_refuses_carries_its_words_and_the_journals(kit: SystemdKit) -> None:
    kit.configure(bad="no storage")
    with pytest.raises(CommandFailedError) as caught:
        kit.service.start()
    assert "journalctl -u registry" in caught.value.hint
    assert any("no storage" in line for line in caught.value.details)


def test_a_successor_with_the_same_pid_is_not_the_service(kit: SystemdKit) -> None:
    kit.service.start()
    process = kit.service.state().process
    assert process is not None
    other = dataclasses.replace(process, start_time=process.start_time + 1)
    assert other != process
    assert not kit.host.signal(other, 9)
    assert kit.service.state().running
