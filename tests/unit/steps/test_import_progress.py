"""One view of an import: it never goes backwards, never past its total, and ends where the work ends."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.engines.metadata import ImportRecord, ImportStep
from ctl.report.events import Progress
from ctl.steps.import_checks import log_bytes
from ctl.steps.import_prepare import count_storage, log_room
from ctl.steps.import_progress import ImportProgress, Totals
from ctl.testing.hosts import MemoryHost, Script
from ctl.testing.storage import MemoryStorage
from ctl.testing.world import MemoryWorld


class Clock:
    """Time that passes by a given step at each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def told(
    step: ImportStep, totals: Totals, records: list[ImportRecord], pause: float = 0.05
) -> list[Progress]:
    events: list[Any] = []
    progress = ImportProgress(events.append, step, totals, Clock(pause))
    for record in records:
        progress.add(record)
    progress.end()
    return events


def test_an_import_in_one_step_shows_each_step_and_what_is_left_of_all() -> None:
    records = [ImportRecord("tag", ImportStep.ONE)] * 40 + [ImportRecord("tag", ImportStep.TWO)] * 40
    records += [ImportRecord("blob", ImportStep.THREE)] * 20
    events = told(ImportStep.ALL, Totals(2, 40, 20), records)
    ends = [(event.task, event.done, event.total) for event in events if event.finished]
    assert ends == [
        ("step one: manifests", 40, 40),
        ("step two: tags", 40, 40),
        ("step three: blobs", 20, 20),
    ]
    first = events[0]
    assert first.eta_seconds is not None
    # At 20 tags a second 36 are left, then 40 that cost an eighth and 20 blobs.
    assert first.eta_seconds == pytest.approx(
        (40 - first.done) / first.rate + (40 / 8 + 20 * 0.7 / 8) / first.rate
    )


def test_what_was_pushed_meanwhile_makes_more_of_it_and_never_more_than_all() -> None:
    events = told(ImportStep.ONE, Totals(1, 3, 0), [ImportRecord("tag", ImportStep.ONE)] * 9)
    assert [(events[-1].done, events[-1].total)] == [(9, 9)]


def test_without_a_count_there_is_no_estimate() -> None:
    events = told(ImportStep.TWO, Totals(), [ImportRecord("tag", ImportStep.TWO)] * 9)
    assert {event.total for event in events} == {0}
    assert {event.eta_seconds for event in events} == {None}


@given(
    st.lists(st.sampled_from(["tag", "blob", "skipped", "other"]), max_size=60),
    st.sampled_from(list(ImportStep)),
    st.integers(0, 50),
)
def test_it_only_goes_forward(kinds: list[str], step: ImportStep, total: int) -> None:
    own = ImportStep.ONE if step is ImportStep.ALL else step
    events = told(step, Totals(1, total, total), [ImportRecord(kind, own) for kind in kinds])
    assert all(one.done <= two.done for one, two in pairwise(events))
    assert all(not event.total or event.done <= event.total for event in events)
    assert all(event.eta_seconds is None or event.eta_seconds >= 0 for event in events)


def test_the_storage_is_counted_by_what_each_step_goes_through() -> None:
    digest = "sha256:" + "ab" * 32
    base = "docker/registry/v2"
    files = {
        f"{base}/repositories/team/app/_manifests/tags/{tag}/current/link": digest.encode()
        for tag in ("v1", "v2")
    }
    files[f"{base}/repositories/team/app/_manifests/revisions/sha256/{'ab' * 32}/link"] = digest.encode()
    files[f"{base}/repositories/untagged/_manifests/revisions/sha256/{'ab' * 32}/link"] = digest.encode()
    files[f"{base}/blobs/sha256/ab/{'ab' * 32}/data"] = b"{}"
    storage = MemoryStorage()
    for path, data in files.items():
        storage.write(path, data)
    assert count_storage(storage, ImportStep.ALL) == Totals(2, 2, 1)
    assert count_storage(storage, ImportStep.TWO) == Totals(2, 2, 0)
    assert count_storage(storage, ImportStep.THREE) == Totals(2, 0, 1)


@pytest.mark.parametrize(("free", "refused"), [(500, True), (50 << 20, False)])
def test_a_log_that_would_fill_the_disk_is_refused_beforehand(free: int, refused: bool) -> None:
    def df(command: Any) -> Script:
        assert command.argv[-1] == "/"
        return Script(stdout=f"Avail\n{free}\n".encode())

    node = SimpleNamespace(host="reg1")
    registry = SimpleNamespace(nodes=[node], storage=SimpleNamespace(host=None))
    world = MemoryWorld(
        SimpleNamespace(registries={"main": registry}),
        hosts={"reg1": MemoryHost("reg1", programs={"df": df})},
    )
    needed = log_bytes(tags=1000, blobs=2000, step=ImportStep.ALL)
    found = list(log_room(world, "main", needed))
    assert bool(found) is refused
    if refused:
        assert "500 B are free" in found[0].message
        assert "/state/jobs on reg1" in found[0].message


def test_an_unknown_amount_of_room_refuses_nothing() -> None:
    registry = SimpleNamespace(nodes=[SimpleNamespace(host="reg1")], storage=SimpleNamespace(host=None))
    host = MemoryHost("reg1", programs={"df": lambda command: Script(exit_code=1)})
    world = MemoryWorld(SimpleNamespace(registries={"main": registry}), hosts={"reg1": host})
    assert list(log_room(world, "main", 1 << 40)) == []
