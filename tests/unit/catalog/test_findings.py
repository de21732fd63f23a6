"""The page of findings is the code's table."""

from __future__ import annotations

import re
from pathlib import Path

from ctl.catalog.corruption import CASES
from ctl.catalog.findings import KINDS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "findings.md"


def test_the_page_lists_every_kind_as_the_code_has_it() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert {kind: (meaning, effect) for kind, meaning, effect in rows} == {
        kind: (one.meaning, one.effect.value) for kind, one in KINDS.items()
    }


def test_every_case_of_seed_makes_a_kind_that_is_known() -> None:
    assert {kind for kind, _ in CASES.values()} <= set(KINDS)


def test_every_kind_that_the_code_writes_is_known() -> None:
    source = "\n".join(
        path.read_text() for path in (Path(__file__).parents[3] / "ctl" / "catalog").glob("*.py")
    )
    written = set(re.findall(r'finding\([^"\n]*(?:"[^"]*"[^"\n]*)?, "([a-z0-9]+(?:-[a-z]+)+)"', source))
    assert written <= set(KINDS)
    assert len(written) >= 15
