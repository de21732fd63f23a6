"""Known secrets are blotted out in every form; what looks like one is, too; ordinary text stays."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.health.redact import Redactor

CANARY = 's3cr3t/ca+na ry"é'


@given(
    st.text(min_size=4, max_size=30).filter(lambda text: len(text.strip()) >= 4),
    st.text(max_size=40),
    st.text(max_size=40),
)
def test_a_known_secret_is_found_before_and_gone_after(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret], ["regctl"])
    for form in (
        secret,
        json.dumps(secret),
        json.dumps({"x": json.dumps([secret])}),
        quote(secret, safe=""),
        base64.b64encode(secret.encode(errors="surrogatepass")).decode() if secret.isascii() else secret,
        base64.b64encode(f"regctl:{secret}".encode()).decode(),
    ):
        data = f"{before} {form} {after}".encode()
        assert redactor.found_in(data)
        assert not redactor.found_in(redactor.data(data))


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer {0}",
        '"authorization": "Basic {0}"',
        'http.request.header.authorization="Bearer {0}"',
        "GET /v2/a/blobs/uploads/1?_state={0}&x=1",
        "cloning https://robot:{0}@registry.example.com/v2/",
        "DATABASE_PASSWORD={0}",
        "REGISTRY_HTTP_SECRET={0}",
        "  secretkey: {0}",
        "password: '{0}'",
        '{{"db_password": "{0}"}}',
        "Set-Cookie: session={0}; HttpOnly",
        "-----BEGIN RSA PRIVATE KEY-----\n{0}\n-----END RSA PRIVATE KEY-----",
        "--password={0}",
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(line: str) -> None:
    shown = Redactor([]).text(line.format("AbCdEf0123456789xyz"))
    assert "AbCdEf0123456789xyz" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "line",
    [
        'level=info msg="response completed" http.response.status=201',
        "password: file:/etc/regctl/db.password",
        "the token was refused",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "http://127.0.0.1:5000/v2/",
        '"tokens": 12',
    ],
)
def test_ordinary_text_stays(line: str) -> None:
    assert Redactor(["unrelated"]).text(line) == line


def test_short_values_do_not_blot_out_words_and_each_line_of_a_key_counts() -> None:
    key = "-----BEGIN KEY-----\nAAAABBBBCCCCDDDDEEEE\nFFFFGGGGHHHHIIIIJJJJ\n-----END KEY-----"
    redactor = Redactor(["on", key])
    assert redactor.text("turn it on: FFFFGGGGHHHHIIIIJJJJ") == "turn it on: ***"
