"""When a queue will be empty, from the workers' intervals or from two looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ctl.catalog.backend import Count
from ctl.catalog.gc_queues import Queue, forecast

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIVE = timedelta(seconds=5)


def queue(tasks: int, due: int = 0, latest: timedelta | None = None, at: timedelta = timedelta()) -> Queue:
    now = NOW + at
    oldest = now - timedelta(hours=1) if due else now + timedelta(hours=1)
    return Queue(now, Count(tasks), Count(due), oldest, now + latest if latest is not None else None)


@pytest.mark.parametrize(
    ("tasks", "nodes", "latest", "expected"),
    [
        (1000, 1, None, timedelta(seconds=5000)),
        (1000, 4, None, timedelta(seconds=1250)),
        (1000, 1, timedelta(hours=20), timedelta(hours=20)),  # not before the last one is due
        (20_000, 1, timedelta(hours=20), timedelta(seconds=100_000)),
        (1_000_000, 1, None, timedelta(seconds=5_000_000)),  # 58 days
    ],
)
def test_it_takes_the_interval_for_each_task_shared_by_the_nodes(
    tasks: int, nodes: int, latest: timedelta | None, expected: timedelta
) -> None:
    found = forecast(queue(tasks, tasks, latest), (FIVE,) * nodes)
    assert found.empty_at == NOW + expected
    assert found.per_second == pytest.approx(0.2 * nodes)
    assert not found.measured


def test_an_empty_queue_is_empty_now() -> None:
    assert forecast(queue(0), ()).empty_at == NOW


def test_without_a_worker_it_never_gets_empty() -> None:
    found = forecast(queue(5, 5), ())
    assert (found.empty_at, found.reason) == (None, "no worker runs")


def test_two_looks_tell_the_pace() -> None:
    earlier, later = queue(1000, 1000), queue(900, 900, at=timedelta(seconds=10))
    found = forecast(later, (FIVE,), earlier=earlier)
    assert found.measured
    assert found.per_second == 10
    assert found.empty_at == NOW + timedelta(seconds=10 + 90)


def test_a_queue_that_does_not_get_shorter_never_gets_empty() -> None:
    found = forecast(queue(1000, 10, at=timedelta(seconds=10)), (FIVE,), earlier=queue(990, 10))
    assert (found.empty_at, found.measured, found.reason) == (None, True, "it did not get shorter")


def test_where_nothing_is_due_two_looks_tell_nothing_of_the_pace() -> None:
    found = forecast(queue(100, at=timedelta(seconds=10)), (FIVE,), earlier=queue(100))
    assert not found.measured
    assert found.empty_at is not None


def test_how_long_the_oldest_is_due() -> None:
    assert queue(3, 1).oldest_overdue == timedelta(hours=1)
    assert queue(3).oldest_overdue == timedelta()
