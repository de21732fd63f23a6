"""What an import passed over: causes without their echoes, what each costs, counted beyond what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.engines.gitlab_import import GitlabImportParser
from ctl.engines.metadata import ImportRecord, ImportStep
from ctl.steps import import_ledger
from ctl.steps.import_ledger import ImportLedger

CASES = Path(__file__).parents[2] / "cases" / "gitlab"


def ledger(name: str) -> ImportLedger:
    parser, found = GitlabImportParser(), ImportLedger()
    for record in parser.feed((CASES / f"import-{name}-4.32.0.jsonl").read_bytes()):
        found.add(record)
    found.close()
    return found


def test_a_clean_import_passes_nothing_over() -> None:
    found = ledger("all")
    assert list(found.passed()) == []
    assert found.tags == {ImportStep.ONE: 4, ImportStep.TWO: 4}
    assert found.repositories == {ImportStep.ONE: 2, ImportStep.TWO: 2}
    assert found.blobs == 11
    assert found.blob_bytes > 1000


def test_each_case_is_one_entry_with_its_cause_and_its_cost() -> None:
    found = {(one.repository.removeprefix("corrupt/"), one.tag): one for one in ledger("skips").passed()}
    words = {key: (one.reason, one.effect) for key, one in found.items()}
    assert words == {
        ("dangling-tag", "good"): ("manifest-unknown", "dropped"),
        ("empty-layer-link", "good"): ("layer-link-broken", "dropped"),
        ("empty-manifest", "good"): ("manifest-empty", "dropped"),
        ("empty-revision-link", "good"): ("manifest-link-broken", "dropped"),
        ("empty-tag-link", "good"): ("tag-link-broken", "dropped"),
        ("garbage-revision-link", "good"): ("manifest-link-broken", "dropped"),
        ("huge-tag-link", "good"): ("tag-link-broken", "dropped"),
        ("layer-link-names-another", "good"): ("layer-unknown", "incomplete"),
        ("missing-config", "good"): ("config-unknown", "dropped"),
        ("missing-layer", "good"): ("layer-unknown", "incomplete"),
        ("missing-manifest", "good"): ("manifest-unknown", "dropped"),
        ("no-layers-directory", "good"): ("config-unknown", "dropped"),
        ("schema1-manifest", "bad"): ("manifest-schema-1", "dropped"),
        ("sha512-layer", "bad"): ("digest-aliased", "none"),
        ("tag-without-link", "good"): ("tag-link-missing", "dropped"),
        ("unknown-schema-version", "bad"): ("manifest-schema-unknown", "dropped"),
        ("unlinked-child", "bad"): ("manifest-unknown", "incomplete"),
    }
    assert found["missing-config", "good"].path.endswith("missing-config/_manifests/tags/good/current/link")


def test_beyond_what_is_kept_entries_are_still_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_ledger, "KEPT", 3)
    found = ImportLedger()
    for number in range(10):
        tag = f"t{number}"
        found.add(ImportRecord("tag", ImportStep.TWO, "a", tag))
        found.add(
            ImportRecord(
                "skipped", ImportStep.TWO, "a", tag, reason="tag-link-broken", fields={"tag_name": tag}
            )
        )
    found.close()
    assert len(list(found.passed())) == 3
    assert found.by_effect() == {"dropped": 10}


RECORDS = st.builds(
    ImportRecord,
    kind=st.sampled_from(
        ["tag", "repository", "repository-done", "skipped", "error", "blob", "other", "done"]
    ),
    step=st.sampled_from([None, ImportStep.ONE, ImportStep.TWO, ImportStep.THREE]),
    repository=st.sampled_from(["", "a", "b/c"]),
    tag=st.sampled_from(["", "v1", "v2"]),
    digest=st.sampled_from(["", "sha256:" + "0" * 64]),
    reason=st.sampled_from(
        ["tag-link-broken", "manifest-skipped", "layer-unknown", "other", "config-unknown"]
    ),
    message=st.sampled_from(["", "importing manifest list"]),
)


@given(st.lists(RECORDS, max_size=40))
def test_records_in_any_order_are_taken(records: list[ImportRecord]) -> None:
    found = ImportLedger()
    for record in records:
        found.add(record)
    found.close()
    assert sum(found.by_effect().values()) <= sum(one.kind in ("skipped", "error") for one in records)
    assert all(one.data()["kind"] == one.reason for one in found.passed())
