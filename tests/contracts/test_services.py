"""What every service promises, whoever runs it, and the one in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ctl.errors import CommandFailedError
from ctl.hosts.services import Service
from tests.contracts.service_kits import KITS, ServiceKit
from tests.support.waiting import wait_until

GRACE = timedelta(seconds=10)


@pytest.fixture(params=list(KITS))
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceKit]:
    made = KITS[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def service(kit: ServiceKit) -> Service:
    return kit.service


def test_it_is_seen_stopped_started_and_stopped_again(kit: ServiceKit) -> None:
    service = kit.service
    before = service.state()
    assert (before.running, before.process, before.since) == (False, None, None)
    assert service.loaded_config() is None
    assert service.loaded_binary() is None
    service.start()
    during = service.state()
    assert during.running
    assert during.process is not None
    assert during.since is not None
    assert kit.host.process(during.process.pid) == during.process
    wait_until(lambda: kit.host.listening(kit.port), what="the port")
    assert service.loaded_config() == kit.config_file
    assert service.loaded_binary()
    assert service.stop(GRACE)
    after = service.state()
    assert (after.running, after.process) == (False, None)
    assert kit.host.process(during.process.pid) != during.process
    assert not kit.host.listening(kit.port)


def test_starting_twice_starts_once_and_stopping_twice_stops_once(service: Service) -> None:
    service.start()
    first = service.state().process
    service.start()
    assert service.state().process == first
    assert service.stop(GRACE)
    assert service.stop(GRACE)
    assert not service.state().running


def test_a_restart_is_another_process(kit: ServiceKit) -> None:
    kit.service.start()
    first = kit.service.state().process
    assert kit.service.restart(GRACE)
    second = kit.service.state().process
    assert second is not None
    assert second != first
    wait_until(lambda: kit.host.listening(kit.port), what="the port")


def test_a_restart_starts_what_was_stopped(service: Service) -> None:
    assert service.restart(GRACE)
    assert service.state().running


def test_it_drains_before_it_ends(kit: ServiceKit) -> None:
    kit.configure(drain=0.5)
    kit.service.start()
    assert kit.service.stop(GRACE)
    assert any("drain" in line for line in kit.service.tail(5))


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_what_does_not_end_in_time_is_killed_and_that_is_told(kit: ServiceKit, verb: str) -> None:
    kit.configure(drain=None)
    kit.service.start()
    wait_until(lambda: kit.host.listening(kit.port), what="the port")
    first = kit.service.state().process
    assert first is not None
    drained = getattr(kit.service, verb)(timedelta(seconds=0.3))
    assert not drained
    assert kit.host.process(first.pid) != first
    assert kit.service.state().running == (verb == "restart")


def test_one_that_ends_at_once_is_an_error_with_its_last_words(kit: ServiceKit) -> None:
    kit.configure(bad="no storage driver")
    with pytest.raises(CommandFailedError, match="ended at once") as caught:
        kit.service.start()
    assert any("no storage driver" in line for line in caught.value.details)
    assert not kit.service.state().running


def test_one_that_was_killed_is_seen_dead_and_can_be_started(kit: ServiceKit) -> None:
    kit.service.start()
    kit.murder()
    wait_until(lambda: not kit.service.state().running, what="its death to be seen")
    kit.service.start()
    assert kit.service.state().running


def test_the_tail_is_the_end_of_the_log(service: Service) -> None:
    assert service.tail(5) == []
    service.start()
    deadline = time.monotonic() + 5
    while not service.tail(5) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(service.tail(1)) == 1
    assert service.tail(1)[0] == service.tail(100)[-1]
    assert service.tail(0) == []
