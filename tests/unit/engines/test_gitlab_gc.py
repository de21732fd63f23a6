"""Settings of online collection with their defaults, and its log as the real program wrote it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.engines.gitlab_gc import WorkerLog, faster, gc_settings, read_log

CASES = Path(__file__).resolve().parents[2] / "cases" / "gitlab"


def lines(name: str) -> list[str]:
    return (CASES / f"online-gc-{name}-4.32.0.jsonl").read_text().splitlines()


def test_the_defaults_are_the_programs_own() -> None:
    found = gc_settings({})
    assert not found.disabled
    assert found.works("blobs")
    assert found.works("manifests")
    assert found.workers["blobs"].interval == timedelta(seconds=5)
    assert found.max_backoff == timedelta(hours=24)
    assert found.no_idle_backoff is False
    assert found.review_after is None


@pytest.mark.parametrize(
    ("section", "works", "interval", "backoff", "after"),
    [
        ({"disabled": True}, False, 5, 86400, None),
        ({"blobs": {"disabled": True}}, False, 5, 86400, None),
        ({"manifests": {"disabled": True}}, True, 5, 86400, None),
        ({"blobs": {"interval": "200ms"}, "maxbackoff": "5m"}, True, 0.2, 300, None),
        ({"blobs": {"interval": 1_000_000_000}}, True, 1, 86400, None),  # a bare number: nanoseconds
        ({"blobs": {"interval": 0}, "maxbackoff": 0}, True, 5, 86400, None),
        ({"reviewafter": -1}, True, 5, 86400, 0),
        ({"reviewafter": "1h"}, True, 5, 86400, 3600),
        ({"blobs": None, "disabled": None}, True, 5, 86400, None),
    ],
)
def test_what_a_section_means(
    section: dict[str, Any], works: bool, interval: float, backoff: float, after: float | None
) -> None:
    found = gc_settings({"gc": section})
    assert found.works("blobs") is works
    assert found.workers["blobs"].interval.total_seconds() == interval
    assert found.max_backoff.total_seconds() == backoff
    assert (found.review_after.total_seconds() if found.review_after is not None else None) == after


def test_faster_settings_mean_what_they_say() -> None:
    found = gc_settings({"gc": faster("200ms", "5m")})
    assert {worker.interval for worker in found.workers.values()} == {timedelta(milliseconds=200)}
    assert found.no_idle_backoff is True
    assert found.max_backoff == timedelta(minutes=5)


def test_a_log_at_work_gives_every_workers_last_run_and_deletion() -> None:
    text = lines("working")
    found = read_log(text)
    assert found.disabled is False
    blobs, manifests = found.workers["blobs"], found.workers["manifests"]
    counted = [json.loads(line) for line in text]
    runs = [r for r in counted if r["msg"] == "run complete"]
    assert blobs.runs + manifests.runs == len(runs)
    assert blobs.deletions == sum(1 for r in counted if r["msg"] == "blob deleted") == 3
    last = max(r["time"] for r in runs if r["worker"].endswith("BlobWorker"))
    assert blobs.last_run == datetime.fromisoformat(last)
    assert blobs.last_deletion is not None
    assert manifests.last_deletion is None  # it was deleted by its digest, at once
    assert blobs.started is not None
    assert blobs.sleeps is not None
    assert timedelta(seconds=0.6) < blobs.sleeps < timedelta(seconds=1.4)  # 1 s, a third either way
    assert blobs.last_error == ""


def test_a_log_without_collection_says_so_until_the_next_start() -> None:
    start = '{"level":"info","msg":"using the metadata database","time":"2026-11-22T10:00:00.000Z"}'
    off = lines("disabled")
    assert read_log(off).disabled is True
    assert read_log([start, *off]).disabled is True
    assert read_log([*off, start, *lines("working")]).disabled is False
    again = read_log([*lines("working"), start, *off])
    assert again.disabled is True
    assert again.workers["blobs"] == WorkerLog()  # of the process before


def test_an_error_is_kept_with_its_words() -> None:
    record = {
        "component": "registry.gc.Agent",
        "worker": "registry.gc.worker.BlobWorker",
        "level": "error",
        "msg": "failed run",
        "error": "processing task: deleting blob: permission denied",
        "time": "2026-11-22T10:00:00Z",
    }
    found = read_log([f"Nov 22 10:00:00 host registry[1]: {json.dumps(record)}"])  # as a journal gives it
    assert found.workers["blobs"].last_error == "processing task: deleting blob: permission denied"
    when = datetime(2026, 11, 22, 10, tzinfo=UTC)
    done = {**record, "level": "info", "msg": "run complete"}
    assert read_log([json.dumps(done)]).workers["blobs"].last_run == when


@given(st.lists(st.one_of(st.text(), st.sampled_from(lines("working")).map(lambda line: line[:200]))))
def test_no_line_breaks_it(found: list[str]) -> None:
    read_log(found)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(
    st.sampled_from(["gc", "blobs", "manifests", "interval", "disabled", "maxbackoff", "reviewafter"]), inner
), max_leaves=12))  # fmt: skip
def test_no_section_breaks_it(section: Any) -> None:
    found = gc_settings({"gc": section})
    assert all(worker.interval > timedelta() for worker in found.workers.values())
