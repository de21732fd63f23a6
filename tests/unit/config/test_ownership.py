"""Whose file it is, told from its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.config.ownership import Ownership, body_of, classify, inputs_checksum, seal

INPUTS = inputs_checksum("template", {"a": 1})
SEALED = seal("http:\n  addr: :5000\n", version="0.1.0", registry="main", inputs=INPUTS)


def test_the_four_states() -> None:
    assert classify(None) == Ownership("missing")
    assert classify(b"version: 0.1\n") == Ownership("adopted")
    assert classify(SEALED) == Ownership("managed", "0.1.0", "main", INPUTS)
    assert classify(SEALED + b"# a hand edit\n").state == "drifted"


@pytest.mark.parametrize(
    "edited",
    [
        SEALED.replace(b"5000", b"5001"),
        SEALED.replace(b"\n", b"\r\n"),
        SEALED[:-1],
        SEALED.replace(b"# body sha256", b"# body sha"),
        SEALED.split(b"\n")[0] + b"\nversion: 0.1\n",
        b"# managed by regctl ",
    ],
)
def test_any_edit_of_a_managed_file_is_drift(edited: bytes) -> None:
    assert classify(edited).state == "drifted"


def test_a_comment_before_the_header_makes_it_somebody_elses() -> None:
    assert classify(b"# mine now\n" + SEALED).state == "adopted"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_sealing_keeps_the_body_and_is_always_managed(body: str) -> None:
    sealed = seal(body, version="1.2.3", registry="a.b-c", inputs=INPUTS)
    assert classify(sealed).state == "managed"
    assert body_of(sealed) == body.encode()
    assert classify(sealed + b"x").state == "drifted"


def test_the_inputs_checksum_sees_template_and_settings() -> None:
    assert inputs_checksum("t", {"a": 1, "b": 2}) == inputs_checksum("t", {"b": 2, "a": 1})
    assert len({INPUTS, inputs_checksum("other", {"a": 1}), inputs_checksum("template", {"a": "1"})}) == 3
