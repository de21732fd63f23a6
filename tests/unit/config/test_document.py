"""YAML in, values with their places out: nothing is guessed, nothing explodes."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.config.document import MAX_BYTES, MAX_NODES, Origin, read_document, read_registry_config
from ctl.config.dump import to_yaml
from ctl.config.words import Dialect, same
from ctl.errors import ConfigError, RegctlError

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
TRICKY = st.sampled_from(
    [
        *(
            "no",
            "yes",
            "on",
            "off",
            "y",
            "n",
            "true",
            "null",
            "~",
            "",
            " ",
            "0",
            "010",
            "0x1F",
            "1e3",
            "12:30",
        ),
        *(
            "1_000",
            "2024-01-01",
            ".inf",
            ".nan",
            "-",
            "- a",
            "a: b",
            "#x",
            "a #b",
            "'",
            '"',
            "&a",
            "*a",
            "!x",
        ),
        *(
            "@a",
            "`a",
            "%a",
            "|",
            ">",
            "[",
            "]",
            "{",
            "}",
            ",",
            "?",
            ": ",
            "<<",
            "=",
            "\n",
            "a\nb",
            "\t",
            "\x85",
        ),
        *("\u2028", "\ufeff", "---", "...", "168h", "127.0.0.1:5000", "file:/etc/x", 'a"\n  key: value'),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT | TRICKY
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | FLOATS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXT | TRICKY, below, max_size=4),
    max_leaves=12,
)


def read(text: str, dialect: Dialect = Dialect.SITE) -> Any:
    document = read_document(text.encode(), "f.yml", dialect)
    assert not document.mistakes, document.mistakes
    assert document.root is not None
    return document.root.plain()


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_every_value_reads_back_as_it_was_dumped_in_both_dialects(value: Any) -> None:
    text = to_yaml({"key": value})
    for dialect in Dialect:
        assert same(read(text, dialect), {"key": value})


@pytest.mark.parametrize(
    "word", ["no", "yes", "on", "off", "y", "12:30", "010", "0x10", "1_000", ".inf", "=="]
)
def test_ambiguous_words_stay_text_in_a_site(word: str) -> None:
    assert read(f"key: {word}") == {"key": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("yes", True),
        ("off", False),
        ("y", True),
        ("010", 8),
        ("0x10", 16),
        ("1_000", 1000),
        ("12:30", "12:30"),
        ("0.1", 0.1),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("18446744073709551616", 1.8446744073709552e19),
    ],
)
def test_a_registry_file_is_read_as_the_registry_reads_it(word: str, value: Any) -> None:
    assert same(read(f"key: {word}", Dialect.REGISTRY), {"key": value})


def test_a_registry_file_may_use_anchors_and_merge_keys() -> None:
    text = "base: &b {a: 1, b: 2}\nother:\n  <<: *b\n  b: 3\nlist: [*b]\n"
    assert read_registry_config(text.encode(), "f") == {
        "base": {"a": 1, "b": 2},
        "other": {"a": 1, "b": 3},
        "list": [{"a": 1, "b": 2}],
    }


def test_places_count_from_one_and_name_keys_and_values() -> None:
    root = read_document(b"a: 1\nb:\n  - x\n  - c: deep\n", "f.yml").root
    assert root is not None
    places = {path: (node.origin, node.key) for path, node in root.walk()}
    assert places[("a",)] == (Origin("f.yml", 1, 4), Origin("f.yml", 1, 1))
    assert places[("b", 0)][0] == Origin("f.yml", 3, 5)
    assert places[("b", 1, "c")] == (Origin("f.yml", 4, 8), Origin("f.yml", 4, 5))


def laughs(dialect: Dialect) -> bytes:
    lines = ["l0: &l0 [ha]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (laughs(Dialect.SITE), "anchor"),
        (b"[" * 5000 + b"]" * 5000, "deeper than 32"),
        (b"a: " * 5000, "not YAML"),
        (b"key: !!python/object/apply:os.system [true]", "tag"),
        (b"- 1\n" * (MAX_NODES + 1), "more than 10000"),
        (b"a" * (MAX_BYTES + 1), "larger than"),
        (b"a: " + b"9" * 5000, ""),
    ],
)
def test_hostile_files_are_answered_at_once(data: bytes, what: str) -> None:
    began = time.perf_counter()
    document = read_document(data, "f.yml")
    assert time.perf_counter() - began < 2.0  # 0.1 s on an idle machine
    if what:
        assert what in document.mistakes[0].what
    else:
        assert document.mistakes == ()


def test_laughs_are_counted_as_they_would_unfold_in_a_registry_file() -> None:
    document = read_document(laughs(Dialect.REGISTRY), "f.yml", Dialect.REGISTRY)
    assert document.root is None
    assert "more than 10000" in document.mistakes[0].what


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="ab:[]{}-\n &*!|>'\"#,?<\t%@", max_size=80).map(str.encode))
def test_no_bytes_at_all_raise_anything_but_a_mistake(data: bytes) -> None:
    for dialect in Dialect:
        document = read_document(data, "f.yml", dialect)
        assert document.root is None or document.root.plain() is not document
        if document.root is None and not document.mistakes:  # nothing but comments and space
            assert all(line.strip()[:1] in ("", "#", "%", "-", ".") for line in data.decode().splitlines())


def test_a_registry_file_that_says_something_twice_is_an_error_with_both_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        read_registry_config(b"http: {addr: a}\nlog: {}\nhttp: {addr: b}\n", "config.yml")
    assert caught.value.details == ("config.yml:3:1: http: stands twice (first on line 1)",)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {"a": object()}, "\ud800"])
def test_what_yaml_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(RegctlError):
        to_yaml(value)


def test_comparing_respects_types() -> None:
    assert same({"a": [1, "x", None]}, {"a": (1, "x", None)})
    assert not same(1, True)
    assert not same(1, 1.0)
    assert not same({"a": 1}, {"a": 1, "b": None})
