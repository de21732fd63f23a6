"""Digests, repositories' names and blobs' paths, as the importer takes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.catalog.digests import is_digest
from ctl.catalog.preflight_names import (
    blob_path_fault,
    digest_fault,
    path_part,
    repository_fault,
    storable,
)
from ctl.catalog.tree import COMPONENT, TAG

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"sha256:{HEX}", ""),
        (f"sha512:{HEX}{HEX}", ""),
        (f"sha384:{HEX}{'ab' * 16}", ""),
        ("", "format"),
        ("sha256:", "format"),
        (":abc", "format"),
        (HEX, "format"),
        (f"sha256:{HEX}\n", "length"),
        (f"sha256:{HEX[:-1]}", "length"),
        (f"sha256:{HEX.upper()}", "format"),
        (f" sha256:{HEX}", "format"),
        ("md5:abc", "unsupported"),
        ("md5:a b", "format"),
        (f"SHA256:{HEX}", "format"),
        ("sha256+b64:abc=", "unsupported"),
    ],
)
def test_digests(text: str, fault: str) -> None:
    assert digest_fault(text) == fault


@given(st.text(max_size=80) | st.text("0af", min_size=62, max_size=66).map("sha256:{}".format))
def test_what_registries_store_is_what_the_importer_takes(text: str) -> None:
    assert (digest_fault(text) == "") == is_digest(text)


def test_hashes_of_the_database() -> None:
    assert [storable(f"{name}:x") for name in ("sha256", "sha512", "sha384")] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("app", True),
        ("team/app", True),
        ("a.b/c__d/e--f", True),
        ("Team", False),
        ("Team/app", True),  # its first part may be a host's name
        ("team/App", False),
        ("Team/app/More", False),
        ("host.example:5000/app", False),  # a name, but no path of the storage driver
        ("a/" * 127 + "a", True),
        ("a/" * 127 + "ab", False),
        ("a b", False),
        ("_manifests", False),
        ("-a", False),
        ("a_-b", False),
    ],
)
def test_names_of_repositories(name: str, good: bool) -> None:
    assert (repository_fault(name) == "") is good


WORDS = st.text("ab01", min_size=1, max_size=4)
SEPARATORS = st.sampled_from([".", "_", "__", "-", "---", "/", "/", "_-", ".."])


@given(WORDS, st.lists(st.tuples(SEPARATORS, WORDS), max_size=6))
def test_every_name_that_registries_take_is_taken(first: str, rest: list[tuple[str, str]]) -> None:
    name = first + "".join(separator + word for separator, word in rest)
    good = all(COMPONENT.match(part) for part in name.split("/"))
    if good:
        assert repository_fault(name) == ""
    elif "/" not in name:
        assert repository_fault(name) != ""


@given(st.from_regex(TAG, fullmatch=True))
def test_every_tag_is_a_path(tag: str) -> None:
    assert path_part(tag)


@pytest.mark.parametrize(
    ("parts", "good"),
    [
        (["sha256", HEX[:2], HEX], True),
        (["sha256", HEX], True),
        (["sha256", "00", HEX], False),
        (["sha256", HEX[:2]], False),
        (["sha256"], False),
        (["sha256", "a"], False),
        (["md5", "00", "abc"], False),
        (["sha384", HEX[:2], HEX + "ab" * 16], False),
        (["sha512", HEX[:2], HEX + HEX], True),
    ],
)
def test_paths_of_blobs(parts: list[str], good: bool) -> None:
    assert (blob_path_fault(parts) == "") is good
