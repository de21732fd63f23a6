"""The page of a pre-flight's findings is the code's table."""

from __future__ import annotations

import re
from pathlib import Path

from ctl.catalog.preflight_words import KINDS, Effect, PreflightFinding, found

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "preflight-findings.md"


def test_the_page_lists_every_kind_as_the_code_has_it() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| (\w+) \| (.+) \| (.*) \| (yes|no) \|$", PAGE.read_text(), re.MULTILINE
    )
    assert {row[0]: row[1:] for row in rows} == {
        kind: (str(one.effect), one.meaning, one.remedy, "yes" if one.moved else "no")
        for kind, one in KINDS.items()
    }


def test_every_kind_that_the_code_writes_is_known() -> None:
    written: set[str] = set()
    for path in (ROOT / "ctl" / "catalog").glob("preflight*.py"):
        if path.name != "preflight_words.py":
            written |= set(re.findall(r'"([a-z0-9]+(?:-[a-z0-9]+)+)"', path.read_text()))
    assert set(KINDS) - written <= {"unreadable"}


def test_only_what_stops_or_hides_is_moved() -> None:
    moved = {kind for kind, one in KINDS.items() if one.moved}
    stopping = {kind for kind, one in KINDS.items() if one.effect is Effect.ABORT}
    assert moved - stopping == {"hiding-file", "lost-children"}
    assert stopping - moved == {"no-repositories", "unreadable"}


def test_a_finding_is_printable_and_keeps_the_path_to_move() -> None:
    one = found("a/\udcff", "illegal-tag-name", "bad\n", move="a/\udcff")
    assert (one.path, one.reason, one.move) == ("a/\\xff", "bad\\n", "a/\udcff")
    assert one.effect is Effect.ABORT
    assert isinstance(one, PreflightFinding)
    assert found("a", "empty-tag-link", "0 bytes", move="a").move == ""
