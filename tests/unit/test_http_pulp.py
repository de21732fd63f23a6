"""The status of a Pulp's API over HTTP, and what else may answer there."""

from __future__ import annotations

import json

import pytest

from ctl.errors import RegctlError, UnreachableError
from ctl.http import Answer, TransportError
from ctl.http_pulp import PulpClient
from tests.unit.engines.test_pulp_status import status
from tests.unit.test_http import Scripted


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://127.0.0.1:24817", "http://127.0.0.1:24817/pulp/api/v3/status/"),
        ("https://katello.example.com/", "https://katello.example.com/pulp/api/v3/status/"),
        ("https://katello.example.com/content/", "https://katello.example.com/content/api/v3/status/"),
    ],
)
def test_it_asks_where_the_api_is_and_without_a_login(url: str, asked: str) -> None:
    transport = Scripted(lambda *_: Answer(200, {}, json.dumps(status()).encode()))
    assert PulpClient(url, transport).status()["domain_enabled"] is False
    assert [(method, where) for method, where, _ in transport.sent] == [("GET", asked)]
    assert "authorization" not in {name.lower() for name in transport.sent[0][2]}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, {}, b"{}"),
        Answer(200, {}, b"<html>"),
        Answer(200, {}, b"[]"),
        Answer(200, {}, b"{}"),
        Answer(500, {}, json.dumps(status()).encode()),
    ],
)
def test_what_is_no_status_is_said_to_be_none(answer: Answer) -> None:
    with pytest.raises(RegctlError, match="not with a Pulp's status") as caught:
        PulpClient("http://127.0.0.1:24817", Scripted(lambda *_: answer)).status()
    assert "url" in caught.value.hint


def test_nobody_there() -> None:
    def refuse(*_: object) -> Answer:
        raise TransportError("[Errno 111] Connection refused")

    with pytest.raises(UnreachableError, match="does not answer"):
        PulpClient("http://127.0.0.1:24817", Scripted(refuse)).status()
