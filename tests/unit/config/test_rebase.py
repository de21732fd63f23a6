"""Our change is taken out of an edited text: the edit stays, or there is no answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ctl.config.rebase import without_change
from ctl.engines.distribution import Distribution

ORIGINAL = b"""version: 0.1
storage:
  filesystem:
    rootdirectory: /srv
http:
  addr: :5000
"""
CHANGED = Distribution().read_only_text(ORIGINAL)


def test_an_edit_elsewhere_stays() -> None:
    edited = CHANGED.replace(b":5000", b":5001") + b"log:\n  level: debug\n"
    assert without_change(ORIGINAL, CHANGED, edited) == (
        ORIGINAL.replace(b":5000", b":5001") + b"log:\n  level: debug\n"
    )


def test_an_edit_of_what_we_wrote_has_no_answer() -> None:
    edited = CHANGED.replace(b"enabled: true", b"enabled: yes")
    assert edited != CHANGED
    assert without_change(ORIGINAL, CHANGED, edited) is None


LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"key: 1\n", b"\n"]), max_size=12)


@given(LINES, LINES)
def test_without_an_edit_it_is_the_original(before: list[bytes], after: list[bytes]) -> None:
    original, changed = b"".join(before), b"".join(after)
    assert without_change(original, changed, changed) == original


@given(st.integers(0, 6), st.sampled_from([b"# one more\n", b"\n", b"x: y\n"]))
def test_a_line_put_in_anywhere_stays_or_is_refused(index: int, line: bytes) -> None:
    lines = CHANGED.splitlines(keepends=True)
    edited = b"".join([*lines[:index], line, *lines[index:]])
    made = without_change(ORIGINAL, CHANGED, edited)
    if made is not None:
        assert line in made
        assert made.replace(line, b"", 1) == ORIGINAL or line == b"\n"
