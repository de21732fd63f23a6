"""Which reason a difference between tree and metadata database is given, and which it is not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ctl.catalog.digests import revision_path
from ctl.catalog.metadata_compare import MetadataComparison, MetadataDifference
from ctl.catalog.metadata_database import ImportRecord
from ctl.catalog.metadata_explain import REASONS, Skips, explain
from ctl.catalog.model import Finding

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE_NS = int((BEGAN - timedelta(days=1)).timestamp() * 1e9)
AFTER_NS = int((BEGAN + timedelta(days=1)).timestamp() * 1e9)
PAGE = Path(__file__).parents[3] / "docs/reference/registry-verify.md"


@dataclass(frozen=True)
class Found:
    """What a pre-flight finds."""

    kind: str
    path: str = ""
    repository: str = ""
    tag: str = ""
    digest: str = ""
    effect: str = "drop"


def compared(*, imported: int | None = 2, tags: int = 2, newer: int = 0) -> MetadataComparison:
    """A comparison of a tree with so many tags, of which the import counted so many."""
    record = ImportRecord(BEGAN, BEGAN, imported)
    return MetadataComparison(tags=tags, newer_tags=newer, imported=record)


def missing_tag(name: str = "v1") -> MetadataDifference:
    return MetadataDifference("missing", "tag", "a", name, DIGEST, "not in the database")


def reasons(result: MetadataComparison) -> list[str]:
    return [one.explained_by for one in (*result.unexplained, *result.expected)]


@pytest.mark.parametrize(
    ("imported", "tags", "newer", "mtime_ns", "why"),
    [
        (2, 2, 0, BEFORE_NS, "deleted-since"),  # the import counted it
        (1, 2, 0, BEFORE_NS, ""),  # it did not: nobody knows why
        (None, 2, 0, BEFORE_NS, ""),  # no statistics
        (1, 2, 1, AFTER_NS, ""),  # pushed into the tree after the import
        (2, 3, 1, BEFORE_NS, "deleted-since"),
    ],
)
def test_a_tag_is_called_deleted_only_where_the_import_counted_it(
    imported: int | None, tags: int, newer: int, mtime_ns: int, why: str
) -> None:
    result = compared(imported=imported, tags=tags, newer=newer)
    result.wait(missing_tag(), mtime_ns)
    explain(result, Skips())
    assert reasons(result) == [why]
    assert (result.missing, result.agree) == ((0, True) if why else (1, False))


def test_a_dropped_tag_has_the_pre_flights_word_and_does_not_count_as_imported() -> None:
    result = compared(imported=1, tags=2)
    result.wait(missing_tag("bad"), BEFORE_NS)
    result.wait(missing_tag("gone"), BEFORE_NS)
    explain(result, Skips.of([Found("missing-manifest", repository="a", tag="bad")]))
    assert {one.name: one.explained_by for one in result.expected} == {
        "bad": "missing-manifest",
        "gone": "deleted-since",
    }


def test_what_means_nothing_for_an_import_excuses_nothing() -> None:
    result = compared(imported=None)
    result.wait(missing_tag(), BEFORE_NS)
    explain(result, Skips.of([Found("odd-tag-name", repository="a", tag="v1", effect="info")]))
    assert reasons(result) == [""]


def test_a_manifest_goes_with_its_tags_but_only_if_all_of_them_went() -> None:
    gone = MetadataDifference("missing", "manifest", "a", DIGEST, DIGEST, "not in the database")
    result = compared()
    result.moved.add(("a", "moved"))
    result.wait(missing_tag(), BEFORE_NS)
    result.wait(gone, BEFORE_NS, ("v1", "moved"))
    explain(result, Skips())
    assert reasons(result) == ["deleted-since", "deleted-since"]
    result = compared()
    result.wait(gone, BEFORE_NS, ("moved", "still-there"))
    explain(result, Skips())
    assert reasons(result) == [""]


def test_a_lost_child_is_explained_once_for_both_that_miss_it() -> None:
    result = compared()
    result.wait(
        MetadataDifference("missing", "manifest", "a", DIGEST, DIGEST, ""), BEFORE_NS, ("still-there",)
    )
    result.wait(MetadataDifference("broken", "manifest", "a", DIGEST, f"child of {OTHER}", ""))
    explain(result, Skips.of([Found("lost-child", repository="a", digest=OTHER)]))
    assert reasons(result) == ["lost-child", "lost-child"]
    assert (result.missing, result.broken, result.agree) == (0, 1, False)


def test_an_entry_below_one_that_the_reader_does_not_follow() -> None:
    result = compared()
    for what, name in (("tag", "v1"), ("manifest", DIGEST)):
        result.wait(MetadataDifference("extra", what, "Team/app", name, "not there", DIGEST))
    result.wait(MetadataDifference("extra", "tag", "team/app", "v1", "not there", DIGEST))
    path = "docker/registry/v2/repositories/Team"
    explain(result, Skips.of((), [Finding(path, "illegal-repository-name", "")]))
    assert sorted(reasons(result)) == ["", "illegal-repository-name", "illegal-repository-name"]


def test_what_an_import_drops_excuses_nothing_that_is_there() -> None:
    extra = MetadataDifference("extra", "manifest", "a", DIGEST, "not there", DIGEST)
    found = [
        Found("missing-revision", path=revision_path("a", DIGEST), repository="a", digest=DIGEST),
        Found("link-names-another", repository="a", digest=OTHER, effect="alter"),
    ]
    result = compared()
    result.wait(extra)
    result.wait(MetadataDifference("extra", "manifest", "a", OTHER, "not there", OTHER))
    explain(result, Skips.of(found, [Finding(revision_path("a", DIGEST), "empty-link", "")]))
    assert reasons(result) == ["", "link-names-another"]


def test_a_digest_in_a_findings_path_counts_for_its_repository_first() -> None:
    skips = Skips.of(
        [
            Found("one", path=revision_path("a", DIGEST), repository="a"),
            Found("two", path=revision_path("b", DIGEST), repository="b"),
        ]
    )
    assert [skips.of_digest(name, DIGEST) for name in ("a", "b", "c")] == ["one", "two", "one"]
    assert skips.of_digest("a", OTHER) == ""


def test_only_so_many_differences_are_kept_but_all_are_counted() -> None:
    result = MetadataComparison(limit=3)
    for number in range(10):
        result.settle(missing_tag(f"v{number}"))
        result.settle(MetadataDifference("extra", "tag", "a", f"v{number}", "", "", "pushed-since"))
    assert (result.missing, result.extra, result.explained["pushed-since"]) == (10, 0, 10)
    assert [one.name for one in result.differences] == ["v0", "v1", "v2"]


def test_the_page_has_every_word() -> None:
    words = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE))
    assert words >= set(REASONS)
