"""What scripts read: plain values, the same in every format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ctl.errors import Outcome
from ctl.report.data import event_name, event_object, plain
from ctl.report.events import Event, Message, Planned, Progress, Retrying, StepEnded, StepStarted
from ctl.report.json import JsonReporter
from ctl.report.jsonl import JsonLinesReporter
from ctl.report.model import Report, Text
from ctl.report.reporter import Ending, Reporter
from ctl.report.yaml import YamlReporter
from ctl.secret import Secret
from tests.unit.report.conftest import MakeStreams, text_of


@dataclass
class Point:
    x: int
    y: Any


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Outcome.OK, "ok"),
        (float("nan"), None),
        (float("inf"), None),
        (2**70, 2**70),
        (True, True),
        (Secret("x"), "***"),
        (PurePosixPath("/a"), "/a"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:00:00Z"),
        (date(2026, 1, 2), "2026-01-02"),
        (MappingProxyType({1: (1, 2)}), {"1": [1, 2]}),
        ({"b", "a"}, ["a", "b"]),
        (Point(1, Point(2, None)), {"x": 1, "y": {"x": 2, "y": None}}),
        (b"raw", "b'raw'"),
    ],
)
def test_values_become_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_plain_values_stay_as_they_are(value: Any) -> None:
    assert plain(value) == value


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Message, "message"), (StepStarted, "step-started"), (StepEnded, "step-ended"), (Retrying, "retrying")],
)
def test_events_have_names(kind: type[Event], name: str) -> None:
    assert event_name(kind) == name


def test_an_event_is_its_fields() -> None:
    found = event_object(Planned("title", (Text("a"),)))
    assert datetime.fromisoformat(found.pop("time")).tzinfo is not None
    assert found == {"event": "planned", "title": "title", "blocks": [{"text": "a"}], "changes": True}


REPORT = Report(
    "toy-do", Outcome.WARNING, {"bytes": 10, "name": "Grüße \udc80", "result": "no"}, hints=("h",)
)
OBJECT = {
    "schema": "regctl/toy-do/1",
    "result": "warning",
    "bytes": 10,
    "name": "Grüße \udc80",
    "hints": ["h"],
}


def test_json_is_one_object_in_ascii(make_streams: MakeStreams) -> None:
    streams = make_streams()
    reporter: Reporter = JsonReporter(streams)
    reporter.event(Progress("t", 1, 1, "x", finished=True))
    reporter.report(REPORT)
    assert text_of(streams.out).isascii()
    assert json.loads(text_of(streams.out)) == OBJECT
    assert text_of(streams.err) == "t: 1 of 1 x\nhint: h\n"


def test_yaml_is_the_same_object(make_streams: MakeStreams) -> None:
    streams = make_streams()
    report = Report("toy-do", Outcome.WARNING, {"bytes": 10, "name": "no: yes", "on": "2026-01-01"})
    YamlReporter(streams).report(report)
    assert yaml.safe_load(text_of(streams.out)) == {
        "schema": "regctl/toy-do/1",
        "result": "warning",
        "bytes": 10,
        "name": "no: yes",
        "on": "2026-01-01",
    }


def test_jsonl_is_events_and_the_object_last(make_streams: MakeStreams) -> None:
    streams = make_streams()
    reporter: Reporter = JsonLinesReporter(streams)
    reporter.event(Progress("t", 1, 2, "x"))
    reporter.event(Message("a\nb"))
    reporter.report(REPORT)
    lines = [json.loads(line) for line in text_of(streams.out).splitlines()]
    assert [line.get("event") for line in lines] == ["progress", "message", None]
    assert lines[0]["done"] == 1
    assert lines[-1] == OBJECT
    assert text_of(streams.err) == "", "what is on stdout is not said twice"


@pytest.mark.parametrize("kind", [JsonReporter, YamlReporter, JsonLinesReporter])
def test_a_failure_is_an_object_unless_there_is_one(kind: Any, make_streams: MakeStreams) -> None:
    ending = Ending("toy", Outcome.LOCKED, "held", "wait")
    streams = make_streams()
    kind(streams).failure(ending, reported=False)
    assert yaml.safe_load(text_of(streams.out))["result"] == "locked"
    assert text_of(streams.err) == "regctl: held\nhint: wait\n"
    streams = make_streams()
    kind(streams).failure(ending, reported=True)
    assert text_of(streams.out) == ""
    assert "held" in text_of(streams.err)
