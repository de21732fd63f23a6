"""Migrations as files: names, order, markers."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.database.migrations import (
    Applied,
    MigrationState,
    is_transactional,
    load_migrations,
    parse_migrations,
    split_statements,
)
from ctl.database.migrator import refusal, taken_back
from ctl.errors import RegctlError


def pair(stem: str, up: str = "SELECT 1;", down: str = "SELECT 2;") -> list[tuple[str, str]]:
    return [(f"{stem}.up.sql", up), (f"{stem}.down.sql", down)]


def test_pre_stands_before_post_and_numbers_in_order() -> None:
    stems = ["0002_b.pre", "0001_a.post", "0001_a.pre", "0010_c.pre", "0003_d.post"]
    files = [file for stem in stems for file in pair(stem)]
    random.Random(3).shuffle(files)
    found = [one.id for one in parse_migrations(files)]
    assert found == ["0001_a.pre", "0002_b.pre", "0010_c.pre", "0001_a.post", "0003_d.post"]


@given(st.text(max_size=40))
def test_the_checksum_covers_the_up_file_alone(text: str) -> None:
    text = text.replace("-- no-transaction", "")
    one = parse_migrations(pair("0001_a.pre", up=text))[0]
    other_down = parse_migrations(pair("0001_a.pre", up=text, down="SELECT 3;"))[0]
    other_up = parse_migrations(pair("0001_a.pre", up=text + " "))[0]
    assert one.checksum == other_down.checksum != other_up.checksum


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([("1_a.pre.up.sql", "")], "is not called"),
        ([("0001_A.pre.up.sql", "")], "is not called"),
        ([("0001_a.up.sql", "")], "is not called"),
        ([("0001_a.mid.up.sql", "")], "is not called"),
        ([("0001_a.pre.up.sql", "")], "needs both"),
        ([*pair("0001_a.pre"), *pair("0001_b.pre")], "same number"),
        (pair("0001_a.pre", up="-- no-transaction\nCREATE TABLE t (n int);"), "cannot repeat"),
        (pair("0001_a.pre", down="-- no-transaction\nDROP INDEX regctl.i;"), "cannot repeat"),
    ],
)
def test_a_file_that_does_not_fit_is_named(files: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(RegctlError, match=said):
        parse_migrations(files)


def test_what_ships_can_be_read_and_taken_back() -> None:
    shipped = load_migrations("ctl.catalog.migrations")
    assert shipped[0].id == "0001_catalog.pre"
    assert all(one.down.strip() for one in shipped)


def test_statements_outside_a_transaction_are_told_apart() -> None:
    text = (
        "-- no-transaction\n-- why; not here\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON regctl.t (a) WHERE b = ';' ;\n\n"
        "ANALYZE regctl.t;\nDROP INDEX CONCURRENTLY IF EXISTS regctl.j"
    )
    assert not is_transactional(text)
    assert split_statements(text) == [
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON regctl.t (a) WHERE b = ';'",
        "ANALYZE regctl.t",
        "DROP INDEX CONCURRENTLY IF EXISTS regctl.j",
    ]
    assert len(parse_migrations(pair("0001_a.post", up=text))) == 1


MIGRATIONS = parse_migrations(
    [file for stem in ("0001_a.pre", "0002_b.pre", "0001_a.post") for file in pair(stem)]
)


def applied(*names: str) -> tuple[Applied, ...]:
    return tuple(Applied(name, "", datetime(2026, 1, 1, tzinfo=UTC), 0.1, "1") for name in names)


@pytest.mark.parametrize(
    ("limit", "skip_post", "chosen"),
    [
        (None, False, ["0001_a.pre", "0002_b.pre", "0001_a.post"]),
        (None, True, ["0001_a.pre", "0002_b.pre"]),
        (1, False, ["0001_a.pre"]),
        (9, True, ["0001_a.pre", "0002_b.pre"]),
    ],
)
def test_what_a_run_applies(limit: int | None, skip_post: bool, chosen: list[str]) -> None:
    state = MigrationState((), MIGRATIONS)
    assert [one.id for one in state.chosen(limit, skip_post=skip_post)] == chosen


def test_the_way_back_is_the_order_of_applying_reversed() -> None:
    state = MigrationState(applied("0001_a.pre", "0001_a.post", "0002_b.pre"), ())
    assert [one.id for one in taken_back(state, MIGRATIONS, None)] == [
        "0002_b.pre",
        "0001_a.post",
        "0001_a.pre",
    ]
    assert [one.id for one in taken_back(state, MIGRATIONS, 1)] == ["0002_b.pre"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (MigrationState((), MIGRATIONS), ""),
        (MigrationState((), MIGRATIONS, foreign="Pulp"), "holds the tables of Pulp"),
        (MigrationState((), MIGRATIONS, unknown=("0009_z.pre",)), "newer regctl"),
        (MigrationState((), MIGRATIONS, changed=("0001_a.pre",)), "other content"),
    ],
)
def test_who_is_refused(state: MigrationState, said: str) -> None:
    error = refusal(state, "metadata")
    assert (error is None) == (not said)
    assert said in str(error or "")
