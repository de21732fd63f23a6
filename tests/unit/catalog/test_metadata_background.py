"""How far a background migration is, from its counts alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.catalog.metadata_background import BackgroundMigration


def migration(**more: Any) -> BackgroundMigration:
    values: dict[str, Any] = {
        "id": 1,
        "name": "copy",
        "status": "running",
        "table": "public.manifests",
        "column": "id",
        "batch_size": 100,
        "total": 1000,
        "jobs": 0,
        "finished_jobs": 0,
        "failed_jobs": 0,
        "failure": "",
        "whole_range_done": False,
        "ends_at_maximum": True,
        "started_at": None,
        "finished_at": None,
        **more,
    }
    return BackgroundMigration(**values)


@given(
    st.sampled_from(["paused", "active", "finished", "failed", "running"]),
    st.integers(0, 10**6),
    st.one_of(st.none(), st.integers(-1, 10**9)),
    st.booleans(),
)
def test_only_a_finished_one_is_at_a_hundred(status: str, jobs: int, total: int | None, whole: bool) -> None:
    percent = migration(status=status, finished_jobs=jobs, total=total, whole_range_done=whole).percent
    assert (percent == 100.0) is (status == "finished")
    assert percent is None or 0 <= percent <= 100


def test_percent_counts_finished_batches() -> None:
    assert migration(finished_jobs=5).percent == 50.0
    assert migration(finished_jobs=11).percent == 99.9
    assert migration(total=None).percent is None


@pytest.mark.parametrize(
    ("more", "stuck"),
    [
        ({"whole_range_done": True}, True),
        ({"whole_range_done": True, "status": "active"}, True),
        ({"whole_range_done": True, "status": "paused"}, False),
        ({"whole_range_done": True, "status": "finished"}, False),
        ({"whole_range_done": False}, False),
        ({"whole_range_done": True, "ends_at_maximum": False}, False),  # the program ends this one itself
    ],
)
def test_one_is_repeated_for_ever_only_with_its_whole_range_done(more: dict[str, Any], stuck: bool) -> None:
    assert migration(**more).stuck_at_maximum is stuck
