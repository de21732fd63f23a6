"""Names inside statements end where they should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.database.identifiers import quoted, with_names
from ctl.errors import UsageError


@given(st.text(min_size=1).filter(lambda name: "\0" not in name))
def test_a_quoted_name_reads_back_and_cannot_end_its_quotes(name: str) -> None:
    text = quoted(name)
    assert text[0] == text[-1] == '"'
    assert text[1:-1].replace('""', "") == name.replace('"', "")
    assert text[1:-1].count('"') == 2 * name.count('"')


def test_names_go_to_their_places() -> None:
    statement = with_names("ALTER INDEX {}.{} ATTACH PARTITION {}", "a", 'b"; DROP TABLE t; --', "{}")
    assert statement == 'ALTER INDEX "a"."b""; DROP TABLE t; --" ATTACH PARTITION "{}"'


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        quoted(name)
