"""Previews of many hosts: what is the same is told once, and nothing that differs is left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ctl.recipes.alike import told_once
from ctl.recipes.model import Preview
from ctl.report.model import Text


def row(host: str, *words: str) -> list[Preview]:
    return [Preview(f"[{host}] {word} on {host}", blocks=(Text(f"/srv/{host}/{word}"),)) for word in words]


def test_hosts_that_get_the_same_are_named_in_one_line() -> None:
    shown = list(
        told_once([*row("h1", "write", "run"), *row("h2", "write", "run"), *row("h10", "write", "run")])
    )
    assert [one.title for one in shown] == [
        "[h1] write on h1",
        "[h1] run on h1",
        "the same on 2 more, each with its own name: h2, h10",
    ]


def test_a_host_with_anything_of_its_own_is_shown_whole() -> None:
    given_ = [*row("h1", "write"), *row("h2", "write", "run"), *row("h3", "write")]
    titles = [one.title for one in told_once(given_)]
    assert titles[:2] == ["[h1] write on h1", "the same on 1 more, each with its own name: h3"]
    assert titles[2:] == ["[h2] write on h2", "[h2] run on h2"]


def test_a_difference_in_the_blocks_alone_or_in_what_changes_is_one() -> None:
    one, other = Preview("[a] x", blocks=(Text("1"),)), Preview("[b] x", blocks=(Text("2"),))
    assert list(told_once([one, other])) == [one, other]
    quiet = Preview("[b] x", changes=False, blocks=(Text("1"),))
    assert list(told_once([one, quiet])) == [one, quiet]


WORDS = st.sampled_from(["a", "b", "ab", "a-b", "[x]"])


@given(
    st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), max_size=6, unique_by=lambda r: r[0])
)
def test_every_host_is_told_of_and_what_is_outside_of_rows_stays(rows: list[tuple[str, list[str]]]) -> None:
    outside = Preview("stop everything")
    previews = [
        outside,
        *(one for host, words in rows for one in row(f"h{len(host)}{host[0]}", *words)),
        outside,
    ]
    shown = list(told_once(previews))
    assert shown[0] is outside
    assert shown[-1] is outside
    for preview in previews:
        host = preview.title.partition("]")[0].lstrip("[")
        assert preview in shown or any(host in one.title for one in shown if one.title.startswith("the same"))
